"""Events in a transaction of the application's own: with its rows, or never."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from antistrophe.cqrs import ConcurrencyError, CqrsError, EventStore
from antistrophe.errors import RequestError
from antistrophe.eventstore.backend import NewEvent
from antistrophe.eventstore.store_transaction import encode
from antistrophe.storage import postgres_callers
from antistrophe.storage.postgres import open_postgres
from antistrophe.storage.postgres_feed import open_transactions
from tests.contract.callers_kit import DEADLINE_S, MANY, ONE, THREE, TWO, Own, connected, order, orders
from tests.noticing import functions_without, noticed
from tests.waiting import until

# --- committed, or never there ------------------------------------------------------------------------------------


def test_events_are_there_with_the_commit(store: EventStore, own: Own) -> None:
    order(own)
    assert store.append("s", [ONE], metadata={"by": "me"}, connection=own) == 1
    assert store.append("s", [TWO], expected_version=1, connection=own) == 2
    assert (store.get_events("s"), store.version("s"), store.read()) == ([], 0, [])
    own.commit()
    found = store.read_stream("s")
    assert [(each.event, each.version, each.metadata) for each in found] == [(ONE, 1, {"by": "me"}), (TWO, 2, {})]
    assert (store.read(), orders(own)) == (found, 1)


@pytest.mark.parametrize("events", [[ONE], MANY])
def test_events_never_were_there_where_that_rolls_back(store: EventStore, own: Own, events: list[object]) -> None:
    store.version("s", connection=own)
    own.rollback()  # the connection is known, so that the append is the first statement of its transaction
    assert store.append("s", events, connection=own) == len(events)
    order(own)
    store.save_snapshot("s", 1, {"n": 1}, connection=own)
    own.rollback()
    assert (store.version("s"), store.get_latest_snapshot("s"), orders(own)) == (0, None, 0)
    assert store.append("s", [ONE], expected_version=0) == 1, "the version is free again"
    assert [each.event for each in store.read()] == [ONE]


def test_a_savepoint_that_is_undone_undoes_what_was_appended_after_it(store: EventStore, own: Own) -> None:
    with own.transaction():
        store.append("s", [ONE], connection=own)
        with own.transaction(force_rollback=True):
            assert store.append("s", [TWO], connection=own) == 2
        assert store.append("s", [THREE], expected_version=1, connection=own) == 2
    assert [each.event for each in store.read()] == [ONE, THREE]


def test_a_transaction_sees_what_it_has_appended(store: EventStore, own: Own) -> None:
    store.append("s", [ONE])
    store.append("s", [TWO], connection=own)
    assert store.get_events("s", connection=own) == [ONE, TWO]
    assert store.get_events_after("s", 1, connection=own) == [TWO]
    assert store.version("s", connection=own) == 2
    store.save_snapshot("s", 2, {"n": 2}, connection=own)
    with pytest.raises(CqrsError, match="is at version 2"):
        store.save_snapshot("s", 3, {}, connection=own)
    seen = store.get_latest_snapshot("s", connection=own)
    assert seen is not None
    assert (seen.state, store.get_latest_snapshot("s")) == ({"n": 2}, None)
    own.commit()
    assert store.get_latest_snapshot("s") == seen


def test_a_connection_that_is_lost_before_the_commit_has_appended_nothing(store: EventStore, own: Own) -> None:
    store.append("s", [ONE], connection=own)
    own.pgconn.finish()  # as where its process is killed
    assert store.append("s", [TWO], expected_version=0) == 1


def test_a_connection_that_commits_each_statement_commits_the_append(store: EventStore, empty_postgres: str) -> None:
    with connected(empty_postgres, autocommit=True, row_factory=dict_row) as own:
        assert store.append("s", [ONE], connection=own) == 1
        assert store.get_events("s") == [ONE]
        with pytest.raises(ConcurrencyError):
            store.append("s", MANY, expected_version=0, connection=own)
        store.append("s", MANY, connection=own)
        assert (store.version("s"), own.info.transaction_status) == (1 + len(MANY), TransactionStatus.IDLE)
        with own.transaction(force_rollback=True):
            store.append("s", [TWO], connection=own)
        with store.transaction(connection=own) as transaction:
            transaction.append("t", [TWO])
            assert store.version("t") == 0
        assert (store.version("s"), store.get_events("t")) == (1 + len(MANY), [TWO])


def test_a_block_is_a_part_of_the_transaction(store: EventStore, own: Own) -> None:
    with store.transaction(connection=own) as transaction:
        transaction.append("a", [ONE])
        transaction.append("b", [TWO])
        assert transaction.database is None
    assert store.version("a") == 0
    order(own)

    def conflict() -> None:
        with store.transaction_on(["a", "c"], connection=own) as transaction:
            transaction.append("c", [THREE])
            transaction.append("a", [THREE], expected_version=0)

    with pytest.raises(ConcurrencyError):
        conflict()
    with store.transaction_on(["a"], connection=own) as on_one, pytest.raises(RequestError, match="name every stream"):
        on_one.append("b", [THREE])
    own.commit()
    assert (store.get_events("a"), store.get_events("b"), store.version("c"), orders(own)) == ([ONE], [TWO], 0, 1)


def test_on_a_connection_of_asyncio(store: EventStore, empty_postgres: str) -> None:
    async def append() -> None:
        async with await psycopg.AsyncConnection.connect(empty_postgres) as own:
            assert await store.append_async("s", MANY, connection=own) == len(MANY)
            await own.rollback()
            assert await store.append_async("s", [ONE], connection=own) == 1
            with pytest.raises(ConcurrencyError):
                await store.append_async("s", [TWO], expected_version=0, connection=own)
            assert [each.event for each in await store.read_stream_async("s", connection=own)] == [ONE]
            assert await store.read_stream_async("s", 1, connection=own) == []
            assert await store.read_stream_async("a\0b", connection=own) == []
            assert store.version("s") == 0
        async with await psycopg.AsyncConnection.connect(empty_postgres) as own:
            await own.set_autocommit(True)
            await store.append_async("s", MANY, connection=own)
        with pytest.raises(RequestError, match=r"psycopg\.AsyncConnection, and this one is closed"):
            await store.append_async("s", [ONE], connection=own)

    asyncio.run(append())
    assert store.version("s") == 1 + len(MANY)


# --- beside others ------------------------------------------------------------------------------------------------


def test_a_conflict_leaves_the_transaction_as_it_was(store: EventStore, own: Own) -> None:
    store.append("s", [ONE])
    order(own)
    with pytest.raises(ConcurrencyError) as raised:
        store.append("s", [TWO], expected_version=0, connection=own)
    assert (raised.value.expected, raised.value.actual) == (0, 1)
    assert store.append("s", [TWO], expected_version=1, connection=own) == 2
    own.commit()
    assert (store.get_events("s"), orders(own)) == ([ONE, TWO], 1)


def test_an_append_that_is_refused_keeps_no_reader_waiting(store: EventStore, own: Own) -> None:
    with pytest.raises(ConcurrencyError):
        store.append("s", [TWO], expected_version=7, connection=own)
    store.append("s", [], connection=own)
    assert own.execute("SELECT pg_current_xact_id_if_assigned()").fetchall() == [(None,)]
    store.append("t", [ONE])
    assert [each.event for each in store.read()] == [ONE]


def waits(url: str) -> bool:
    with closing(open_postgres(url)) as database:
        return bool(database.rows("SELECT FROM pg_locks WHERE NOT granted"))


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_of_two_that_append_to_one_stream_the_second_waits_for_the_first(
    store: EventStore, own: Own, empty_postgres: str, ends: str
) -> None:
    found: list[object] = []

    def race(other: Own) -> None:
        try:
            found.append(store.append("s", [TWO], expected_version=0, connection=other))
        except (ConcurrencyError, psycopg.Error) as error:
            found.append(getattr(error, "actual", error))
        other.commit()

    store.append("s", [ONE], expected_version=0, connection=own)
    with connected(empty_postgres) as other:
        thread = threading.Thread(target=race, args=(other,), daemon=True)
        thread.start()
        until(lambda: waits(empty_postgres), "the second waits")
        getattr(own, ends)()
        thread.join(DEADLINE_S)
    assert found == [1]
    assert store.get_events("s") == ([ONE] if ends == "commit" else [TWO])


def test_of_two_that_wait_for_each_other_the_server_ends_one(store: EventStore, own: Own, empty_postgres: str) -> None:
    ended: list[str] = []

    def append(connection: Own, stream: str) -> None:
        try:
            store.append(stream, [TWO], connection=connection)
        except psycopg.errors.DeadlockDetected:
            connection.rollback()
            ended.append("deadlock")
        else:
            connection.commit()
            ended.append("commit")

    own.execute("SET deadlock_timeout = '50ms'")
    own.commit()
    with connected(empty_postgres) as other:
        store.append("a", [ONE], connection=own)
        store.append("b", [ONE], connection=other)
        threads = [threading.Thread(target=append, args=each, daemon=True) for each in ((own, "b"), (other, "a"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
    assert sorted(ended) == ["commit", "deadlock"]
    assert sorted([store.version("a"), store.version("b")]) == [1, 1]


def test_those_who_name_their_streams_at_once_do_not_wait_for_each_other(
    store: EventStore, empty_postgres: str
) -> None:
    def append(streams: list[str]) -> None:
        with connected(empty_postgres) as connection:
            for _ in range(10):
                with store.transaction_on(streams, connection=connection) as transaction:
                    for stream in streams:
                        transaction.append(stream, [ONE])
                connection.commit()

    threads = [
        threading.Thread(target=append, args=(each,), daemon=True) for each in (["a", "b", "c"], ["c", "b", "a"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert [store.version(each) for each in "abc"] == [20, 20, 20]


def test_readers_in_order_wait_for_the_transaction_which_is_named(
    store: EventStore, own: Own, empty_postgres: str
) -> None:
    store.append("a", [ONE], connection=own)
    store.append("b", [TWO])
    assert (store.get_events("b"), store.read()) == ([TWO], [])
    with closing(open_postgres(empty_postgres)) as database:
        (blocking,) = open_transactions(database, "events")
    assert (blocking.application, blocking.pid) == ("the shop", own.info.backend_pid)
    own.commit()
    assert [each.event for each in store.read()] == [ONE, TWO]


@pytest.mark.parametrize("level", ["REPEATABLE_READ", "SERIALIZABLE"])
def test_a_transaction_that_sees_what_was_is_begun_anew(store: EventStore, own: Own, level: str) -> None:
    own.isolation_level = psycopg.IsolationLevel[level]
    order(own)
    store.append("s", [ONE])
    assert store.get_events("s", connection=own) == []
    with pytest.raises(psycopg.errors.SerializationFailure):
        store.append("s", [TWO], connection=own)
    own.rollback()
    assert store.append("s", [TWO], expected_version=1, connection=own) == 2
    own.commit()
    assert store.get_events("s") == [ONE, TWO]


def test_what_a_saga_has_stored_is_not_appended_again(store: EventStore, own: Own) -> None:
    (stored,) = encode([ONE], {"saga_id": "s"})
    with store.transaction() as transaction:
        transaction.append_encoded("s", [NewEvent(stored.type, 1, stored.data, stored.metadata, bytes(16))])
    order(own)
    with pytest.raises(RequestError, match="Leave this append out"):
        store.append("s", [ONE], connection=own)
    assert store.append("s", [ONE], expected_version=1, connection=own) == 2
    own.commit()
    assert (store.get_events("s"), orders(own)) == ([ONE, ONE], 1)


# --- checks that are taken away -----------------------------------------------------------------------------------


def test_a_block_that_commits_the_whole_is_noticed(
    store: EventStore, own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_callers, "_begins_at_first_statement", lambda _: False)
    with noticed():
        test_events_never_were_there_where_that_rolls_back(store, own, list(MANY))


def test_an_append_that_does_not_lock_its_stream_is_noticed(store: EventStore, own: Own, empty_postgres: str) -> None:
    lock = "PERFORM pg_advisory_xact_lock(1702260340, its_lock);"
    with closing(open_postgres(empty_postgres)) as database, functions_without(database, lock), noticed():
        test_of_two_that_append_to_one_stream_the_second_waits_for_the_first(store, own, empty_postgres, "commit")


def test_a_conflict_of_rows_that_is_not_told_as_one_of_transactions_is_noticed(
    store: EventStore, own: Own, empty_postgres: str
) -> None:
    check = "ON CONFLICT (stream, version) DO NOTHING"
    with closing(open_postgres(empty_postgres)) as database, functions_without(database, check):
        with pytest.raises(psycopg.errors.UniqueViolation):
            test_a_transaction_that_sees_what_was_is_begun_anew(store, own, "REPEATABLE_READ")
        own.rollback()
