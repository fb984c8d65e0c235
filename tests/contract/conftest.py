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


@pytest.fixture(params=["memory", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | Database:
    """Where the journal lies: a file, or a database in memory."""
    return tmp_path / "journal.db" if request.param == "sqlite" else open_in_memory()


@pytest.fixture
def events(place: Path | Database) -> Iterator[EventStore]:
    """The event store beside the journal."""
    with EventStore(SqliteEvents(place)) as store:
        yield store


@pytest.fixture
def journal(place: Path | Database, events: EventStore) -> Iterator[Journal]:
    made = SqliteJournal(place)
    yield made
    made.close()
