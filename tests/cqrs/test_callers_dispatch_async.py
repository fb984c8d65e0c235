"""Commands that are dispatched on a loop, in the transaction of a connection of asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from antistrophe.cqrs import Appends, CommandBus, EventStore
from antistrophe.cqrs.async_bridge import WaitOnLoop
from antistrophe.cqrs.callers_dispatch import CallersTransaction
from antistrophe.errors import RequestError
from tests.cqrs.shop import CreateUser, UserCreated
from tests.noticing import noticed

DEADLINE_S = 30.0
ADA, BOB = CreateUser("Ada"), CreateUser("Bob")
ADA_IS = UserCreated("Ada")


@pytest.fixture
def store(empty_postgres: str) -> Iterator[EventStore]:
    with EventStore(empty_postgres) as opened:
        yield opened


def keys(store: EventStore) -> list[Any]:
    return store.postgres()._rows("SELECT key, answer IS NULL FROM claims")


def test_on_a_connection_of_asyncio(store: EventStore, empty_postgres: str) -> None:
    bus = CommandBus(store)

    async def create(command: CreateUser) -> object:
        await bus.connection.execute("INSERT INTO runs VALUES (%s)", [command.name])
        if command.name == "Bob":
            raise LookupError
        return Appends("users", [UserCreated(command.name)])

    async def dispatch() -> None:
        async with await psycopg.AsyncConnection.connect(empty_postgres) as own:
            await own.execute("CREATE TEMPORARY TABLE runs(name text)")
            for key in ("key", "key", None):
                assert await bus.dispatch_async(ADA, key, connection=own) == [ADA_IS]
            with pytest.raises(LookupError):
                await bus.dispatch_async(BOB, "other", connection=own)
            assert (store.version("users"), keys(store)) == (0, [])
            assert len(await (await own.execute("SELECT FROM runs")).fetchall()) == 2
        with pytest.raises(RequestError, match="this one is closed"):
            await bus.dispatch_async(ADA, connection=own)

    bus.register(CreateUser, create)
    asyncio.run(dispatch())
    assert (store.get_events("users"), keys(store)) == ([ADA_IS, ADA_IS], [("key", False)])


def test_dispatches_on_one_connection_are_nested_and_not_side_by_side(store: EventStore, empty_postgres: str) -> None:
    bus = CommandBus(store)

    async def dispatch() -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def create(command: CreateUser) -> object:
            if command.age:
                await bus.dispatch_async(CreateUser(command.name, command.age - 1), connection=bus.connection)
            elif command.name == "Ada":
                begun.set()
                await go.wait()
            return Appends("users", [UserCreated(f"{command.name} {command.age}")])

        bus.register(CreateUser, create)
        async with await psycopg.AsyncConnection.connect(empty_postgres) as own:
            first = asyncio.create_task(bus.dispatch_async(CreateUser("Ada", 2), connection=own))
            await begun.wait()
            with pytest.raises(RequestError, match="another dispatch is under way"):
                await bus.dispatch_async(CreateUser("Bob", 0), connection=own)
            go.set()
            await first
            await bus.dispatch_async(CreateUser("Eve", 0), connection=own)

    asyncio.run(dispatch())
    assert store.get_events("users") == [UserCreated(each) for each in ("Ada 0", "Ada 1", "Ada 2", "Eve 0")]


@pytest.mark.parametrize("is_async", [True, False])
def test_a_dispatch_that_is_cancelled_leaves_nothing_behind(
    store: EventStore, empty_postgres: str, is_async: bool
) -> None:
    bus, go = CommandBus(store), threading.Event()
    begun: Any = None
    loop: Any = None

    async def hangs(_: CreateUser) -> object:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    def works_on(command: CreateUser) -> object:
        loop.call_soon_threadsafe(begun.set)
        assert go.wait(DEADLINE_S)
        return Appends("users", [UserCreated(command.name)])

    async def dispatch() -> None:
        nonlocal begun, loop
        begun, loop = asyncio.Event(), asyncio.get_running_loop()
        async with await psycopg.AsyncConnection.connect(empty_postgres) as own:
            task = asyncio.create_task(bus.dispatch_async(ADA, "key", connection=own))
            await begun.wait()
            task.cancel()
            loop.call_later(0.05, go.set)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert go.is_set() or is_async
            assert own.info.transaction_status == TransactionStatus.INTRANS

    bus.register(CreateUser, hangs if is_async else works_on)
    asyncio.run(dispatch())  # the connection commits at its end
    assert (store.version("users"), keys(store)) == (0, [])


def test_a_cancelled_dispatch_that_is_stored_all_the_same_is_noticed(
    store: EventStore, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WaitOnLoop, "cancelled", False)
    with noticed():
        test_a_dispatch_that_is_cancelled_leaves_nothing_behind(store, empty_postgres, is_async=False)


def test_dispatches_that_go_on_side_by_side_are_noticed(
    store: EventStore, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CallersTransaction, "dispatch", CallersTransaction.block)
    with noticed():
        test_dispatches_on_one_connection_are_nested_and_not_side_by_side(store, empty_postgres)
