"""Events in PostgreSQL: writers of one stream and of several, on connections that wait for and end each other."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from antistrophe.cqrs import ConcurrencyError, EventStore, event
from antistrophe.errors import JournalError, RequestError
from antistrophe.eventstore.backend import NewEvent
from antistrophe.eventstore.postgres import PostgresEvents
from antistrophe.eventstore.store_transaction import encode
from antistrophe.storage.postgres import open_postgres
from antistrophe.storage.postgres_database import PostgresDatabase
from tests.lossy_relay import LossyRelay
from tests.noticing import functions_without, noticed
from tests.postgres_cluster import PostgresCluster

DEADLINE_S = 30.0
COMMIT = b"COMMIT\0"  # the whole statement


@event("postgres.noted")
@dataclass(frozen=True)
class Noted:
    what: str


@pytest.fixture
def store(postgres_store_url: str) -> Iterator[EventStore]:
    with EventStore(postgres_store_url) as opened:
        yield opened


def in_threads(*works: Callable[[], object]) -> None:
    """Run all at once, and raise what one of them raises."""
    problems: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert not any(thread.is_alive() for thread in threads), "threads wait for each other"
    if problems:
        raise problems[0]


# --- writing ------------------------------------------------------------------------------------------------------


def test_an_expected_version_is_met_by_one_of_many_writers(postgres_store_url: str) -> None:
    won: list[int] = []
    lost: list[tuple[int, int]] = []

    def race(number: int) -> None:
        with EventStore(postgres_store_url) as store:
            barrier.wait(DEADLINE_S)
            try:
                store.append("s", [Noted(str(number))], expected_version=0)
            except ConcurrencyError as error:
                lost.append((error.expected, error.actual))
            else:
                won.append(number)

    barrier = threading.Barrier(6)
    in_threads(*(lambda number=number: race(number) for number in range(6)))
    with EventStore(postgres_store_url) as store:
        assert store.get_events("s") == [Noted(str(won[0]))]
    assert (len(won), lost) == (1, [(0, 1)] * 5)


def test_transactions_over_several_streams_in_any_order_wait_and_never_fail(
    postgres_store_url: str, run_seed: int
) -> None:
    streams, rounds = [f"stream {number}" for number in range(4)], 8

    def write(store: EventStore, draw: random.Random) -> None:
        for _ in range(rounds):
            chosen = draw.sample(streams, 3)
            if draw.random() < 0.4:
                with store.transaction() as transaction:
                    for stream in chosen:
                        transaction.append(stream, [Noted(stream)])
            elif draw.random() < 0.5:
                with store.transaction_on(chosen) as transaction:
                    for stream in chosen:
                        transaction.append(stream, [Noted(stream)])
            else:
                for stream in chosen:
                    store.append(stream, [Noted(stream)])

    with EventStore(postgres_store_url) as one, EventStore(postgres_store_url) as other:
        in_threads(
            *(
                lambda store=store, number=number: write(store, random.Random(run_seed + number))
                for number, store in enumerate([one, one, other, other])
            )
        )
        for stream in streams:
            found = one.read_stream(stream)
            assert [each.version for each in found] == list(range(1, len(found) + 1))
        assert len(one.read()) == 4 * rounds * 3


def test_a_transaction_on_known_streams_writes_to_no_other_one(store: EventStore) -> None:
    with store.transaction_on(["a"]) as transaction:
        transaction.append("a", [Noted("1")])
        with pytest.raises(RequestError, match="name every stream when it begins"):
            transaction.append("b", [Noted("1")])
    assert [each.stream for each in store.read()] == ["a"]


def test_writers_of_other_streams_do_not_wait_for_an_open_transaction(store: EventStore) -> None:
    with store.transaction_on(["a"]) as transaction:
        transaction.append("a", [Noted("first")])
        in_threads(lambda: store.append("b", [Noted("second")]))
        assert store.get_events("b") == [Noted("second")]
        assert store.head() == 2
        assert store.read() == []  # the first one may still come
    assert [each.event for each in store.read()] == [Noted("first"), Noted("second")]


def test_a_thread_does_not_wait_for_its_own_transaction(store: EventStore) -> None:
    store.append("b", [Noted("0")])
    with store.transaction() as transaction:
        transaction.append("a", [Noted("1")])
        for use in (
            lambda: store.append("a", [Noted("2")]),
            lambda: store.append("b", [Noted("2")]),
            lambda: store.save_snapshot("b", 1, {}),
            store.flush,
        ):
            with pytest.raises(RequestError, match="end that one first"):
                use()
    assert store.get_events("a") == [Noted("1")]


def test_many_events_of_one_append_keep_their_order(store: EventStore) -> None:
    assert store.append("s", [Noted(str(number)) for number in range(230)]) == 230
    assert [each.event for each in store.read()] == [Noted(str(number)) for number in range(230)]
    assert store.append("s", []) == 230


@pytest.mark.parametrize("name", ["a\0b", "x" * 2_001, "ä" * 1_001])
def test_a_name_that_postgresql_can_not_store_is_refused_and_has_no_events(store: EventStore, name: str) -> None:
    with pytest.raises(ValueError, match="without a zero character; this one begins with"):
        store.append(name, [Noted("1")])
    with pytest.raises(ValueError, match="without a zero character"), store.transaction() as transaction:
        transaction.append(name, [Noted("1")])
    assert (store.version(name), store.read_stream(name), store.get_latest_snapshot(name)) == (0, [], None)


@pytest.mark.parametrize(("synchronous", "setting"), [("FULL", "on"), ("NORMAL", "off")])
def test_commits_wait_for_the_disk_as_the_store_says(postgres_store_url: str, synchronous: str, setting: str) -> None:
    with EventStore(postgres_store_url, synchronous=synchronous) as store:
        with store.transaction() as transaction:
            assert transaction.database is not None
            assert transaction.database.row("SHOW synchronous_commit") == (setting,)
        store.append("s", [Noted("1")])
        store.flush()


def test_a_server_that_does_not_wait_for_its_disk_is_told_to(
    postgres_url: str, postgres_cluster: PostgresCluster
) -> None:
    name = postgres_url.partition("///")[2].partition("?")[0]
    postgres_cluster.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with EventStore(postgres_url) as store, store.transaction() as transaction:
        assert transaction.database is not None
        assert transaction.database.row("SHOW synchronous_commit") == ("on",)


def test_an_unknown_synchronous_is_refused(postgres_store_url: str) -> None:
    with pytest.raises(ValueError, match="synchronous must be FULL or NORMAL, not 'OFF'"):
        EventStore(postgres_store_url, synchronous="OFF")


# --- what fails ---------------------------------------------------------------------------------------------------


@contextmanager
def relayed(url: str) -> Iterator[LossyRelay]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, LossyRelay(url, Path(folder)) as relay:
        yield relay


def end_sessions(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_store_goes_on_after_its_sessions_were_ended(store: EventStore, postgres_store_url: str) -> None:
    store.append("s", [Noted("1")])
    end_sessions(postgres_store_url)
    assert store.append("s", [Noted("2")], expected_version=1) == 2

    def append_twice() -> None:
        with store.transaction() as transaction:
            transaction.append("s", [Noted("3")])
            end_sessions(postgres_store_url)
            transaction.append("s", [Noted("4")])

    with pytest.raises(JournalError, match="lost within a transaction"):
        append_twice()
    assert [each.event for each in store.read()] == [Noted("1"), Noted("2")]


def test_a_subscription_goes_on_after_the_sessions_were_ended(store: EventStore, postgres_store_url: str) -> None:
    store.append("s", [Noted("1")])
    subscription = store.subscribe()
    assert subscription.poll(DEADLINE_S) is not None
    end_sessions(postgres_store_url)
    store.append("s", [Noted("2")])
    found = subscription.poll(DEADLINE_S)
    assert found is not None
    assert found.event == Noted("2")


def test_an_event_of_another_process_comes_to_a_subscription(store: EventStore, postgres_store_url: str) -> None:
    subscription = store.subscribe()
    with EventStore(postgres_store_url) as other:
        other.append("s", [Noted("elsewhere")])
    found = subscription.poll(DEADLINE_S)
    assert found is not None
    assert found.event == Noted("elsewhere")


def test_a_lost_answer_to_a_commit_is_told_by_the_events(postgres_store_url: str) -> None:
    with relayed(postgres_store_url) as relay, EventStore(relay.url) as store:
        store.append("s", [Noted("1")])
        relay.lose_answer(COMMIT)
        assert store.append("s", [Noted("2")], expected_version=1) == 2
        assert store.get_events("s") == [Noted("1"), Noted("2")]


def test_a_commit_that_never_came_there_is_told_as_not_done(postgres_store_url: str) -> None:
    with relayed(postgres_store_url) as relay, EventStore(relay.url) as store:
        store.append("s", [Noted("1")])
        relay.lose_question(COMMIT)
        with pytest.raises(JournalError, match="nothing of it was committed"):
            store.append("s", [Noted("2")])
        assert store.get_events("s") == [Noted("1")]


def test_another_event_at_the_same_position_proves_nothing(store: EventStore, postgres_store_url: str) -> None:
    """A server that has crashed may give a position again."""

    def roll_back() -> None:
        with store.transaction_on(["a"]) as transaction:
            transaction.append("a", [Noted("lost")])
            assert isinstance(transaction.database, PostgresDatabase)
            proofs.append(transaction.database._proof)
            raise LookupError

    proofs: list[Any] = []
    with pytest.raises(LookupError):
        roll_back()
    with psycopg.connect(postgres_store_url) as connection:
        connection.execute("SELECT setval('antistrophe.event_positions', 1, false)")
    store.append("a", [Noted("another")])
    (proof,) = proofs
    with store.transaction() as transaction:
        assert transaction.database is not None
        assert transaction.database.rows("SELECT position FROM events") == [(proof.parameters[0],)]
        assert transaction.database.row(proof.sql, proof.parameters) is None


def test_an_event_id_that_two_transactions_write_is_stored_once(postgres_store_url: str) -> None:
    one = PostgresEvents(postgres_store_url)
    noted = NewEvent("t", 1, b"", event_id=bytes(16))

    def write(stream: str) -> None:
        with one.transaction_on([stream]) as writer:
            writer.append(stream, [noted, NewEvent("t", 1, b"", event_id=bytes([1] * 16))])

    in_threads(lambda: write("a"), lambda: write("b"), lambda: write("c"))
    assert one.stats().events == 2
    one.close()


def test_looking_for_events_is_seldom_while_none_come(store: EventStore, postgres_cluster: PostgresCluster) -> None:
    """Each look of a reader is a query, and every process has readers."""
    subscription = store.subscribe()
    reads: list[float] = []
    backend = store.backend
    assert isinstance(backend, PostgresEvents)
    read = backend.read

    def counted(after: int, limit: int | None) -> list[object]:
        reads.append(time.monotonic())
        return list(read(after, limit))

    backend.read = counted  # type: ignore[method-assign,assignment]
    assert subscription.poll(1.0) is None
    assert len(reads) < 25


# --- what an append asks ------------------------------------------------------------------------------------------


def test_an_append_asks_once_between_the_beginning_and_the_end(postgres_store_url: str) -> None:
    with relayed(postgres_store_url) as relay, EventStore(relay.url) as store:
        store.append("s", [Noted("1")])
        before = relay.questions
        store.append("s", [Noted("2")])
        store.append("s", [Noted("3")], expected_version=2)
        with pytest.raises(ConcurrencyError):
            store.append("s", [Noted("4")], expected_version=2)
        assert relay.questions - before == 3 * 3


def test_an_append_of_more_than_one_statement_takes_is_one_append(store: EventStore) -> None:
    few = [Noted("x" * 3_000_000), Noted("y" * 3_000_000), Noted("z")]
    many = [Noted(str(number)) for number in range(2_500)]
    assert store.append("s", few) == 3
    with pytest.raises(ConcurrencyError):
        store.append("s", many, expected_version=2)
    assert store.append("s", many, expected_version=3) == 2_503
    assert [each.event for each in store.read()] == few + many
    assert [each.version for each in store.read_stream("s")] == list(range(1, 2_504))


@pytest.mark.parametrize("many", [1, 2, 1_001])
def test_a_copy_of_what_a_saga_has_stored_is_refused(store: EventStore, many: int) -> None:
    events = [Noted(str(number)) for number in range(many)]
    with store.transaction() as transaction:
        transaction.append_encoded("s", [NewEvent("postgres.noted", 1, b"\x80")])
        stored = encode(events, {"saga_id": "s"})
        transaction.append_encoded(
            "s", [replace(each, event_id=number.to_bytes(16, "big")) for number, each in enumerate(stored)]
        )
    with pytest.raises(RequestError, match="has these events already"):
        store.append("s", events)
    assert store.version("s") == many + 1
    assert store.append("s", [Noted("other"), *events[1:]]) == 2 * many + 1
    assert store.append("s", events, expected_version=2 * many + 1) == 3 * many + 1


@pytest.mark.parametrize(
    ("condition", "test"),
    [
        ("is_copy AND NOT copies", lambda store: test_a_copy_of_what_a_saga_has_stored_is_refused(store, 1)),
        ("expected <> at_version", test_an_append_of_more_than_one_statement_takes_is_one_append),
    ],
)
def test_a_check_that_the_server_no_longer_makes_is_noticed(
    store: EventStore, postgres_store_url: str, condition: str, test: Callable[[EventStore], None]
) -> None:
    with (
        closing(open_postgres(postgres_store_url)) as database,
        functions_without(database, condition, instead="false"),
        noticed(),
    ):
        test(store)
