"""A journal of each kind, and the event store in the same database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe.eventstore.sqlite import SqliteEvents
from antistrophe.eventstore.store import EventStore
from antistrophe.journal import Journal, SqliteJournal
from antistrophe.storage.database import Database
from antistrophe.storage.opening import open_in_memory
from tests.contract.journal_sagas import ActorsJournal


@pytest.fixture(params=["memory", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | Database:
    """Where the journal lies: a file, or a database in memory."""
    return tmp_path / "journal.db" if request.param == "sqlite" else open_in_memory()


@pytest.fixture
def events(place: Path | Database) -> Iterator[EventStore]:
    """The event store beside the journal."""
    with EventStore(SqliteEvents(place)) as store:
        yield store


@pytest.fixture(params=["whole states", "folded states"])
def journal(request: pytest.FixtureRequest, place: Path | Database, events: EventStore) -> Iterator[Journal]:
    """A journal that keeps the state which it is given, or what the actors give it."""
    made = ActorsJournal(place) if request.param == "folded states" else SqliteJournal(place)
    yield made
    made.close()
