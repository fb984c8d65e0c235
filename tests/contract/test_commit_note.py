"""A file that ends before what was committed is refused: somebody has removed its log."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from antistrophe.errors import JournalError
from antistrophe.eventstore.backend import NewEvent
from antistrophe.eventstore.sqlite import insert_events
from antistrophe.storage import commit_note
from antistrophe.storage.commit_note import note_path
from antistrophe.storage.opening import open_database

EVENT = NewEvent("noted", 1, b"\x80")

CRASH = """
import os, signal, sys
from antistrophe.eventstore.backend import NewEvent
from antistrophe.eventstore.sqlite import insert_events
from antistrophe.storage.opening import open_database
database = open_database(sys.argv[1], synchronous=sys.argv[2])
for number in range(int(sys.argv[3])):
    with database.transaction():
        insert_events(database, "s", [NewEvent("noted", 1, b"\\x80")] * (1 + number % 2))
os.kill(os.getpid(), signal.SIGKILL)
"""


def crash(path: Path, commits: int = 3, synchronous: str = "FULL") -> None:
    """A process commits, and is killed before its log is moved into the file."""
    done = subprocess.run([sys.executable, "-c", CRASH, str(path), synchronous, str(commits)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert Path(f"{path}-wal").stat().st_size > 0


def head(path: Path) -> int:
    database = open_database(path)
    try:
        return int(database.row("SELECT max(position) FROM events")[0] or 0)
    finally:
        database.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def _remove(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def _remove_both(path: Path) -> None:
    Path(f"{path}-wal").unlink()
    Path(f"{path}-shm").unlink(missing_ok=True)


def _empty(path: Path) -> None:
    Path(f"{path}-wal").write_bytes(b"")


def _cut(path: Path) -> None:
    log = Path(f"{path}-wal")
    log.write_bytes(log.read_bytes()[:-2000])


LOSSES = [_remove, _remove_both, _empty, _cut]


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__.strip("_"))
@pytest.mark.parametrize("read_only", [False, True], ids=["writing", "reading"])
def test_a_log_that_was_removed_is_noticed(path: Path, lose: Callable[[Path], None], read_only: bool) -> None:
    crash(path)
    kept = Path(f"{path}-wal").read_bytes()
    lose(path)
    for _ in range(2):
        with pytest.raises(JournalError, match=r"journal\.db lacks its last commits: .* but 4 was committed.*-wal was"):
            open_database(path, read_only=read_only)
    Path(f"{path}-wal").write_bytes(kept)
    assert head(path) == 4, "nothing was written to the file meanwhile"


def test_what_was_moved_into_the_file_is_not_all_that_counts(path: Path) -> None:
    assert head(path) == 0
    crash(path, commits=1)
    assert head(path) == 1
    crash(path, commits=2)
    _remove_both(path)
    with pytest.raises(JournalError, match="events ends at position 1, but 4 was committed"):
        open_database(path)


def test_who_removes_the_note_goes_on_with_what_is_there(path: Path) -> None:
    crash(path)
    _remove_both(path)
    note_path(path).unlink()
    assert head(path) == 0
    crash(path, commits=1)
    assert head(path) == 1


def test_an_older_copy_that_was_put_in_place_is_opened(path: Path) -> None:
    crash(path, commits=1)
    assert head(path) == 1
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    crash(path, commits=3)
    assert head(path) == 5
    path.write_bytes(copy.read_bytes())
    assert head(path) == 1, "the same file with an older content"
    crash(path, commits=3)
    _remove_both(path)
    shutil.copy(copy, path.with_name("another"))
    path.with_name("another").replace(path)
    assert head(path) == 1, "another file"


def test_a_new_file_in_the_place_of_one_that_was_removed_is_new(path: Path) -> None:
    crash(path)
    path.unlink()
    _remove_both(path)
    assert head(path) == 0


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_after_a_power_loss_only_what_was_synced_counts(
    path: Path, synchronous: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash(path, synchronous=synchronous)
    _remove_both(path)
    monkeypatch.setattr(commit_note, "boot_id", lambda: "another boot")
    if synchronous == "NORMAL":
        assert head(path) == 0
    else:
        with pytest.raises(JournalError, match="lacks its last commits"):
            open_database(path)


@pytest.mark.parametrize("note", [b"", b"x" * 200, bytes(128)], ids=["empty", "garbage", "zeros"])
def test_a_note_that_can_not_be_read_says_nothing(path: Path, note: bytes) -> None:
    crash(path)
    _remove_both(path)
    note_path(path).write_bytes(note)
    assert head(path) == 0


def test_what_is_rolled_back_is_not_noted(path: Path) -> None:
    database = open_database(path)
    with contextlib.suppress(LookupError), database.transaction():
        insert_events(database, "s", [EVENT])
        raise LookupError
    with database.transaction():
        pass
    database.close()
    assert not note_path(path).exists()
