"""Commands that are dispatched in a transaction of the application's own: its rows, their events and the answer of
their key are committed together, or never were."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from antistrophe.cqrs import (
    Appends,
    CommandBus,
    ConcurrencyError,
    CqrsError,
    EventStore,
    ValidationError,
    idempotency_postgres,
)
from antistrophe.cqrs import bus as buses
from antistrophe.cqrs.callers_dispatch import CallersKeys, CallersTransaction
from antistrophe.cqrs.claim_owner import ClaimOwner
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.errors import FieldError, IdempotencyConflictError, RequestError
from antistrophe.storage.postgres import open_postgres
from tests.cqrs.shop import CreateUser, UserCreated
from tests.noticing import noticed
from tests.waiting import until

DEADLINE_S = 30.0
ADA, BOB = CreateUser("Ada"), CreateUser("Bob")
ADA_IS, BOB_IS = UserCreated("Ada"), UserCreated("Bob")
Own = psycopg.Connection[Any]


@pytest.fixture
def store(empty_postgres: str) -> Iterator[EventStore]:
    with EventStore(empty_postgres) as opened:
        yield opened


@pytest.fixture
def bus(store: EventStore) -> CommandBus:
    return bus_of(store)


def bus_of(store: EventStore) -> CommandBus:
    """A bus whose handler writes a row on the connection of the dispatch, and counts its runs there."""
    made = CommandBus(store)

    def create(command: CreateUser) -> object:
        if made.connection is not None:
            made.connection.execute("INSERT INTO runs VALUES (%s)", [command.name])
        return Appends("users", [UserCreated(command.name)])

    made.register(CreateUser, create)
    return made


@contextmanager
def connected(url: str, **options: Any) -> Iterator[Own]:
    with closing(psycopg.connect(url, **options)) as connection:
        connection.execute("CREATE TEMPORARY TABLE runs(name text)")
        connection.commit()
        yield connection


@pytest.fixture
def own(empty_postgres: str) -> Iterator[Own]:
    with connected(empty_postgres) as connection:
        yield connection


def runs(own: Own) -> int:
    return len(own.execute("SELECT FROM runs").fetchall())


def keys(store: EventStore) -> list[Any]:
    assert store.backend is not None
    return store.postgres()._rows("SELECT key, answer IS NULL FROM claims")


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Runs it in a thread. What it returns or raises comes into the list."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, found


def waits(url: str) -> bool:
    with closing(open_postgres(url)) as database:
        return bool(database.rows("SELECT FROM pg_locks WHERE NOT granted"))


# --- committed, or never there ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "key"])
def test_all_of_it_is_there_with_the_commit(store: EventStore, bus: CommandBus, own: Own, key: str | None) -> None:
    assert bus.dispatch(ADA, key, connection=own) == [ADA_IS]
    assert (store.version("users"), keys(store), bus.connection) == (0, [], None)
    own.commit()
    assert (store.get_events("users"), keys(store), runs(own)) == ([ADA_IS], [("key", False)] if key else [], 1)


@pytest.mark.parametrize("key", [None, "key"])
def test_none_of_it_ever_was_where_that_rolls_back(
    store: EventStore, bus: CommandBus, own: Own, key: str | None
) -> None:
    store.version("users", connection=own)
    own.rollback()
    bus.dispatch(ADA, key, connection=own)
    own.rollback()
    assert (store.version("users"), keys(store), runs(own)) == (0, [], 0)
    own.rollback()
    assert bus.dispatch(BOB, key) == [BOB_IS], "the key is free for any command"
    assert store.get_events("users") == [BOB_IS]


def test_a_key_that_was_answered_is_answered_again(store: EventStore, bus: CommandBus, own: Own) -> None:
    for _ in range(2):  # within the transaction too
        assert bus.dispatch(ADA, "key", connection=own) == [ADA_IS]
    with pytest.raises(IdempotencyConflictError):
        bus.dispatch(BOB, "key", connection=own)
    assert bus.dispatch(BOB, "other", connection=own) == [BOB_IS]
    own.commit()
    assert bus.dispatch(ADA, "key") == [ADA_IS]
    assert bus.dispatch(ADA, "key", connection=own) == [ADA_IS]
    assert (store.get_events("users"), runs(own)) == ([ADA_IS, BOB_IS], 2)


@pytest.mark.parametrize("key", [None, "key"])
def test_what_fails_is_undone_and_the_transaction_goes_on(
    store: EventStore, bus: CommandBus, own: Own, key: str | None
) -> None:
    def conflicts(command: CreateUser) -> object:
        bus.connection.execute("INSERT INTO runs VALUES ('undone')")
        return [Appends("a", [ADA_IS]), Appends("b", [ADA_IS], expected_version=7)]

    def fails(command: CreateUser) -> object:
        return bus.connection.execute("SELECT * FROM nowhere")

    own.execute("INSERT INTO runs VALUES ('before')")
    for handler, error in ((conflicts, ConcurrencyError), (fails, psycopg.errors.UndefinedTable)):
        bus.register(CreateUser, handler, replace=True)
        with pytest.raises(error):
            bus.dispatch(ADA, key, connection=own)
        assert (own.info.transaction_status, runs(own)) == (TransactionStatus.INTRANS, 1)
    bus.validates(CreateUser)(lambda command: [FieldError("name", "no")] if command.name == "Bob" else None)
    with pytest.raises(ValidationError):
        bus.dispatch(BOB, key, connection=own)
    bus.register(CreateUser, lambda command: Appends("a", [UserCreated(command.name)]), replace=True)
    assert bus.dispatch(ADA, key, connection=own) == [ADA_IS]
    own.commit()
    assert (store.get_events("a"), store.version("b"), runs(own)) == ([ADA_IS], 0, 1)


@pytest.mark.parametrize("key", [None, "key"])
def test_a_middleware_may_try_again_after_a_conflict(
    store: EventStore, bus: CommandBus, own: Own, key: str | None
) -> None:
    tries: list[int] = []

    def create(command: CreateUser) -> object:
        tries.append(len(tries))
        return [Appends(each, [UserCreated(command.name)], expected_version=tries[-1]) for each in ("a", "users")]

    def again(command: object, handle: Callable[[Any], list[Any]]) -> list[Any]:
        try:
            return handle(command)
        except ConcurrencyError:
            store.append("a", [BOB_IS], connection=own)
            return handle(command)

    store.append("users", [BOB_IS])
    bus.register(CreateUser, create, replace=True)
    bus.add_middleware(again)
    assert bus.dispatch(ADA, key, connection=own) == [ADA_IS, ADA_IS]
    own.commit()
    assert (tries, store.get_events("a"), store.get_events("users")) == ([0, 1], [BOB_IS, ADA_IS], [BOB_IS, ADA_IS])


def test_a_handler_sees_what_the_transaction_has_appended(store: EventStore, bus: CommandBus, own: Own) -> None:
    def create(command: CreateUser) -> object:
        known = store.get_events("users", connection=bus.connection)
        return Appends("users", [UserCreated(f"{command.name} {len(known)}")], expected_version=len(known))

    bus.register(CreateUser, create, replace=True)
    for _ in range(2):
        bus.dispatch(ADA, connection=own)
    own.commit()
    assert store.get_events("users") == [UserCreated("Ada 0"), UserCreated("Ada 1")]


def test_a_connection_that_commits_each_statement_commits_the_dispatch(
    store: EventStore, bus: CommandBus, empty_postgres: str
) -> None:
    with connected(empty_postgres, autocommit=True) as own:
        assert bus.dispatch(ADA, "key", connection=own) == [ADA_IS]
        assert (store.get_events("users"), keys(store), runs(own)) == ([ADA_IS], [("key", False)], 1)


# --- beside others ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["commit", "rollback"])
@pytest.mark.parametrize("with_connection", [True, False])
def test_who_wants_the_key_meanwhile_waits_for_the_transaction(
    store: EventStore, bus: CommandBus, own: Own, empty_postgres: str, ends: str, with_connection: bool
) -> None:
    bus.dispatch(ADA, "key", connection=own)
    with connected(empty_postgres, autocommit=True) as other:
        thread, found = in_thread(
            lambda: bus.dispatch(ADA, "key", connection=other if with_connection else None, timeout_s=DEADLINE_S)
        )
        until(lambda: waits(empty_postgres), "the other one waits")
        getattr(own, ends)()
        thread.join(DEADLINE_S)
        assert found == [[ADA_IS]]
        assert runs(other) == (1 if with_connection and ends == "rollback" else 0)
    assert store.get_events("users") == [ADA_IS]


def test_who_has_waited_long_enough_is_told_so(bus: CommandBus, own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency_postgres, "_SHORTLY", "set_config('lock_timeout', '50', true)")
    bus.dispatch(ADA, "key", connection=own)
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match=r"being handled in a transaction that is open after 0\.2 s"):
        bus.dispatch(ADA, "key", timeout_s=0.2)
    assert time.monotonic() - begun < DEADLINE_S / 2


def test_a_claim_of_a_handler_elsewhere_is_waited_for_and_then_taken(
    store: EventStore, bus: CommandBus, own: Own
) -> None:
    begun, go = threading.Event(), threading.Event()

    def waits_then_fails(command: CreateUser) -> object:
        begun.set()
        assert go.wait(DEADLINE_S)
        raise LookupError

    other = CommandBus(store)
    other.register(CreateUser, waits_then_fails)
    thread, found = in_thread(lambda: other.dispatch(ADA, "key"))
    assert begun.wait(DEADLINE_S)
    with pytest.raises(TimeoutError, match="by process"):
        bus.dispatch(ADA, "key", timeout_s=0.05, connection=own)
    assert own.info.transaction_status == TransactionStatus.INTRANS
    own.commit()
    go.set()
    thread.join(DEADLINE_S)
    assert [type(each) for each in found] == [LookupError]
    assert bus.dispatch(ADA, "key", connection=own) == [ADA_IS]
    own.commit()
    assert store.get_events("users") == [ADA_IS]


def test_a_claim_of_a_process_that_has_died_is_taken_over(
    store: EventStore, bus: CommandBus, own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.postgres().rows_transaction() as database:
        database.execute(
            "INSERT INTO claims(key, command_hash, command_type, token, owner_pid, owner_start_ticks, owner_boot_id,"
            " updated_at) VALUES ('key', ?, 'Other', 'gone', 1, 1, 'elsewhere', 0)",
            (b"",),
        )
    monkeypatch.setattr(ClaimOwner, "seen_running", lambda *_: False)
    assert bus.dispatch(ADA, "key", connection=own) == [ADA_IS]
    assert keys(store) == [("key", True)]
    own.rollback()
    assert bus.dispatch(ADA, "key", connection=own) == [ADA_IS]
    own.commit()
    assert keys(store) == [("key", False)]


def test_a_handler_does_not_wait_for_its_own_key(bus: CommandBus, own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency_postgres, "_SHORTLY", "set_config('lock_timeout', '50', true)")
    for inner in (own, None):

        def again(command: CreateUser, inner: object = inner) -> object:
            return bus.dispatch(command, "key", connection=inner)

        bus.register(CreateUser, again, replace=True)
        with pytest.raises(CqrsError, match="would wait for itself"):
            bus.dispatch(ADA, "key", connection=own)
        own.rollback()


# --- what is refused ----------------------------------------------------------------------------------------------


class Started:
    """The handle of a saga that has been started."""

    id = "s"

    def result(self) -> list[object]:
        raise AssertionError("it was waited for")


@pytest.mark.parametrize("returned", [SagaDefinition("s"), Started()])
def test_a_saga_is_not_run_within_the_transaction(store: EventStore, own: Own, returned: object) -> None:
    bus = CommandBus(store)
    bus.register(CreateUser, lambda _: returned)
    with pytest.raises(CqrsError, match=r"the saga 's', which can't run before .* start it there"):
        bus.dispatch(ADA, connection=own)


def test_a_bus_whose_store_is_not_in_postgresql_takes_no_transaction(own: Own) -> None:
    with EventStore(":memory:") as elsewhere:
        for bus in (CommandBus(), CommandBus(elsewhere)):
            bus.register(CreateUser, lambda _: None)
            with pytest.raises(RequestError, match="leave connection= out"):
                bus.dispatch(ADA, connection=own)


# --- checks that are taken away -----------------------------------------------------------------------------------


def test_a_key_that_is_kept_elsewhere_is_noticed(
    store: EventStore, bus: CommandBus, own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buses, "keys_within", lambda _, keys: keys)
    with noticed():
        test_all_of_it_is_there_with_the_commit(store, bus, own, "key")


def test_a_dispatch_that_fails_and_is_not_undone_is_noticed(
    store: EventStore, bus: CommandBus, own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def nothing(_: CallersTransaction) -> Iterator[None]:
        yield

    monkeypatch.setattr(CallersTransaction, "block", nothing)
    with noticed():
        test_what_fails_is_undone_and_the_transaction_goes_on(store, bus, own, None)


def test_a_key_without_an_answer_is_noticed(
    store: EventStore, bus: CommandBus, own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CallersKeys, "settle", lambda *_: None)
    with noticed():
        test_all_of_it_is_there_with_the_commit(store, bus, own, "key")
