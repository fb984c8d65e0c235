"""A journal of each kind, and the event store in the same database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from antistrophe.eventstore.sqlite import SqliteEvents
from antistrophe.eventstore.store import EventStore
from antistrophe.journal import Journal
from antistrophe.journal.sqlite import SqliteJournal
from antistrophe.storage.database import Database
from antistrophe.storage.opening import open_in_memory
from tests.contract.journal_sagas import ActorsJournal

if TYPE_CHECKING:
    from antistrophe.hosts.stored_hosts import StoredHosts
    from antistrophe.storage.postgres_database import PostgresDatabase
    from tests.contract.callers_kit import Own

STATES = ("whole states", "folded states")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What keeps whole states in PostgreSQL is tried in one file: each of these tests costs a server's time."""
    left_out = [
        item
        for item in items
        if "[whole states-postgresql" in item.name
        and item.path.name not in {"test_journal.py", "test_journal_parts.py"}
    ]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | Database | str:
    """Where the journal lies: a file, a database in memory, or the URL of one of PostgreSQL."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("empty_postgres"))
    return tmp_path / "journal.db" if request.param == "sqlite" else open_in_memory()


@pytest.fixture
def opens(empty_postgres: str) -> Iterator[Callable[[], PostgresDatabase]]:
    """Opens connections to one database of PostgreSQL with empty tables; they are closed at the end."""
    from antistrophe.storage.postgres import open_postgres

    with ExitStack() as opened:
        yield lambda: opened.enter_context(closing(open_postgres(empty_postgres)))


@pytest.fixture
def database(opens: Callable[[], PostgresDatabase]) -> PostgresDatabase:
    """A connection to that database."""
    return opens()


@pytest.fixture
def hosts(database: PostgresDatabase) -> StoredHosts:
    """The rows of hosts there."""
    from antistrophe.hosts.stored_hosts import StoredHosts

    return StoredHosts(database)


@pytest.fixture
def events(place: Path | Database | str) -> Iterator[EventStore]:
    """The event store beside the journal."""
    if isinstance(place, str):
        from antistrophe.eventstore.postgres import PostgresEvents

        with EventStore(PostgresEvents(place)) as store:
            yield store
        return
    with EventStore(SqliteEvents(place)) as store:
        yield store


@pytest.fixture(params=STATES)
def journal(request: pytest.FixtureRequest, place: Path | Database | str, events: EventStore) -> Iterator[Journal]:
    """A journal that keeps the state which it is given, or what the actors give it."""
    folded = request.param == "folded states"
    made: Journal
    if isinstance(place, str):
        from antistrophe.journal.postgres import PostgresJournal
        from tests.contract.postgres_journals import ActorsPostgresJournal

        made = ActorsPostgresJournal(place) if folded else PostgresJournal(place)
    else:
        made = ActorsJournal(place) if folded else SqliteJournal(place)
    yield made
    made.close()


@pytest.fixture
def slow_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may be slow: whoever shows people what it has gives it up within a moment, and tells them that."""
    for name in ("antistrophe.dashboard.stored.PATIENCE_S", "antistrophe.journal.statistics_follower._PATIENCE_S"):
        monkeypatch.setattr(name, 30.0)


@pytest.fixture
def store(empty_postgres: str) -> Iterator[EventStore]:
    """An event store in PostgreSQL, with empty tables."""
    with EventStore(empty_postgres) as opened:
        yield opened


@pytest.fixture
def own(empty_postgres: str) -> Iterator[Own]:
    """An application's connection to the database of ``store``, with a table of its own that ends with it."""
    from tests.contract.callers_kit import connected

    with connected(empty_postgres) as connection:
        connection.execute("CREATE TEMPORARY TABLE orders(id text)")
        connection.commit()
        yield connection
