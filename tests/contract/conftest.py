"""A journal of each kind, and the event store that lies beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe.eventstore.memory import MemoryEvents
from antistrophe.eventstore.store import EventStore
from antistrophe.journal import Journal, MemoryJournal, SqliteJournal


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def events(kind: str, tmp_path: Path) -> Iterator[EventStore]:
    """The event store that lies beside the journal."""
    with EventStore(MemoryEvents() if kind == "memory" else tmp_path / "journal.db") as store:
        yield store


@pytest.fixture
def journal(kind: str, events: EventStore, tmp_path: Path) -> Iterator[Journal]:
    made: Journal
    if isinstance(events.backend, MemoryEvents):
        made = MemoryJournal(events.backend)
    else:
        made = SqliteJournal(tmp_path / "journal.db")
    yield made
    made.close()
