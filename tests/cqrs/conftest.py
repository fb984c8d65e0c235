"""What the tests of projections share: a store, on SQLite and on PostgreSQL, and a registry that follows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe.cqrs.projection_registry import ProjectionRegistry
from antistrophe.eventstore.store import EventStore


@pytest.fixture(params=["file", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Where the store is."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_store_url"))
    return tmp_path / "events.db"


@pytest.fixture
def store(place: str | Path) -> Iterator[EventStore]:
    with EventStore(place) as opened:
        yield opened


@pytest.fixture
def registry(store: EventStore) -> Iterator[ProjectionRegistry]:
    with ProjectionRegistry(store, checkpoint_s=0.01) as opened:
        yield opened
