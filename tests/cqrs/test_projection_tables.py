"""Projections with tables in the store's file: what they must not do there, and what the file may do to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from antistrophe.cqrs import table_builds
from antistrophe.cqrs.projection import ProjectionConnection
from antistrophe.cqrs.projection_registry import ProjectionRegistry
from antistrophe.eventstore.recorded import RecordedEvent
from antistrophe.eventstore.store import EventStore
from antistrophe.storage.opening import open_database
from tests.cqrs.shop import UserCreated
from tests.cqrs.totals import SqlTotals, pay
from tests.waiting import until


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with EventStore(tmp_path / "events.db") as opened:
        yield opened


def failed(registry: ProjectionRegistry, name: str) -> bool:
    return registry.get_metadata(name).failed is not None


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK", "COMMIT; ", "END"])
def test_a_projection_that_ends_the_transaction_is_marked(
    registry: ProjectionRegistry, store: EventStore, statement: str
) -> None:
    class Commits(SqlTotals):
        def apply_in(self, connection: ProjectionConnection, recorded_event: RecordedEvent) -> None:
            connection.execute(statement)

    registry.register("commits", Commits)
    registry.start_subscription()
    pay(store, 1)
    until(lambda: failed(registry, "commits"), "the failure")
    assert "apply_in ended the transaction" in str(registry.get_metadata("commits").failed)
    assert registry.get_metadata("commits").position == 0
    pay(store, 1)  # the store goes on


def test_a_projection_that_appends_in_its_own_transaction_is_marked(
    registry: ProjectionRegistry, store: EventStore
) -> None:
    class Appends(SqlTotals):
        def apply_in(self, connection: ProjectionConnection, recorded_event: RecordedEvent) -> None:
            store.append("more", [UserCreated("x")])

    registry.register("appends", Appends)
    registry.start_subscription()
    pay(store, 1)
    until(lambda: failed(registry, "appends"), "the failure")
    assert store.version("more") == 0


def test_wrong_sql_is_the_projections_fault_and_wrong_queries_the_readers(
    registry: ProjectionRegistry, store: EventStore
) -> None:
    class Wrong(SqlTotals):
        def apply_in(self, connection: ProjectionConnection, recorded_event: RecordedEvent) -> None:
            connection.execute("INSERT INTO nowhere VALUES (1)")

    registry.register("wrong", Wrong)
    registry.start_subscription()
    pay(store, 1)
    until(lambda: failed(registry, "wrong"), "the failure")
    assert "OperationalError: no such table: nowhere at position 1" in str(registry.get_metadata("wrong").failed)
    tables = registry.get("wrong").tables
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        tables.query("SELECT * FROM nowhere")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        tables.query(f"DELETE FROM {tables.name('totals')}")
    with pytest.raises(ValueError, match="must be letters, digits and _"):
        tables.name('x"; DROP TABLE events; --')


def test_a_file_that_fails_is_trouble_and_not_the_end(
    registry: ProjectionRegistry, store: EventStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register("totals", SqlTotals)
    registry.start_subscription()
    registry.wait_for("totals", pay(store, 3), 30)
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    def fail(self: SqlTotals, connection: ProjectionConnection, recorded_event: RecordedEvent) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(SqlTotals, "apply_in", fail)
        pay(store, 3)
        until(lambda: failed(registry, "totals"), "the trouble")
        assert "the disk is full" in str(registry.get_metadata("totals").failed)
    registry.wait_for("totals", 6, 30)  # tried again, by itself
    until(lambda: not failed(registry, "totals"), "the end of the trouble")
    assert registry.get("totals").positions() == list(range(1, 7))


def test_other_writers_get_their_turn_while_tables_catch_up(
    store: EventStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(SqlTotals):
        def apply_in(self, connection: ProjectionConnection, recorded_event: RecordedEvent) -> None:
            super().apply_in(connection, recorded_event)
            now["s"] += 0.004

    now = {"s": 1000.0}
    pauses: list[float] = []
    other = open_database(tmp_path / "events.db", busy_timeout_s=0.0)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        with other.transaction():  # raises at once where the write lock is held
            pass

    pay(store, 30)
    with ProjectionRegistry(store) as registry:
        registry.register("slow", Slow)
        monkeypatch.setattr(table_builds, "time", SimpleNamespace(monotonic=lambda: now["s"], sleep=pause))
        registry.rebuild("slow")
        assert registry.get("slow").positions() == list(range(1, 31))
    other.close()
    assert len(pauses) == 10  # after every three events of 4 ms: never more than 10 ms and one event at a time
    assert min(pauses) >= 0.005
