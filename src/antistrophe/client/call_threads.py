"""The threads in which the calls of one asyncio orchestrator are made, so that the event loop never waits.

A call gets a copy of its task's context, so that it knows which transactions the task has open.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from antistrophe.client.deadline import Deadline
from antistrophe.client.orchestrator import SagaOrchestrator
from antistrophe.errors import SystemStateError
from antistrophe.settings import Settings

if TYPE_CHECKING:
    from antistrophe.client.session import Session
    from antistrophe.eventstore.recorded import Upcasts

T = TypeVar("T")

_MAX_WAITS = 1024
"""How many calls wait at the same time; further ones queue. Threads are made as they are needed."""
_MAX_CALLS = 16
"""Calls that are answered at once have their own threads, so that they need not queue behind calls that wait."""


class CallThreads:
    """The threads in which the calls of one asyncio orchestrator are made, and the orchestrator that they call."""

    def __init__(self) -> None:
        self._waits = ThreadPoolExecutor(_MAX_WAITS, "antistrophe-wait")
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
        deadline = Deadline(timeout_s)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._waits, partial(copy_context().run, function, *arguments, deadline))
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
        for threads in (self._waits, self._calls, self._closing):
            threads.shutdown(wait=False, cancel_futures=True)


def _close_unwanted(opening: Future[SagaOrchestrator]) -> None:
    if opening.exception() is None:
        opening.result().close()
