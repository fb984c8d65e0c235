"""Journals that older releases have written: read as they are, and gone on with."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import pytest

from antistrophe.errors import JournalError
from antistrophe.journal import SeqConflictError, SqliteJournal, journal_path
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import Entry
from antistrophe.saga.state import Saga, evolve, replay
from antistrophe.saga.view import metadata_of
from antistrophe.storage.opening import open_database
from antistrophe.storage.schema import MIGRATIONS, migrate
from tests.contract.journal_sagas import FORWARD, PARK, RETRY, TURN_BACK, UNDONE, accepted, as_kept

FILES = Path(__file__).parent / "files"
"""Files of older versions, as SQLite's shell dumps them, with three sagas. In version 1 each append keeps the whole
state of its saga, in version 4 the state or what has changed of it."""

SAGAS: dict[str, tuple[tuple[Entry, ...], ...]] = {
    "done": FORWARD,
    "parked": (*TURN_BACK, PARK),
    "going": FORWARD[:2],
}


@pytest.fixture(params=[1, 4])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    found = journal_path(tmp_path)
    with contextlib.closing(sqlite3.connect(found)) as connection:
        connection.executescript((FILES / f"journal-of-version-{request.param}.sql").read_text("utf-8"))
        assert connection.execute("PRAGMA user_version").fetchone() == (request.param,)
    return found


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    with contextlib.closing(SqliteJournal(path)) as opened:
        yield opened


def entries_of(saga_id: str) -> tuple[Entry, ...]:
    return (accepted(saga_id), *(entry for part in SAGAS[saga_id] for entry in part))


def go_on(journal: SqliteJournal, saga_id: str, *parts: tuple[Entry, ...]) -> None:
    """Go on with a saga, as the actors do."""
    for entries in parts:
        before: Saga = replay(journal.load(saga_id))
        after = reduce(evolve, entries, before)
        journal.append(saga_id, expected_seq=before.seq, entries=entries, row=as_kept(before, entries))
        assert journal.metadata(saga_id) == metadata_of(after)


def test_an_older_file_reads_as_it_was_written(journal: SqliteJournal) -> None:
    for saga_id in SAGAS:
        assert journal.load(saga_id) == entries_of(saga_id)
        assert journal.metadata(saga_id) == metadata_of(replay(entries_of(saga_id)))
        assert journal.accepted(saga_id) == accepted(saga_id)
    assert [saga.id for saga in journal.list().sagas] == ["going", "parked", "done"]
    assert journal.live() == [("going", False)]
    assert [change.saga.id for change in journal.changes()] == ["done"] * 4 + ["parked"] * 5 + ["going"] * 3
    states: dict[str, list[object]] = {}
    for change in journal.changes():
        states.setdefault(change.saga.id, []).append(change.saga)
    for saga_id, parts in SAGAS.items():
        length = 1
        assert states[saga_id][0] == metadata_of(replay(entries_of(saga_id)[:1]))
        for shown, part in zip(states[saga_id][1:], parts, strict=True):
            length += len(part)
            assert shown == metadata_of(replay(entries_of(saga_id)[:length]))


def test_an_older_file_is_gone_on_with(journal: SqliteJournal) -> None:
    before = journal.changes()
    go_on(journal, "going", *FORWARD[2:])
    go_on(journal, "parked", RETRY, UNDONE)
    with pytest.raises(SeqConflictError, match="is at seq 6 of its journal, not 2"):
        journal.append(
            "going", expected_seq=2, entries=FORWARD[2], row=as_kept(replay(entries_of("going")), FORWARD[2])
        )
    assert journal.changes()[: len(before)] == before
    assert [(saga.id, saga.status) for saga in journal.history()] == [
        ("done", SagaStatus.COMPLETED),
        ("going", SagaStatus.COMPLETED),
        ("parked", SagaStatus.COMPENSATED),
    ]
    assert journal.history()[1] == journal.changes()[len(before)].saga


def test_a_program_of_version_4_refuses_what_is_written_since(path: Path, journal: SqliteJournal) -> None:
    journal.close()
    with pytest.raises(JournalError, match=r"of schema version .*, written by a newer release.*up to 4: upgrade"):
        open_database(path, migrations=MIGRATIONS[:4])


# --- killed while the schema is brought up to date ----------------------------------------------------------------


class KilledError(Exception):
    """The process is dead."""


class Killed:
    """A connection whose process is dead after so many statements: its files as they are then are copied."""

    def __init__(self, path: Path, statements: int, folder: Path) -> None:
        self._path, self._left, self._folder = path, statements, folder
        self.connection = sqlite3.connect(path, isolation_level=None)

    def execute(self, sql: str, /) -> object:
        if not self._left:
            for each in self._path.parent.glob(f"{self._path.name}*"):
                shutil.copy(each, self._folder)
            raise KilledError
        self._left -= 1
        return self.connection.execute(sql)


def sqlite_version(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_a_migration_that_is_killed_is_made_at_the_next_opening(path: Path, tmp_path: Path) -> None:
    version = sqlite_version(path)
    statements = sum(map(len, MIGRATIONS[version:])) + 2  # with the two numbers of the file
    for number in range(statements):
        folder = tmp_path / f"killed-{number}"
        folder.mkdir()
        killed = Killed(path, number, folder)
        with contextlib.closing(killed.connection) as connection:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(KilledError):
                migrate(killed, version)
        left = folder / path.name
        assert sqlite_version(left) == version, "nothing of it counts"
        with contextlib.closing(SqliteJournal(left)) as journal:
            assert {saga.id: saga.status for saga in journal.list().sagas} == {
                "done": SagaStatus.COMPLETED,
                "parked": SagaStatus.FAILED,
                "going": SagaStatus.EXECUTING,
            }
        assert sqlite_version(left) == len(MIGRATIONS)
