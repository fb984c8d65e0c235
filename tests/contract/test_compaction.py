"""A journal's file written anew: smaller, and the same; or left as it was."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from antistrophe.client.purging import purge, purgeable
from antistrophe.errors import JournalError
from antistrophe.journal import SqliteJournal
from antistrophe.journal.growth import growth_of
from antistrophe.storage.compaction import compact, room_needed
from antistrophe.storage.free_pages import can_shrink, free_pages, give_back
from antistrophe.storage.opening import open_database
from tests.contract.journal_sagas import FORWARD, run


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A journal as an older release has made it, whose file can't shrink, with many purged sagas and one that is
    left."""
    file = tmp_path / "journal.db"
    with closing(open_database(file, synchronous="NORMAL")) as database:
        database.execute("PRAGMA auto_vacuum = NONE")
        database.execute("VACUUM")
    with closing(SqliteJournal(file, synchronous="NORMAL")) as journal:
        group = journal.group()
        group.open()
        for number in range(120):
            run(journal, f"saga-{number}", *FORWARD)
        run(journal, "left", FORWARD[0])
        group.commit()
    purge(file, purgeable(timedelta(0)), dry_run=False, synchronous="NORMAL")
    return file


def test_an_old_file_gets_small_once_and_can_shrink_from_then_on(old: Path) -> None:
    before = old.stat().st_size
    with closing(open_database(old)) as database, closing(SqliteJournal(old, read_only=True)) as reader:
        assert not can_shrink(database)
        assert free_pages(database)[0] > 0
        assert not give_back(database), "there is nothing that can be given back"
        entries, head = reader.load("left"), reader.head()
        compact(database)
        assert can_shrink(database)
        assert free_pages(database)[0] == 0
        assert (reader.load("left"), reader.head()) == (entries, head)
        assert database.row("PRAGMA integrity_check") == ("ok",)
    assert old.stat().st_size < before / 2
    assert {path.name for path in old.parent.iterdir()} <= {"journal.db", "journal.db-note"}


def test_too_little_room_is_told_before_anything_is_written(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_database(old)) as database:
        needed = room_needed(database)
        usage = shutil.disk_usage(old.parent)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
        before = old.read_bytes()
        with pytest.raises(JournalError, match="free some space first"):
            compact(database)
        assert old.read_bytes() == before
        assert not can_shrink(database)


COMPACTS = """
import os, signal, sys
from antistrophe.storage.compaction import compact
from antistrophe.storage.database import Database
from antistrophe.storage.opening import open_database
execute = Database.execute
def execute_and_die(self, sql, *rest):
    if sql == "VACUUM" and sys.argv[2] == "before":
        self._connection.set_progress_handler(lambda: os.kill(os.getpid(), signal.SIGKILL), 50)
    done = execute(self, sql, *rest)
    if sql == "VACUUM":
        os.kill(os.getpid(), signal.SIGKILL)
    return done
Database.execute = execute_and_die
compact(open_database(sys.argv[1]))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_leaves_the_file_as_before_or_as_after(old: Path, when: str) -> None:
    with closing(SqliteJournal(old)) as journal:
        entries, head = journal.load("left"), journal.head()
    child = subprocess.run([sys.executable, "-c", COMPACTS, str(old), when], timeout=60, check=False)
    assert child.returncode == -signal.SIGKILL
    with closing(open_database(old)) as database:
        assert can_shrink(database) is (when == "after")
        assert database.row("PRAGMA integrity_check") == ("ok",)
        journal = SqliteJournal(database)
        assert (journal.load("left"), journal.head()) == (entries, head)
        compact(database)
        assert can_shrink(database)


def test_growth_tells_what_the_file_takes(old: Path) -> None:
    growth = growth_of(old)
    assert growth.file_bytes == old.stat().st_size
    assert 0 < growth.free_bytes < growth.file_bytes
    assert not growth.can_shrink
    assert growth.bytes_a_saga == growth.file_bytes - growth.free_bytes
    assert growth.oldest_finished is None
    assert growth.sagas_a_day is not None
    with closing(SqliteJournal(old)) as journal:
        run(journal, "done", *FORWARD)
        assert growth_of(old).oldest_finished == journal.timeline("done")[-1].at
    with closing(open_database(old)) as database:
        database.execute("UPDATE journal SET at = 1 << 62")
    assert growth_of(old).oldest_finished is None, "no calendar has that moment"


def test_growth_of_a_new_journal(tmp_path: Path) -> None:
    SqliteJournal(tmp_path / "journal.db").close()
    growth = growth_of(tmp_path / "journal.db")
    assert (growth.sagas_a_day, growth.bytes_a_saga, growth.oldest_finished) == (None, None, None)
    assert growth.can_shrink
