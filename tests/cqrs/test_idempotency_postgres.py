"""Idempotency keys in PostgreSQL: owners on other hosts, which can't be seen, and connections that are lost."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from antistrophe.cqrs import CommandBus, EventStore, idempotency_postgres
from antistrophe.cqrs.claim_owner import LEASE_S, ClaimOwner
from antistrophe.cqrs.idempotency import Claim, Held, KeyedCommand, drop_token, runs_here
from antistrophe.cqrs.idempotency_postgres import PostgresIdempotencyStore
from antistrophe.errors import CqrsError, JournalError
from antistrophe.eventstore.postgres import PostgresEvents
from tests.cqrs.shop import CreateUser, UserCreated
from tests.lossy_relay import LossyRelay

DEADLINE_S = 30.0
COMMIT = b"COMMIT\0"  # the whole statement


@pytest.fixture
def store(postgres_store_url: str) -> Iterator[EventStore]:
    with EventStore(postgres_store_url) as opened:
        yield opened


@pytest.fixture
def watch_s(monkeypatch: pytest.MonkeyPatch) -> float:
    """A short time for which a claim has to be watched."""
    monkeypatch.setattr(idempotency_postgres, "WATCH_S", 0.3)
    return 0.3


def keys_of(store: EventStore) -> PostgresIdempotencyStore:
    assert isinstance(store.backend, PostgresEvents)
    return PostgresIdempotencyStore(store, store.backend, 3600.0)


def a_command(key: str = "key") -> KeyedCommand:
    return KeyedCommand.of(CreateUser("Ada"), key)


def claimed_elsewhere(store: EventStore, key: str = "key", ago_s: float = 0.0) -> str:
    """A claim of a process of another host, renewed so long ago. Returns its token."""
    taken = keys_of(store).claim(a_command(key))
    assert isinstance(taken, Claim)
    drop_token(taken.token)
    change(store, "UPDATE claims SET owner_boot_id = 'another boot pid:[1]' WHERE key = ?", key)
    change(store, "UPDATE claims SET updated_at = updated_at - ? WHERE key = ?", int(ago_s * 1e6), key)
    return taken.token


def change(store: EventStore, sql: str, *values: Any) -> None:
    assert isinstance(store.backend, PostgresEvents)
    with store.backend.connection() as database:
        database.execute(sql, values)


def counting_bus(store: EventStore) -> tuple[CommandBus, list[str]]:
    bus, calls = CommandBus(store), list[str]()

    @bus.handles(CreateUser)
    def create(command: CreateUser) -> list[UserCreated]:
        calls.append(command.name)
        return [UserCreated(command.name)]

    return bus, calls


# --- owners that can't be seen ------------------------------------------------------------------------------------


def test_a_claim_of_another_host_is_waited_for(store: EventStore) -> None:
    claimed_elsewhere(store)
    bus, calls = counting_bus(store)
    with pytest.raises(TimeoutError, match="is still being handled"):
        bus.dispatch(CreateUser("Ada"), "key", timeout_s=0.3)
    assert calls == []


def test_a_claim_of_a_dead_host_is_taken_once_it_was_watched(store: EventStore, watch_s: float) -> None:
    stale = claimed_elsewhere(store, ago_s=LEASE_S + 1)
    bus, calls = counting_bus(store)
    began = time.monotonic()
    assert bus.dispatch(CreateUser("Ada"), "key", timeout_s=DEADLINE_S) == [UserCreated("Ada")]
    assert time.monotonic() - began >= watch_s
    assert calls == ["Ada"]

    with pytest.raises(CqrsError, match="is not held any more: nothing was stored"):
        keys_of(store).settle(Claim(a_command(), stale), (), [])
    assert len(store.read()) == 1


@pytest.mark.usefixtures("watch_s")
def test_a_claim_that_is_renewed_while_it_is_watched_is_left(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database was away for longer than the lease, and the owner comes back first."""
    claimed_elsewhere(store, ago_s=LEASE_S + 100)
    bus, calls = counting_bus(store)
    for_s, looks = idempotency_postgres._Watch.for_s, list[float]()

    def renewed_meanwhile(watch: idempotency_postgres._Watch, row: idempotency_postgres._Row) -> float:
        looks.append(for_s(watch, row))
        if len(looks) == 2:  # it is being watched; at the first look its row is locked
            change(store, f"UPDATE claims SET renewals = renewals + 1, updated_at = {idempotency_postgres._NOW_US}")
        return looks[-1]

    monkeypatch.setattr(idempotency_postgres._Watch, "for_s", renewed_meanwhile)
    with pytest.raises(TimeoutError):
        bus.dispatch(CreateUser("Ada"), "key", timeout_s=2.0)
    assert len(looks) > 2
    assert calls == []


def test_a_claim_that_nobody_looked_at_was_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"s": 100.0}
    monkeypatch.setattr(idempotency_postgres, "time", SimpleNamespace(monotonic=lambda: now["s"]))
    watch = idempotency_postgres._Watch()
    row = idempotency_postgres._Row("token", ClaimOwner(1, 1, "elsewhere"), 3, 0)
    for seen_s in (0.0, 1.0, 2.0):
        assert watch.for_s(row) == seen_s
        now["s"] += 1.0
    now["s"] += 5.0
    assert watch.for_s(row) == 0.0
    now["s"] += 1.0
    assert watch.for_s(row) == 1.0
    assert watch.for_s(idempotency_postgres._Row("token", row.owner, 4, 0)) == 0.0
    watch.forget("token")
    assert watch.for_s(row) == 0.0


def test_a_claim_is_renewed_by_the_databases_clock(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = keys_of(store)
    taken = keys.claim(a_command())
    assert isinstance(taken, Claim)
    change(store, "UPDATE claims SET updated_at = 0")
    keys._renew([taken.token])
    with store.transaction() as transaction:
        assert transaction.database is not None
        ((renewals, age_us),) = transaction.database.rows(
            f"SELECT renewals, {idempotency_postgres._NOW_US} - updated_at FROM claims"
        )
    assert renewals == 1
    assert 0 <= age_us < 60e6
    keys.release(taken)


def test_hosts_that_claim_one_key_at_once_run_its_handler_once(postgres_store_url: str) -> None:
    calls: list[str] = []
    answers: list[list[Any]] = []

    def dispatch() -> None:
        with EventStore(postgres_store_url) as store:
            bus = CommandBus(store)

            @bus.handles(CreateUser)
            def create(command: CreateUser) -> list[UserCreated]:
                calls.append(command.name)
                return [UserCreated(command.name)]

            barrier.wait(DEADLINE_S)
            answers.extend(
                bus.dispatch(CreateUser(str(number)), f"key {number}", timeout_s=DEADLINE_S) for number in range(5)
            )

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=dispatch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert sorted(calls) == [str(number) for number in range(5)]
    assert len(answers) == 20
    with EventStore(postgres_store_url) as store:
        assert len(store.read()) == 5


def test_old_keys_are_forgotten_but_not_those_whose_handlers_run(store: EventStore) -> None:
    bus, _ = counting_bus(store)
    bus.dispatch(CreateUser("Ada"), "answered")
    claimed_elsewhere(store, "running")
    change(store, "UPDATE claims SET updated_at = updated_at - ? WHERE key = 'answered'", int(7200e6))
    keys = keys_of(store)
    held = keys.claim(a_command("running"))
    assert isinstance(held, Held)
    assert not runs_here(held.token)
    with store.transaction() as transaction:
        assert transaction.database is not None
        assert transaction.database.rows("SELECT key FROM claims") == [("running",)]


def test_answers_expire_by_the_databases_clock(store: EventStore) -> None:
    bus = CommandBus(store, keys_expire_s=100.0)
    bus.register(CreateUser, lambda command: [UserCreated(command.name)])
    bus.dispatch(CreateUser("Ada"), "key")
    change(store, "UPDATE claims SET updated_at = updated_at - ?", int(60e6))
    assert bus.dispatch(CreateUser("Ada"), "key") == [UserCreated("Ada")]
    assert len(store.read()) == 1
    change(store, "UPDATE claims SET updated_at = updated_at - ?", int(60e6))
    assert bus.dispatch(CreateUser("Eve"), "key") == [UserCreated("Eve")]  # free for another command as well


# --- connections that are lost ------------------------------------------------------------------------------------


@pytest.mark.parametrize("events", [[UserCreated("Ada")], []])
def test_a_lost_answer_to_the_commit_is_told_by_the_rows(postgres_store_url: str, events: list[Any]) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, LossyRelay(postgres_store_url, Path(folder)) as relay:
        store = EventStore(relay.url)
        bus, calls = CommandBus(store), list[str]()

        @bus.handles(CreateUser)
        def create(command: CreateUser) -> list[Any]:
            calls.append(command.name)
            relay.lose_answer(COMMIT)
            return events

        assert bus.dispatch(CreateUser("Ada"), "key") == events
        assert bus.dispatch(CreateUser("Ada"), "key") == events
        assert (calls, len(store.read())) == (["Ada"], len(events))
        store.close()


def test_a_commit_that_was_never_made_frees_the_key(postgres_store_url: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, LossyRelay(postgres_store_url, Path(folder)) as relay:
        store = EventStore(relay.url)
        bus, calls = CommandBus(store), list[str]()

        @bus.handles(CreateUser)
        def create(command: CreateUser) -> list[Any]:
            calls.append(command.name)
            if len(calls) == 1:
                relay.lose_question(COMMIT)
            return [UserCreated(command.name)]

        with pytest.raises(JournalError, match="nothing of it was committed"):
            bus.dispatch(CreateUser("Ada"), "key")
        assert bus.dispatch(CreateUser("Ada"), "key") == [UserCreated("Ada")]
        assert len(store.read()) == 1
        store.close()


def test_a_handler_outlives_the_sessions_of_its_store(store: EventStore, postgres_store_url: str) -> None:
    bus, calls = CommandBus(store), list[str]()

    @bus.handles(CreateUser)
    def create(command: CreateUser) -> list[Any]:
        calls.append(command.name)
        with psycopg.connect(postgres_store_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return [UserCreated(command.name)]

    for _ in range(2):
        assert bus.dispatch(CreateUser("Ada"), "key") == [UserCreated("Ada")]
    assert calls == ["Ada"]


# --- what can't be stored -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["a\0b", "x" * 2_001])
def test_a_key_that_postgresql_can_not_store_is_refused(store: EventStore, key: str) -> None:
    bus, calls = counting_bus(store)
    with pytest.raises(ValueError, match="an idempotency key in PostgreSQL is a text of at most"):
        bus.dispatch(CreateUser("Ada"), key)
    assert calls == []
