"""The journal's file: opened again, full, locked, written by several processes, killed in the middle."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antistrophe.definition.events import EncodedEvent
from antistrophe.errors import JournalError
from antistrophe.eventstore.store import EventStore
from antistrophe.journal import SagaEvent, SqliteJournal, journal_path
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import AttemptSucceeded
from antistrophe.saga.state import replay
from tests.contract.journal_sagas import (
    FORWARD,
    PARK,
    TURN_BACK,
    accepted,
    append,
    counted,
    ids,
    run,
    started,
    succeeded,
)

ROOT = Path(__file__).parents[2]
EVENT = SagaEvent("s", "t", 1, b"\x80", {}, "6ba7b810-9dad-11d1-80b4-00c04fd430c8")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return journal_path(tmp_path)


@contextlib.contextmanager
def opened(path: Path, *, read_only: bool = False) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(path, read_only=read_only)
    try:
        yield journal
    finally:
        journal.close()


@pytest.fixture
def sealed(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal in a folder in which nothing can be made, as the system tells it: root may write anywhere else."""
    with opened(path) as journal:
        run(journal, "s", *FORWARD)
    access = os.access

    def no_writing(place: Path, mode: int, **options: Any) -> bool:
        return access(place, mode, **options) and not (place == path.parent and mode & os.W_OK)

    monkeypatch.setattr(os, "access", no_writing)
    return path


def test_a_folder_that_can_not_be_written_to_can_be_read_and_nothing_is_made_in_it(sealed: Path) -> None:
    before = sorted(sealed.parent.iterdir())
    with opened(sealed, read_only=True) as journal:
        assert journal.metadata("s") is not None
        assert sorted(sealed.parent.iterdir()) == before


def test_a_log_is_read_also_in_a_folder_that_can_not_be_written_to(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as writable:
        writable.setattr(os, "access", lambda *_, **__: True)
        writer = SqliteJournal(sealed)
    with contextlib.closing(writer):
        run(writer, "t", *FORWARD)
        with opened(sealed, read_only=True) as journal:
            assert journal.metadata("t") is not None


def test_all_of_it_is_there_when_the_file_is_opened_again(path: Path) -> None:
    with opened(path) as journal:
        run(journal, "s", *FORWARD)
        run(journal, "t", *TURN_BACK, PARK)
        before = (journal.load("t"), journal.metadata("t"), journal.timeline("s"), journal.changes(0, 99))
    for read_only in (False, True):
        with opened(path, read_only=read_only) as journal:
            journal.check()
            assert (journal.load("t"), journal.metadata("t"), journal.timeline("s"), journal.changes(0, 99)) == before
            assert ids(journal.history()) == ["s", "t"]
            assert counted(journal) == {SagaStatus.COMPLETED: 1, SagaStatus.FAILED: 1}


def test_a_reader_sees_each_append_of_another_connection(path: Path) -> None:
    with opened(path) as writer, opened(path, read_only=True) as reader:
        run(writer, "s", *FORWARD[:2])
        assert reader.live() == [("s", False)]
        assert counted(reader) == {SagaStatus.EXECUTING: 1}
        append(writer, "s", *FORWARD[2])
        assert reader.live() == []
        assert counted(reader) == {SagaStatus.COMPLETED: 1}
        with pytest.raises(JournalError, match="can't be written to"):
            run(reader, "t")


def test_times_and_kinds_stand_in_columns_of_their_own(path: Path) -> None:
    with opened(path) as journal:
        append(journal, "s", accepted("s"), *FORWARD[0])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT saga_id, seq, at, kind FROM journal").fetchall()
        assert connection.execute("SELECT accepted, updated FROM sagas").fetchall() == [(1, 2)]
    assert rows == [("s", 1, 1_700_000_000_250_000, "SagaAccepted"), ("s", 2, 1_700_000_001_250_000, "AttemptStarted")]


# --- a full disk --------------------------------------------------------------------------------------------------


def big(size: int) -> AttemptSucceeded:
    events = (EncodedEvent("t", 1, b"x" * size),)
    return AttemptSucceeded(1_700_000_002.0, 0, started(0).action, 1, None, events)


def test_a_full_disk_is_told_and_leaves_no_half_append(path: Path) -> None:
    with opened(path) as journal, EventStore(path) as events:
        run(journal, "s", FORWARD[0])
        (pages,) = journal._database.row("PRAGMA page_count")
        journal._database.row(f"PRAGMA max_page_count = {pages + 20}")
        with pytest.raises(JournalError, match=r"journal\.db: the disk is full and nothing was written; free some"):
            append(journal, "s", big(100_000), events=(EVENT,))
        assert (journal.head(), events.head(), len(journal.changes(0, 99))) == (2, 0, 2)
        append(journal, "s", succeeded(0), events=(EVENT,))  # a small one still fits
        journal._database.row("PRAGMA max_page_count = 1000000")
        append(journal, "s", big(100_000))
        assert (journal.head(), events.head()) == (4, 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"this user may mount no small disk: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_really_full_disk_is_told_and_left_behind(small_disk: Path) -> None:
    path = journal_path(small_disk)
    with opened(path) as journal:
        run(journal, "s", FORWARD[0])
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        for _ in range(3):
            with pytest.raises(JournalError, match=r"journal\.db: the disk"):
                append(journal, "s", big(300_000), events=(EVENT,))
        assert journal.head() == 2
        assert len(journal.load("s")) == 2
        with pytest.raises(JournalError, match=r"other\.db: "):
            SqliteJournal(small_disk / "other.db")
        filler.unlink()
        append(journal, "s", big(100_000), events=(EVENT,))
    with opened(path) as journal:
        journal.check()
        assert len(journal.load("s")) == 3


# --- several writers ----------------------------------------------------------------------------------------------


def test_a_lock_that_is_never_given_up_is_told(path: Path) -> None:
    with opened(path) as journal, opened(path) as other:
        journal._database.row("PRAGMA busy_timeout = 50")
        with other._database.transaction(), pytest.raises(JournalError, match="has held its lock for too long"):
            run(journal, "s")
        run(journal, "s")
        assert other.head() == 1


def test_threads_may_share_one_connection(path: Path) -> None:
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for saga in range(5):
                run(journal, f"{number}/{saga}", *FORWARD)
                assert counted(journal)
        except BaseException as error:
            problems.append(error)

    with opened(path) as journal:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(50)
        assert problems == []
        assert counted(journal) == {SagaStatus.COMPLETED: 30}
        assert [record.position for record in journal.records(0, 1000)] == list(range(1, 181))


def test_a_fork_can_not_use_the_journal(path: Path) -> None:
    with opened(path) as journal:
        run(journal, "s")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                journal.load("s")
            except JournalError as error:
                code = 0 if "fork" in str(error) else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        run(journal, "t")


WRITE_FOR_EVER = """
import sys
from antistrophe.journal import SagaEvent, SqliteJournal
from tests.contract.journal_sagas import FORWARD, accepted, append
import uuid
journal = SqliteJournal(sys.argv[1], synchronous="NORMAL")
number = 0
while True:
    saga_id = f"{sys.argv[2]}-{number}"
    for part in ((accepted(saga_id),), *FORWARD):
        # As many events as there are entries in the part: so a half append could be seen.
        events = tuple(SagaEvent(saga_id, "t", 1, b"x" * 500, {}, str(uuid.uuid4())) for _ in part)
        append(journal, saga_id, *part, events=events)
        print(saga_id, flush=True)
    number += 1
"""


@pytest.mark.timeout(180)  # starts many processes, on a machine that may be busy
def test_writers_that_are_killed_leave_whole_appends_only(path: Path) -> None:
    with opened(path) as journal:
        for life in range(3):
            writers = [
                subprocess.Popen(
                    [sys.executable, "-c", WRITE_FOR_EVER, str(path), f"{life}-{number}"],
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=ROOT,
                )
                for number in range(2)
            ]
            acknowledged: set[str] = set()
            for writer in writers:
                assert writer.stdout is not None
                for _ in range(10 + 7 * life):
                    acknowledged.add(writer.stdout.readline().strip())
            for writer in writers:
                writer.send_signal(signal.SIGKILL)
            for writer in writers:
                assert writer.stdout is not None
                acknowledged.update(line.strip() for line in writer.stdout if line.endswith("\n"))
                writer.wait(10)
                writer.stdout.close()
            check_whole(journal, path, acknowledged)


def check_whole(journal: SqliteJournal, path: Path, acknowledged: set[str]) -> None:
    journal.check()
    with EventStore(path) as events:
        for saga_id in acknowledged:
            entries = journal.load(saga_id)
            assert entries, f"{saga_id} was acknowledged and is lost"
            assert len(entries) in {1, 2, 4, 6}, f"{saga_id} has a half append"
            assert events.version(saga_id) == len(entries)
            replay(entries)
    records = journal.records(0, 1_000_000)
    assert [record.position for record in records] == list(range(1, len(records) + 1))
    assert sum(journal.counts().values()) == len({record.saga_id for record in records})
