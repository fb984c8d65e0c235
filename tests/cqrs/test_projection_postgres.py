"""Projections in PostgreSQL: tables that processes share, and events that open transactions hold back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from antistrophe.cqrs import EventStore, ProjectionRegistry, tables_postgres
from antistrophe.errors import CqrsError
from antistrophe.eventstore.postgres import PostgresEvents
from antistrophe.eventstore.recorded import RecordedEvent
from antistrophe.storage.postgres_schema import PROJECTIONS
from tests.cqrs.totals import SavedTotals, SqlTotals, pay
from tests.waiting import until

DEADLINE_S = 30.0
APPEND = (
    "INSERT INTO antistrophe.events(position, stream, version, type, type_version, data, recorded_at)"
    " VALUES (nextval('antistrophe.event_positions'), 'open', 1, 't', 1, '\\x80', 0)"
)


@pytest.fixture
def store(postgres_store_url: str) -> Iterator[EventStore]:
    with EventStore(postgres_store_url) as opened:
        yield opened


@pytest.fixture
def open_append(postgres_store_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A session with a transaction open that has appended an event."""
    with psycopg.connect(postgres_store_url) as connection:
        connection.execute("SELECT pg_current_xact_id()")
        connection.execute(APPEND)
        yield connection


@contextmanager
def two_processes(url: str) -> Iterator[tuple[EventStore, ProjectionRegistry, EventStore, ProjectionRegistry]]:
    """Two stores on one database, and the projections of each."""
    with (
        EventStore(url) as one,
        EventStore(url) as other,
        ProjectionRegistry(one) as here,
        ProjectionRegistry(other) as there,
    ):
        yield one, here, other, there


def tables_of(store: EventStore) -> set[str]:
    assert isinstance(store.backend, PostgresEvents)
    with store.backend.connection() as database:
        found = database.rows(
            "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace(?::text)",
            (PROJECTIONS,),
        )
    return {row[0] for row in found}


@pytest.mark.parametrize("kind", [SavedTotals, SqlTotals])
def test_a_position_that_may_still_come_holds_projections_back_and_is_taken_in(
    registry: ProjectionRegistry, store: EventStore, open_append: psycopg.Connection[Any], kind: Any
) -> None:
    registry.register("totals", kind)
    registry.start_subscription()
    head = pay(store, 3)
    assert head == 4  # the event of the open transaction is number 1
    with pytest.raises(TimeoutError, match=r"at position 0 after 0\.3 s"):
        registry.wait_for("totals", head, 0.3)
    assert registry.get_metadata("totals").lag == 4
    registry.rebuild("totals")  # ends, at what can be read so far
    assert registry.get("totals").positions() == []
    open_append.commit()
    registry.wait_for("totals", head, DEADLINE_S)
    assert registry.get("totals").positions() == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", [SavedTotals, SqlTotals])
def test_positions_that_were_rolled_back_are_passed(
    registry: ProjectionRegistry, store: EventStore, open_append: psycopg.Connection[Any], kind: Any
) -> None:
    registry.register("totals", kind)
    registry.start_subscription()
    head = pay(store, 2)
    open_append.rollback()
    registry.wait_for("totals", head, DEADLINE_S)
    assert registry.get("totals").positions() == [2, 3]
    assert registry.get_metadata("totals").lag == 0


def test_processes_share_tables_and_each_event_is_applied_once(postgres_store_url: str) -> None:
    with two_processes(postgres_store_url) as (one, here, other, there):
        for registry in (here, there):
            registry.register("totals", SqlTotals)
            registry.start_subscription()
        for _ in range(10):
            pay(one, 3)
            pay(other, 2)
        head = one.head()
        here.wait_for("totals", head, DEADLINE_S)
        there.wait_for("totals", head, DEADLINE_S)
        assert here.get("totals").positions() == list(range(1, 51))
        assert there.get("totals").total("A") == 50


def test_a_rebuild_beside_another_process_that_has_come_further_misses_nothing(postgres_store_url: str) -> None:
    with two_processes(postgres_store_url) as (one, here, other, there):
        here.register("totals", SqlTotals)
        there.register("totals", SqlTotals)
        there.start_subscription()
        here.start_subscription()
        stop = threading.Event()

        def keep_paying() -> None:
            while not stop.is_set():
                pay(other, 1)

        paying = threading.Thread(target=keep_paying)
        paying.start()
        for _ in range(3):
            here.rebuild("totals")
        stop.set()
        paying.join(DEADLINE_S)
        head = one.head()
        there.wait_for("totals", head, DEADLINE_S)
        here.wait_for("totals", head, DEADLINE_S)
        assert here.get("totals").positions() == there.get("totals").positions() == list(range(1, head + 1))


def test_tables_have_a_schema_and_names_of_their_own_and_old_ones_go(
    registry: ProjectionRegistry, store: EventStore
) -> None:
    class Indexed(SqlTotals):
        def create_in(self, connection: Any, tables: Any) -> None:
            super().create_in(connection, tables)
            connection.execute(f"CREATE INDEX IF NOT EXISTS {tables.name('by_total')} ON {self.totals}(total)")

    registry.register("with a name that is much too long for a table of PostgreSQL " * 3, Indexed)
    (name,) = [each.name for each in registry.get_all_metadata()]
    registry.start_subscription()
    registry.wait_for(name, pay(store, 2), DEADLINE_S)
    assert {each.rpartition(":")[2] for each in tables_of(store)} == {"totals", "seen"}
    for _ in range(3):
        registry.rebuild(name)
    assert {each.split(":")[2] for each in tables_of(store)} == {"3", "4"}  # the one before may still be read
    assert registry.get(name).total("A") == 2
    with pytest.raises(ValueError, match="must have at most"):
        registry.get(name).tables.name("x" * 60)


def test_a_table_that_somebody_reads_for_long_does_not_stop_a_rebuild(
    registry: ProjectionRegistry, store: EventStore, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables_postgres, "_DROP_WITHIN_MS", 50)
    registry.register("totals", SqlTotals)
    registry.start_subscription()
    registry.wait_for("totals", pay(store, 1), DEADLINE_S)
    with psycopg.connect(postgres_store_url) as reader:
        reader.execute(f"SELECT * FROM {PROJECTIONS}.{registry.get('totals').totals}")
        for _ in range(2):
            registry.rebuild("totals")
        assert {each.split(":")[2] for each in tables_of(store)} == {"1", "2", "3"}
    registry.rebuild("totals")
    assert {each.split(":")[2] for each in tables_of(store)} == {"3", "4"}


def test_wrong_sql_is_the_projections_fault_and_wrong_queries_the_readers(
    registry: ProjectionRegistry, store: EventStore
) -> None:
    class Wrong(SqlTotals):
        def apply_in(self, connection: Any, recorded_event: RecordedEvent) -> None:
            connection.execute("INSERT INTO nowhere VALUES (1)")

    registry.register("wrong", Wrong)
    registry.start_subscription()
    pay(store, 1)
    until(lambda: registry.get_metadata("wrong").failed is not None, "the failure")
    assert 'relation "nowhere" does not exist' in str(registry.get_metadata("wrong").failed)
    assert "at position 1" in str(registry.get_metadata("wrong").failed)
    tables = registry.get("wrong").tables
    with pytest.raises(psycopg.errors.UndefinedTable, match="nowhere"):
        tables.query("SELECT * FROM nowhere")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        tables.query(f"DELETE FROM {tables.name('totals')}")


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
def test_a_projection_that_ends_the_transaction_is_marked(
    registry: ProjectionRegistry, store: EventStore, statement: str
) -> None:
    class Ends(SqlTotals):
        def apply_in(self, connection: Any, recorded_event: RecordedEvent) -> None:
            connection.execute(statement)

    registry.register("ends", Ends)
    registry.start_subscription()
    pay(store, 1)
    until(lambda: registry.get_metadata("ends").failed is not None, "the failure")
    assert "apply_in ended the transaction" in str(registry.get_metadata("ends").failed)
    pay(store, 1)  # the store goes on


def test_a_projection_goes_on_after_its_sessions_were_ended(
    registry: ProjectionRegistry, store: EventStore, postgres_store_url: str
) -> None:
    ended = threading.Event()

    class Ending(SqlTotals):
        def apply_in(self, connection: Any, recorded_event: RecordedEvent) -> None:
            if recorded_event.position == 3 and not ended.is_set():
                ended.set()
                with psycopg.connect(postgres_store_url, autocommit=True) as other:
                    other.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
            super().apply_in(connection, recorded_event)

    registry.register("totals", Ending)
    registry.start_subscription()
    head = pay(store, 5)
    registry.wait_for("totals", head, DEADLINE_S)
    assert ended.is_set()
    assert registry.get("totals").positions() == [1, 2, 3, 4, 5]
    deadline = time.monotonic() + DEADLINE_S
    while registry.get_metadata("totals").failed is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_tables_need_a_store_that_outlives_the_process() -> None:
    with EventStore(":memory:") as store, pytest.raises(CqrsError, match="in a SQLite file or in PostgreSQL"):
        ProjectionRegistry(store).register("totals", SqlTotals)
