"""Async handlers: run to their end by dispatch, awaited by dispatch_async, never a loop that waits for itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from antistrophe.cqrs.bus import CommandBus
from antistrophe.errors import CommandRejectedError, CqrsError
from antistrophe.eventstore.store import EventStore
from tests.cqrs.shop import CreateUser, RenameUser, UserCreated, UserGreeted


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with EventStore(tmp_path / "events.db") as opened:
        yield opened


async def create(command: CreateUser) -> list[Any]:
    await asyncio.sleep(0)
    return [UserCreated(command.name)]


class Creates:
    async def __call__(self, command: CreateUser) -> list[Any]:
        return await create(command)


def hidden(command: CreateUser) -> Any:
    """Nobody can tell before the call that it is async."""
    return create(command)


KINDS: list[Any] = [create, Creates(), partial(create), hidden, Creates().__call__]


@pytest.mark.parametrize("handler", KINDS)
@pytest.mark.parametrize("key", [None, "key"])
def test_dispatch_runs_an_async_handler_to_its_end(store: EventStore, handler: Any, key: str | None) -> None:
    bus = CommandBus(store)
    bus.register(CreateUser, handler)
    assert bus.dispatch(CreateUser("Ada"), key) == [UserCreated("Ada")]
    assert store.get_all_events() == [UserCreated("Ada")]


@pytest.mark.parametrize("handler", KINDS)
@pytest.mark.parametrize("key", [None, "key"])
def test_dispatch_inside_a_running_loop_is_refused_and_leaves_nothing(
    store: EventStore, handler: Any, key: str | None
) -> None:
    bus = CommandBus(store)
    bus.register(CreateUser, handler)

    async def main() -> list[Any]:
        with pytest.raises(CqrsError, match="use await dispatch_async"):
            bus.dispatch(CreateUser("Ada"), key)
        assert store.get_all_events() == []
        return await bus.dispatch_async(CreateUser("Ada"), key)  # the key is free again

    assert asyncio.run(main()) == [UserCreated("Ada")]


def test_a_sync_handler_may_be_dispatched_inside_a_running_loop(store: EventStore) -> None:
    bus = CommandBus(store)
    bus.register(CreateUser, lambda command: [UserCreated(command.name)])

    async def main() -> list[Any]:
        return bus.dispatch(CreateUser("Ada"), "key") + await bus.dispatch_async(CreateUser("Ada"), "key")

    assert asyncio.run(main()) == [UserCreated("Ada")] * 2
    assert len(store.get_all_events()) == 1


def test_an_async_handler_runs_on_the_callers_loop_and_a_sync_one_does_not(store: EventStore) -> None:
    bus = CommandBus(store)
    seen: list[Any] = []

    @bus.handles(CreateUser)
    async def on_loop(command: CreateUser) -> None:
        seen.append((asyncio.get_running_loop(), threading.current_thread()))

    @bus.handles(RenameUser)
    def beside(command: RenameUser) -> None:
        seen.append(threading.current_thread())

    async def main() -> None:
        await bus.dispatch_async(CreateUser("Ada"))
        await bus.dispatch_async(RenameUser("Ada"))
        assert seen[0] == (asyncio.get_running_loop(), threading.current_thread())
        assert seen[1] is not threading.current_thread()

    asyncio.run(main())


def test_many_nested_dispatches_wait_for_each_other_without_a_deadlock(store: EventStore) -> None:
    bus = CommandBus(store)
    arrived: list[str] = []
    all_there = asyncio.Event()

    @bus.handles(CreateUser)
    async def outer(command: CreateUser) -> list[Any]:
        arrived.append(command.name)
        if len(arrived) == 50:
            all_there.set()
        await all_there.wait()  # all of them are in their handler at once: more than any pool of threads has
        return [UserCreated(command.name), *await bus.dispatch_async(RenameUser(command.name), f"in {command.name}")]

    bus.register(RenameUser, lambda command: [UserGreeted(command.name)])

    async def main() -> list[list[Any]]:
        return await asyncio.gather(*(bus.dispatch_async(CreateUser(str(n)), f"key {n}") for n in range(50)))

    assert asyncio.run(main()) == [[UserCreated(str(n)), UserGreeted(str(n))] for n in range(50)]
    assert store.version("CreateUser") == 100
    assert store.version("RenameUser") == 50


def test_concurrent_tasks_of_one_key_get_one_answer(store: EventStore) -> None:
    bus = CommandBus(store)
    runs: list[str] = []

    @bus.handles(CreateUser)
    async def once(command: CreateUser) -> list[Any]:
        runs.append(command.name)
        for _ in range(20):
            await asyncio.sleep(0)
        return [UserCreated(command.name)]

    async def main() -> list[list[Any]]:
        return await asyncio.gather(*(bus.dispatch_async(CreateUser("Ada"), "key") for _ in range(10)))

    assert asyncio.run(main()) == [[UserCreated("Ada")]] * 10
    assert runs == ["Ada"]


@pytest.mark.parametrize("error", [CommandRejectedError("no"), StopIteration("odd"), SystemExit(3)])
def test_what_an_async_handler_raises_comes_out_and_frees_the_key(store: EventStore, error: BaseException) -> None:
    bus = CommandBus(store)

    @bus.handles(CreateUser)
    def fail(command: CreateUser) -> None:
        raise error

    async def main() -> None:
        expected = RuntimeError if isinstance(error, StopIteration) else type(error)
        with pytest.raises(expected):
            await bus.dispatch_async(CreateUser("Ada"), "key")
        bus.register(CreateUser, create, replace=True)
        assert await bus.dispatch_async(CreateUser("Ada"), "key") == [UserCreated("Ada")]

    asyncio.run(main())


def test_cancelling_a_dispatch_cancels_its_async_handler_and_frees_the_key(store: EventStore) -> None:
    bus = CommandBus(store)
    ended: list[str] = []

    async def main() -> None:
        started = asyncio.Event()

        @bus.handles(CreateUser)
        async def hang(command: CreateUser) -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(command.name)

        task = asyncio.create_task(bus.dispatch_async(CreateUser("Ada"), "key"))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        bus.register(CreateUser, create, replace=True)
        # The thread of the cancelled one gives the key up in a moment; the next caller waits for that.
        assert await bus.dispatch_async(CreateUser("Ada"), "key", timeout_s=30) == [UserCreated("Ada")]

    asyncio.run(main())
    assert ended == ["Ada"]


def test_a_dispatch_that_outlives_its_loop_still_stores_its_events(store: EventStore) -> None:
    bus = CommandBus(store)
    started, go_on = threading.Event(), threading.Event()

    @bus.handles(CreateUser)
    def slow(command: CreateUser) -> list[Any]:
        started.set()
        assert go_on.wait(30)
        return [UserCreated(command.name)]

    async def main() -> None:
        task = asyncio.create_task(bus.dispatch_async(CreateUser("Ada"), "key"))
        assert await asyncio.to_thread(started.wait, 30)
        task.cancel()

    asyncio.run(main())
    go_on.set()
    assert bus.dispatch(CreateUser("Ada"), "key", timeout_s=30) == [UserCreated("Ada")]
    assert store.version("CreateUser") == 1


def test_checks_and_middleware_have_to_be_sync_and_go_with_async_handlers(store: EventStore) -> None:
    bus = CommandBus(store)
    for register in (bus.add_middleware, bus.validates(CreateUser)):
        with pytest.raises(CqrsError, match="not async"):
            register(create)
    bus.register(CreateUser, create)
    bus.add_middleware(lambda command, proceed: proceed(CreateUser(command.name + "!")))
    assert bus.dispatch(CreateUser("Ada")) == [UserCreated("Ada!")]
    assert asyncio.run(bus.dispatch_async(CreateUser("Eve"))) == [UserCreated("Eve!")]
