"""The orchestrator for asyncio: the calls of SagaOrchestrator, made in threads so that the event loop never waits."""

from __future__ import annotations

import asyncio
import os
import warnings
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from antistrophe.client.arguments import joins
from antistrophe.client.call_threads import CallThreads
from antistrophe.client.handle import SagaHandle
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.records import (
    LogRecord,
    ProcessRecord,
    PurgeReport,
    SagaChange,
    SagaMetadata,
    SagaPage,
    SagaStatus,
    TimelineEntry,
)
from antistrophe.settings import Settings

if TYPE_CHECKING:
    from antistrophe.eventstore.recorded import Upcasts
    from antistrophe.eventstore.store import EventStore
    from antistrophe.hosts.description import HostRecord


class AsyncSagaHandle:
    """One saga, as ``start`` and ``handle`` of an AsyncSagaOrchestrator return it. ``id`` is the saga's id.

    A task that is cancelled while it waits leaves the saga running::

        handle = await orchestrator.start(saga)
        events = await handle.result(timeout_s=60.0)
    """

    def __init__(self, threads: CallThreads, handle: SagaHandle) -> None:
        self.id = handle.id
        self._threads = threads
        self._handle = handle

    async def result(self, timeout_s: float | None = None) -> list[object]:
        """Wait for the saga's end. Returns its events in step order, or raises the SagaError that it ended with.

        Raises TimeoutError when the saga has not ended within ``timeout_s`` seconds (None: wait without a limit), and
        says what it waits for. The saga keeps running.
        """
        return await self._threads.end_of(self._threads.session.result, self.id, timeout_s)

    async def outputs(self, timeout_s: float | None = None) -> dict[str, Any]:
        """Wait for the saga's end. Returns the outputs by step name, in step order, of the steps that returned one.

        Raises like `result`.
        """
        return await self._threads.end_of(self._threads.session.outputs_at_end, self.id, timeout_s)

    async def status(self) -> SagaStatus:
        """The saga's status at this moment."""
        return await self._threads.call(self._handle.status)

    async def metadata(self) -> SagaMetadata:
        """The saga as monitoring shows it: its status, its steps, its times, its error."""
        return await self._threads.call(self._handle.metadata)

    async def cancel(self, reason: str | None = None) -> bool:
        """Stop a saga that goes forward and compensate what it has done. ``reason`` is journaled.

        Returns False where that had no effect, because the saga has finished or turned back.
        """
        return await self._threads.call(self._handle.cancel, reason)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"


class AsyncChangeSubscription:
    """An async iterator of SagaChange: every change once, in order of position. It waits for the next change, and ends
    when the subscription or its orchestrator is closed. A task that is cancelled while it waits loses no change::

        async with orchestrator.subscribe() as changes:
            async for change in changes:
                print(change.saga.id, change.saga.status)
    """

    def __init__(self, threads: CallThreads, from_position: int | None) -> None:
        self._threads = threads
        self._made = threads.call_first(threads.orchestrator.subscribe, from_position)

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
        """End the subscription: a task that waits for the next change gets StopAsyncIteration."""
        (await asyncio.shield(self._made)).close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class AsyncSagaOrchestrator:
    """A SagaOrchestrator whose calls are awaited::

        async with AsyncSagaOrchestrator("shop-home") as orchestrator:
            events = await orchestrator.execute(saga)

    ``async with`` opens it, and so does ``await orchestrator.open()``; before, every call raises SystemStateError. A
    task that is cancelled while it waits leaves its saga running. SagaOrchestrator says what each call does and raises.
    Any number of calls may wait for the ends of sagas; those over 1,024 hear of an end up to half a second later.
    """

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        *,
        settings: Settings | None = None,
        versions: Upcasts | None = None,
        journal: str | None = None,
        after_restore: bool = False,
    ) -> None:
        self._home = home
        self._settings = settings
        self._versions = versions
        self._journal = journal
        self._after_restore = after_restore
        self._threads = CallThreads()

    async def open(self) -> Self:
        """Start the actor system of the home, or attach to the one that runs there."""
        if not self._threads.opened:
            await self._threads.open(
                self._home, self._settings, self._versions, self._journal, after_restore=self._after_restore
            )
        return self

    @property
    def home(self) -> Path:
        """The folder of the actor system, absolute."""
        return self._threads.orchestrator.home

    # --- running sagas -------------------------------------------------------------------------------------------

    async def execute(
        self, saga: SagaDefinition, if_live: Literal["raise", "join"] = "raise", timeout_s: float | None = None
    ) -> list[object]:
        """Run a saga and wait for its end. Returns its events in step order, or raises the SagaError it ended with."""
        return await self._threads.execute(saga, if_live, timeout_s)

    async def start(
        self, saga: SagaDefinition, if_live: Literal["raise", "join"] = "raise", *, connection: Any = None
    ) -> AsyncSagaHandle:
        """Have a saga accepted and do not wait for its end: the saga is durable when this returns. ``connection``: a
        psycopg.AsyncConnection, in whose open transaction it is accepted, as with `SagaOrchestrator.start`."""
        if connection is not None:
            from antistrophe.client.callers_transaction import join_in, start_in_async  # seldom needed

            session, join = self._threads.session, joins(if_live)
            if not await start_in_async(session, saga, connection, self._threads):
                await self._threads.call(partial(join_in, session, saga, join=join))
            return AsyncSagaHandle(self._threads, SagaHandle(session, saga.id))
        return AsyncSagaHandle(self._threads, await self._threads.call(self._threads.orchestrator.start, saga, if_live))

    async def handle(self, saga_id: str) -> AsyncSagaHandle:
        """The handle of a saga that was accepted before, by any application. Raises SagaNotFoundError."""
        return AsyncSagaHandle(self._threads, await self._threads.call(self._threads.orchestrator.handle, saga_id))

    # --- orders --------------------------------------------------------------------------------------------------

    async def cancel(self, saga_id: str, reason: str | None = None) -> bool:
        """Stop a saga that goes forward and compensate what it has done. Returns False where that had no effect."""
        return await self._threads.call(self._threads.orchestrator.cancel, saga_id, reason)

    async def retry_compensation(self, saga_id: str, *, note: str | None = None) -> bool:
        """Give the compensations of a parked saga their full retry policy again. ``note`` is journaled."""
        return await self._threads.call(partial(self._threads.orchestrator.retry_compensation, note=note), saga_id)

    async def resolve(self, saga_id: str, step_name: str, note: str) -> bool:
        """Say that the compensation of a step, which failed or comes next, was settled by other means, and in the
        ``note`` how."""
        return await self._threads.call(self._threads.orchestrator.resolve, saga_id, step_name, note)

    async def relocate(self, saga_id: str, to: str | os.PathLike[str], *, note: str | None = None) -> bool:
        """Say that the code of a saga is in the folder ``to`` from now on. ``note`` is journaled."""
        return await self._threads.call(partial(self._threads.orchestrator.relocate, note=note), saga_id, to)

    async def purge(
        self,
        older_than: timedelta = timedelta(days=30),
        name: str | None = None,
        status: SagaStatus | None = None,
        dry_run: bool = False,
        *,
        events: bool = False,
    ) -> PurgeReport:
        """Delete the record of each saga that finished ``older_than`` ago, or before. SagaOrchestrator says which, and
        what stays. A task that is cancelled meanwhile leaves the purge going on."""
        purge = partial(self._threads.orchestrator.purge, older_than, name, status, dry_run, events=events)
        return await self._threads.call(purge)

    async def erase(self, saga_id: str, *, events: bool = False) -> bool:
        """Erase what the steps of one finished saga were given, returned and raised. SagaOrchestrator says what
        stays."""
        return await self._threads.call(partial(self._threads.orchestrator.erase, events=events), saga_id)

    # --- looking -------------------------------------------------------------------------------------------------

    async def running_count(self) -> int:
        """How many sagas the system works on, or will work on as soon as it may."""
        return await self._threads.call(self._threads.orchestrator.running_count)

    async def history_count(self) -> int:
        """How many sagas have finished or are parked."""
        return await self._threads.call(self._threads.orchestrator.history_count)

    async def get_saga(self, saga_id: str) -> SagaMetadata | None:
        """One saga, live or finished; None where no saga has that id."""
        return await self._threads.call(self._threads.orchestrator.get_saga, saga_id)

    async def get_running_sagas(self) -> list[SagaMetadata]:
        """The sagas that `running_count` counts."""
        return await self._threads.call(self._threads.orchestrator.get_running_sagas)

    async def get_history(self, limit: int = 1000) -> list[SagaMetadata]:
        """The last ``limit`` sagas that finished or were parked, in order of finishing."""
        return await self._threads.call(self._threads.orchestrator.get_history, limit)

    async def list_sagas(
        self,
        status: SagaStatus | None = None,
        name: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> SagaPage:
        """A page of at most ``limit`` sagas, the last accepted first. ``cursor`` is the cursor of the page before."""
        return await self._threads.call(self._threads.orchestrator.list_sagas, status, name, text, limit, cursor)

    async def get_timeline(self, saga_id: str) -> list[TimelineEntry]:
        """Every journal entry of a saga, in order. Raises SagaNotFoundError."""
        return await self._threads.call(self._threads.orchestrator.get_timeline, saga_id)

    async def get_outputs(self, saga_id: str) -> dict[str, Any]:
        """What the steps of a saga have returned so far, by step name. Raises SagaNotFoundError."""
        return await self._threads.call(self._threads.orchestrator.get_outputs, saga_id)

    async def get_logs(self, saga_id: str) -> list[LogRecord]:
        """What the attempts of a saga have logged and printed until now. Raises SagaNotFoundError."""
        return await self._threads.call(self._threads.orchestrator.get_logs, saga_id)

    async def wait_idle(self, timeout_s: float | None = None) -> None:
        """Wait until no saga runs; parked sagas do not count. Raises TimeoutError after ``timeout_s`` seconds."""
        await self._threads.wait(self._threads.session.wait_idle, timeout_s=timeout_s)

    async def processes(self) -> list[ProcessRecord]:
        """Every process of the actor system at this moment."""
        return await self._threads.call(self._threads.orchestrator.processes)

    async def hosts(self) -> tuple[HostRecord, ...]:
        """The live hosts that share the journal, by name. Raises RequestError where it is in a file, and not shared."""
        return await self._threads.call(self._threads.orchestrator.hosts)

    async def reload(self) -> int:
        """Have the steps of all applications of this home run in processes that load their code anew. Returns how many
        processes end for that: those that are idle now, those that work after their calls."""
        return await self._threads.call(self._threads.orchestrator.reload)

    def subscribe(self, from_position: int | None = None) -> AsyncChangeSubscription:
        """Follow the lifecycle of all sagas: an async iterator of SagaChange.

        ``from_position`` is the position of the last change already seen (0: begin with the first change). By default
        the subscription shows what changes from now on.
        """
        return AsyncChangeSubscription(self._threads, from_position)

    @property
    def settings(self) -> Settings:
        """Those of the system that runs, whoever started it. ``settings.sources()`` says where each value comes
        from."""
        return self._threads.orchestrator.settings

    @property
    def event_store(self) -> EventStore:
        """The store that holds the sagas' events. Its calls are not awaited: they block while they read and write."""
        return self._threads.orchestrator.event_store

    # --- leaving -------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Leave the actor system. The last orchestrator to leave waits for the system's end. Calls that still wait
        raise SystemStateError."""
        await asyncio.shield(self._threads.close())

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        threads: CallThreads | None = getattr(self, "_threads", None)
        if threads is not None and threads.opened:
            threads.session.attachment.leave()
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._home)!r})"
