"""The threads in which the calls of one asyncio orchestrator are made, so that the event loop never waits.

A call gets a copy of its task's context, so that it knows which transactions the task has open.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from antistrophe.client.deadline import Deadline
from antistrophe.client.ends_without_thread import EndsWithoutThread
from antistrophe.client.orchestrator import SagaOrchestrator
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.errors import SystemStateError
from antistrophe.settings import Settings

if TYPE_CHECKING:
    from antistrophe.client.session import Session
    from antistrophe.eventstore.recorded import Upcasts

T = TypeVar("T")

_MAX_WAITS = 1024
"""How many calls have a thread in which they wait. Threads are made as they are needed. Further calls wait for the ends
of their sagas without one, and hear of them a little later."""
_MAX_CALLS = 16
"""Calls that are answered at once have their own threads, so that they need not queue behind calls that wait."""

_LONGEST_WAIT_S = 3600.0

_TURN_S = 1.0
"""How long a call that waits without a thread may take to hear the outcome of a saga that seems to have ended."""


class CallThreads:
    """The threads in which the calls of one asyncio orchestrator are made, and the orchestrator that they call."""

    def __init__(self) -> None:
        self._waits = ThreadPoolExecutor(_MAX_WAITS, "antistrophe-watch")
        self._ends_in_threads = ThreadPoolExecutor(_MAX_WAITS, "antistrophe-wait")
        self._free = threading.Semaphore(_MAX_WAITS)
        self._ends: EndsWithoutThread | None = None
        self._calls = ThreadPoolExecutor(_MAX_CALLS, "antistrophe-call")
        self._closing = ThreadPoolExecutor(1, "antistrophe-close")
        self._orchestrator: SagaOrchestrator | None = None
        self._first: set[asyncio.Future[Any]] = set()

    @property
    def orchestrator(self) -> SagaOrchestrator:
        """The orchestrator to call. Raises SystemStateError before it is opened."""
        if self._orchestrator is None:
            raise SystemStateError(
                "open the orchestrator first: `async with AsyncSagaOrchestrator(home) as orchestrator:`"
            )
        return self._orchestrator

    @property
    def session(self) -> Session:
        """The orchestrator's session, whose calls take a Deadline. Raises SystemStateError before it is opened."""
        return self.orchestrator._session

    @property
    def opened(self) -> bool:
        """Whether the orchestrator was opened and can still be used."""
        return self._orchestrator is not None and self.session.usable

    async def open(
        self,
        home: str | os.PathLike[str] | None,
        settings: Settings | None,
        versions: Upcasts | None,
        journal: str | None,
        *,
        after_restore: bool,
    ) -> None:
        """Open the orchestrator. Where the task is cancelled meanwhile, it is closed as soon as it is open."""
        opening = self._calls.submit(
            SagaOrchestrator,
            home,
            settings=settings,
            versions=versions,
            journal=journal,
            after_restore=after_restore,
        )
        try:
            self._orchestrator = await asyncio.shield(asyncio.wrap_future(opening))
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Make a call that is answered at once."""
        await self._after_the_first()
        return await asyncio.get_running_loop().run_in_executor(self._calls, copy_context().run, function, *arguments)

    async def wait(self, function: Callable[..., T], *arguments: Any, timeout_s: float | None = None) -> T:
        """Make a call that takes a Deadline as its last argument. The call ends when the task is cancelled."""
        await self._after_the_first()
        return await self._in_thread(self._waits, function, *arguments, deadline=Deadline(timeout_s))

    async def execute(self, saga: SagaDefinition, if_live: str, timeout_s: float | None) -> list[object]:
        """Run a saga and wait for its end: ``Session.execute``."""
        await self._after_the_first()
        deadline = Deadline(timeout_s)
        if self._free.acquire(blocking=False):
            return await self._with_thread(self.session.execute, saga, if_live, deadline=deadline)
        await self.call(self.session.start, saga, if_live)
        return await self._without_thread(self.session.result, saga.id, deadline)

    async def end_of(self, outcome: Callable[[str, Deadline], T], saga_id: str, timeout_s: float | None) -> T:
        """Wait for the end of a saga: ``outcome`` is a call of the session that waits for it."""
        await self._after_the_first()
        deadline = Deadline(timeout_s)
        if self._free.acquire(blocking=False):
            return await self._with_thread(outcome, saga_id, deadline=deadline)
        return await self._without_thread(outcome, saga_id, deadline)

    async def _with_thread(self, function: Callable[..., T], *arguments: Any, deadline: Deadline) -> T:
        try:
            return await self._in_thread(self._ends_in_threads, function, *arguments, deadline=deadline)
        finally:
            self._free.release()

    async def _without_thread(self, outcome: Callable[[str, Deadline], T], saga_id: str, deadline: Deadline) -> T:
        while not deadline.over:
            try:
                may_have_ended = asyncio.wrap_future(self._known_ends().may_have_ended(saga_id))
                await asyncio.wait_for(may_have_ended, deadline.left_s(_LONGEST_WAIT_S))
                if not self.opened:
                    break
                return await self.call(outcome, saga_id, Deadline(_TURN_S))
            except TimeoutError:
                continue
        # One that was closed says so at once, and has no threads any more.
        return await self.call(outcome, saga_id, deadline) if self.opened else outcome(saga_id, deadline)

    def _known_ends(self) -> EndsWithoutThread:
        if self._ends is None:
            self._ends = EndsWithoutThread(self.session.requests)
        return self._ends

    async def _in_thread(
        self, threads: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any, deadline: Deadline
    ) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(threads, partial(copy_context().run, function, *arguments, deadline))
        except asyncio.CancelledError:
            deadline.give_up()
            raise

    def call_first(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Make a call that is answered at once, before every call that is made after this one."""
        future = asyncio.get_running_loop().run_in_executor(self._calls, function, *arguments)
        self._first.add(future)
        future.add_done_callback(self._forget_first)
        return future

    def _forget_first(self, future: asyncio.Future[Any]) -> None:
        self._first.discard(future)
        if not future.cancelled():
            future.exception()  # marks the error as seen: whoever awaits the future still gets it

    async def _after_the_first(self) -> None:
        if self._first:
            await asyncio.wait(self._first)

    async def close(self) -> None:
        """Close the orchestrator, and let the threads end."""
        if self.opened:
            await asyncio.get_running_loop().run_in_executor(self._closing, self.orchestrator.close)
        if self._ends is not None:
            self._ends.close()
        for threads in (self._waits, self._ends_in_threads, self._calls, self._closing):
            threads.shutdown(wait=False, cancel_futures=True)


def _close_unwanted(opening: Future[SagaOrchestrator]) -> None:
    if opening.exception() is None:
        opening.result().close()
