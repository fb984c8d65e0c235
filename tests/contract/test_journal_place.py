"""A file that is removed, moved or replaced while it is open takes nothing more, and goes on once it is put back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from antistrophe.errors import JournalError
from antistrophe.storage.database import Database
from antistrophe.storage.opening import open_database

INSERT = "INSERT INTO snapshots(stream, version, state, recorded_at) VALUES (?, ?, ?, ?)"


def _remove(file: Path) -> None:
    file.unlink()


def _remove_log(file: Path) -> None:
    Path(f"{file}-wal").unlink()


def _move(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))


def _move_folder(file: Path) -> None:
    file.parent.rename(file.parent.with_name("elsewhere"))


def _remove_folder(file: Path) -> None:
    shutil.rmtree(file.parent)


def _replace_by_a_copy(file: Path) -> None:
    copy = file.with_name("copy")
    shutil.copy2(file, copy)
    copy.replace(file)


def _replace_folder(file: Path) -> None:
    _move_folder(file)
    shutil.copytree(file.parent.with_name("elsewhere"), file.parent)


MOVES = [_remove, _remove_log, _move, _move_folder, _remove_folder, _replace_by_a_copy, _replace_folder]


def write(database: Database, number: int) -> None:
    with database.transaction():
        database.execute(INSERT, ("s", number, b"", 0))


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__.strip("_"))
def test_nothing_is_committed_to_a_file_that_has_lost_its_name(tmp_path: Path, move: Callable[[Path], None]) -> None:
    (tmp_path / "home").mkdir()
    file = tmp_path / "home" / "journal.db"
    database = open_database(file)
    write(database, 1)
    move(file)
    with pytest.raises(JournalError, match=r"removed, moved or replaced.*put it back"):
        write(database, 2)
    with pytest.raises(JournalError, match="removed, moved or replaced"):
        database.execute(INSERT, ("s", 3, b"", 0))
    assert database.rows("SELECT version FROM snapshots") == [(1,)]
    database.close()


def test_a_file_that_is_put_back_goes_on(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    file = tmp_path / "home" / "journal.db"
    database = open_database(file)
    _move_folder(file)
    with pytest.raises(JournalError):
        write(database, 1)
    (tmp_path / "elsewhere").rename(tmp_path / "home")
    write(database, 2)
    assert database.rows("SELECT version FROM snapshots") == [(2,)]
    database.close()


def test_a_log_that_is_used_again_from_its_start_keeps_its_place(tmp_path: Path) -> None:
    one, two = open_database(tmp_path / "journal.db"), open_database(tmp_path / "journal.db")
    write(one, 1)
    two.row("PRAGMA wal_checkpoint(TRUNCATE)")
    two.close()
    write(one, 2)
    one.close()
    again = open_database(tmp_path / "journal.db")
    write(again, 3)
    again.close()
