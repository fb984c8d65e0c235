"""`doctor`: content with a home that is well, and finds each thing that can be wrong with one."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from antistrophe import JournalError, SagaOrchestrator, SagaStatus
from antistrophe.journal.rows import pack_state
from antistrophe.linux.termination import system_environment
from antistrophe.saga.view import SagaView
from antistrophe.storage.commit_note import note_path
from tests.acceptance.command import Caller
from tests.contract.test_commit_note import crash


@pytest.fixture
def copy(history: Caller, tmp_path: Path) -> Caller:
    """A home of one's own to break."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    shutil.copy(history.home / "journal.db", home / "journal.db")
    return Caller(home, tmp_path)


def wrong(caller: Caller) -> dict[str, Any]:
    """What the doctor finds wrong, by subject."""
    said = caller.ask("doctor", "--json")
    findings = said.json()["findings"]
    found = {each["subject"]: each for each in findings if each["health"] == "wrong"}
    assert said.code == (1 if found else 0)
    assert said.json()["well"] == (not found)
    assert all(each["what_to_do"] for each in found.values())
    return found


def test_a_home_that_is_well(copy: Caller) -> None:
    assert wrong(copy) == {}
    said = copy.ask("doctor").out
    assert "3 of 3 replayed" in said
    assert f"{copy.home / 'log'}: 0 files, 0.0 MiB, and 124 MiB at most" in said
    assert "1 parked" in said
    assert "WRONG" not in said


def test_a_home_that_others_can_enter(copy: Caller) -> None:
    copy.home.chmod(0o755)
    assert "chmod 700" in wrong(copy)["home"]["what_to_do"]
    assert copy.home.stat().st_mode & 0o777 == 0o755, "it changes nothing"


def damage_header(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"not a database at all")


def damage_pages(file: Path) -> None:
    with file.open("r+b") as opened:
        for offset in range(4096, file.stat().st_size, 4096):
            opened.seek(offset)
            opened.write(b"\xff" * 64)


def make_newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize("damage", [damage_header, damage_pages, make_newer])
def test_a_journal_that_cannot_be_used(copy: Caller, damage: Callable[[Path], None]) -> None:
    file = copy.home / "journal.db"
    damage(file)
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    assert str(file) in wrong(copy)["journal"]["says"]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before
    for words in ("status", "list", "show good", "explain good"):
        ended = copy.ask(*words.split())
        assert ended.code in (0, 2)
        assert ended.code == 0 or str(file) in ended.complaint


def kept(saga_id: str, status: SagaStatus) -> str:
    """A view as the journal keeps it of long sagas, as SQL writes it."""
    return pack_state(SagaView(saga_id, "order", status, 0, 1.5, 1.5, None, None, [])).hex()


@pytest.mark.parametrize(
    "tampering",
    [
        f"UPDATE journal SET state = x'{kept('good', SagaStatus.COMPLETED)}' WHERE kind = 'SagaParked'",
        f"UPDATE journal SET state = x'{kept('stuck', SagaStatus.EXECUTING)}' WHERE kind = 'SagaParked'",
        "UPDATE sagas SET status = 'completed' WHERE id = 'stuck'",
        "UPDATE journal SET entry = x'c0' WHERE kind = 'SagaParked'",
        "DELETE FROM journal WHERE kind = 'TurnedBack' AND saga_id = 'bad'",
    ],
)
def test_a_saga_that_is_not_what_its_journal_says(copy: Caller, tampering: str) -> None:
    with closing(sqlite3.connect(copy.home / "journal.db")) as database, database:
        assert database.execute(tampering).rowcount == 1
    found = wrong(copy)["sagas"]
    assert "1 of 3 do not agree" in found["says"]


def test_processes_that_were_left(copy: Caller) -> None:
    left = subprocess.Popen(["sleep", "60"], env=system_environment(copy.home, {"PATH": "/usr/bin:/bin"}))
    try:
        assert str(left.pid) in wrong(copy)["system"]["says"]
    finally:
        left.kill()
        left.wait()
    assert wrong(copy) == {}


def test_a_home_where_nothing_has_run(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    assert wrong(Caller(home, tmp_path)) == {}
    assert list(home.iterdir()) == []


def test_a_journal_whose_log_was_removed(copy: Caller) -> None:
    file = copy.home / "journal.db"
    crash(file)
    Path(f"{file}-wal").unlink()
    says = wrong(copy)["journal"]["says"]
    assert "lacks its last commits" in says
    assert str(note_path(file)) in says
    with pytest.raises(JournalError, match="lacks its last commits"):
        SagaOrchestrator(copy.home)
    note_path(file).unlink()
    assert "journal" not in wrong(copy)
