"""The orchestrator for asyncio: the same calls, awaited; each is made in a thread, so that the loop never waits."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from antistrophe.client.deadline import Deadline
from antistrophe.client.session import Client
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.errors import SystemStateError
from antistrophe.eventstore.recorded import Upcasts
from antistrophe.eventstore.store import EventStore
from antistrophe.records import ProcessRecord, SagaChange, SagaMetadata, SagaPage, SagaStatus, TimelineEntry
from antistrophe.settings import Settings

T = TypeVar("T")

_MOST_WAITS = 1024
"""How many calls wait at the same time; further ones queue. Threads are made as they are needed."""
_MOST_LOOKS = 16
"""Calls that are answered at once have threads of their own, so that they need not queue behind those that wait."""


class _Threads:
    """The threads in which the calls of one client are made."""

    def __init__(self) -> None:
        self._waits = ThreadPoolExecutor(_MOST_WAITS, "antistrophe-wait")
        self._looks = ThreadPoolExecutor(_MOST_LOOKS, "antistrophe-look")
        self._closing = ThreadPoolExecutor(1, "antistrophe-close")
        self._client: Client | None = None
        self._first: set[asyncio.Future[Any]] = set()

    @property
    def client(self) -> Client:
        """The client. Raises SystemStateError before it is opened."""
        if self._client is None:
            raise SystemStateError(
                "open the orchestrator first: `async with AsyncSagaOrchestrator(home) as orchestrator:`"
            )
        return self._client

    @property
    def opened(self) -> bool:
        """Whether there is a client that was not closed."""
        return self._client is not None and self._client.usable

    async def open(
        self, home: str | os.PathLike[str] | None, settings: Settings | None, versions: Upcasts | None
    ) -> None:
        """Make the client. Where the task is cancelled meanwhile, it is closed as soon as it is made."""
        made = self._looks.submit(Client, home, settings, versions)
        try:
            self._client = await asyncio.shield(asyncio.wrap_future(made))
        except asyncio.CancelledError:
            made.add_done_callback(_close_unwanted)
            raise

    async def look(self, call: Callable[..., T], *arguments: Any) -> T:
        """Make a call that is answered at once."""
        await self._after_the_first()
        return await asyncio.get_running_loop().run_in_executor(self._looks, call, *arguments)

    async def wait(self, call: Callable[..., T], *arguments: Any, timeout_s: float | None = None) -> T:
        """Make a call that takes a Deadline as its last argument, and ends with that when the task is cancelled."""
        await self._after_the_first()
        patience = Deadline(timeout_s)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._waits, partial(call, *arguments, patience))
        except asyncio.CancelledError:
            patience.give_up()
            self.client.wake()
            raise

    def look_first(self, call: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Make a call that is answered at once, before any call that is made after this one."""
        future = asyncio.get_running_loop().run_in_executor(self._looks, call, *arguments)
        self._first.add(future)
        future.add_done_callback(self._forget_first)
        return future

    def _forget_first(self, future: asyncio.Future[Any]) -> None:
        self._first.discard(future)
        if not future.cancelled():
            future.exception()  # whoever awaits it is told; where nobody does, it is no news

    async def _after_the_first(self) -> None:
        if self._first:
            await asyncio.wait(self._first)

    async def close(self) -> None:
        """Close the client, and let the threads end."""
        if self.opened:
            await asyncio.get_running_loop().run_in_executor(self._closing, self.client.close)
        for threads in (self._waits, self._looks, self._closing):
            threads.shutdown(wait=False, cancel_futures=True)

    def drop(self) -> None:
        """Leave without waiting for anything."""
        self.client.drop()


def _close_unwanted(made: Future[Client]) -> None:
    if made.exception() is None:
        made.result().close()


class AsyncSagaHandle:
    """One saga: wait for its end, look at it, cancel it."""

    def __init__(self, threads: _Threads, saga_id: str) -> None:
        self.id = saga_id
        self._threads = threads

    async def result(self, timeout_s: float | None = None) -> list[object]:
        """Wait for the saga's end: its events in step order, or the SagaError that says how it ended.

        TimeoutError when it has not ended within ``timeout_s`` seconds; it goes on all the same.
        """
        return await self._threads.wait(self._threads.client.result, self.id, timeout_s=timeout_s)

    async def status(self) -> SagaStatus:
        """Where the saga stands."""
        return (await self.metadata()).status

    async def metadata(self) -> SagaMetadata:
        """The saga as monitoring shows it."""
        return await self._threads.look(self._threads.client.require, self.id)

    async def cancel(self, reason: str | None = None) -> bool:
        """Stop a saga that goes forward and compensate what it has done; False where that had no effect."""
        return await self._threads.look(self._threads.client.cancel, self.id, reason)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"


class AsyncChangeSubscription:
    """An async iterator of SagaChange, each once and in order of position; waits for the next one, and ends when it or
    its orchestrator is closed. A task that is cancelled while it waits loses no change."""

    def __init__(self, threads: _Threads, from_position: int | None) -> None:
        self._threads = threads
        self._made = threads.look_first(threads.client.subscribe, from_position)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SagaChange:
        changes = await asyncio.shield(self._made)
        while await self._threads.wait(changes.wait):
            change = changes.take()
            if change is not None:
                return change
        raise StopAsyncIteration

    async def close(self) -> None:
        """End it: whoever waits for the next change gets StopAsyncIteration."""
        (await asyncio.shield(self._made)).close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class AsyncSagaOrchestrator:
    """A SagaOrchestrator whose calls are awaited: ``async with AsyncSagaOrchestrator(home) as orchestrator:``.

    It is opened by ``async with``, or by ``await orchestrator.open()``. A task that is cancelled while it waits leaves
    its saga running. What each call does and raises is told at SagaOrchestrator.
    """

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        *,
        settings: Settings | None = None,
        versions: Upcasts | None = None,
    ) -> None:
        self._home = home
        self._settings = settings
        self._versions = versions
        self._threads = _Threads()

    async def open(self) -> Self:
        """Start the actor system, or attach to it."""
        if not self._threads.opened:
            await self._threads.open(self._home, self._settings, self._versions)
        return self

    @property
    def home(self) -> Path:
        """The folder of the actor system, absolute."""
        return self._threads.client.home

    # --- running sagas -----------------------------------------------------------------------------------------

    async def execute(
        self, saga: SagaDefinition, if_live: Literal["raise", "join"] = "raise", timeout_s: float | None = None
    ) -> list[object]:
        """Run a saga and wait for its end: its events in step order, or the SagaError that says how it ended."""
        return await self._threads.wait(self._threads.client.run, saga, if_live, timeout_s=timeout_s)

    async def start(self, saga: SagaDefinition, if_live: Literal["raise", "join"] = "raise") -> AsyncSagaHandle:
        """Have a saga accepted and do not wait for its end: when this returns, it is durable."""
        return AsyncSagaHandle(self._threads, await self._threads.look(self._threads.client.start, saga, if_live))

    async def handle(self, saga_id: str) -> AsyncSagaHandle:
        """The handle of a saga that is there already. Raises SagaNotFoundError."""
        return AsyncSagaHandle(self._threads, (await self._threads.look(self._threads.client.require, saga_id)).id)

    # --- orders ------------------------------------------------------------------------------------------------

    async def cancel(self, saga_id: str, reason: str | None = None) -> bool:
        """Stop a saga that goes forward and compensate what it has done; False where that had no effect."""
        return await self._threads.look(self._threads.client.cancel, saga_id, reason)

    async def retry_compensation(self, saga_id: str, *, note: str | None = None) -> bool:
        """Give the compensations of a parked saga their full policy again; ``note`` is journaled."""
        return await self._threads.look(self._threads.client.retry_compensation, saga_id, note)

    async def resolve(self, saga_id: str, step_name: str, note: str) -> bool:
        """Say that the compensation of a step, which has failed for good, is settled by other means."""
        return await self._threads.look(self._threads.client.resolve, saga_id, step_name, note)

    # --- looking -----------------------------------------------------------------------------------------------

    async def running_count(self) -> int:
        """How many sagas the system works on, or will as soon as it may."""
        return (await self._threads.look(self._threads.client.counts))[0]

    async def history_count(self) -> int:
        """How many sagas have finished or are parked."""
        return (await self._threads.look(self._threads.client.counts))[1]

    async def get_saga(self, saga_id: str) -> SagaMetadata | None:
        """One saga, finished ones too; None where there is none of that id."""
        return await self._threads.look(self._threads.client.get, saga_id)

    async def get_running_sagas(self) -> list[SagaMetadata]:
        """The sagas that `running_count` counts."""
        return await self._threads.look(self._threads.client.running)

    async def get_history(self, limit: int = 1000) -> list[SagaMetadata]:
        """The last ``limit`` sagas that finished or were parked, in order of finishing."""
        return await self._threads.look(self._threads.client.history, limit)

    async def list_sagas(
        self,
        status: SagaStatus | None = None,
        name: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> SagaPage:
        """Sagas of that status and name, with ``text`` in their id or name; ``cursor`` is that of the page before."""
        return await self._threads.look(self._threads.client.page, status, name, text, limit, cursor)

    async def get_timeline(self, saga_id: str) -> list[TimelineEntry]:
        """Every journal entry of a saga, in order. Raises SagaNotFoundError."""
        return await self._threads.look(self._threads.client.timeline, saga_id)

    async def wait_idle(self, timeout_s: float | None = None) -> None:
        """Wait until no saga runs; parked ones do not count. TimeoutError after ``timeout_s`` seconds."""
        await self._threads.wait(self._threads.client.wait_idle, timeout_s=timeout_s)

    async def processes(self) -> list[ProcessRecord]:
        """Every process of the actor system at this moment."""
        return await self._threads.look(self._threads.client.processes)

    def subscribe(self, from_position: int | None = None) -> AsyncChangeSubscription:
        """Follow the lifecycle of all sagas: an async iterator of SagaChange.

        ``from_position``: that of the last change already seen (0: from the first); by default from now on.
        """
        return AsyncChangeSubscription(self._threads, from_position)

    @property
    def event_store(self) -> EventStore:
        """The store that holds the sagas' events. Its calls are not awaited: they read and write a file."""
        return self._threads.client.event_store

    # --- leaving -----------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Leave the actor system; who is the last to leave it waits for its end. Calls that wait raise
        SystemStateError."""
        await asyncio.shield(self._threads.close())

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        threads: _Threads | None = getattr(self, "_threads", None)
        if threads is not None and threads.opened:
            threads.drop()
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._home)!r})"
