"""Run coroutines from synchronous code, and synchronous code from coroutines, without blocking an event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from antistrophe.errors import CqrsError

T = TypeVar("T")


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a call returns a coroutine. ``function`` is a function, a method, or an object with ``__call__``."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def refuse_to_block_a_loop() -> None:
    """Raise CqrsError if an event loop runs in this thread. Waiting for a coroutine here would stop that loop, and the
    coroutine with it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise CqrsError("an async handler can't be dispatched from inside a running event loop: use await dispatch_async")


def wait_here(value: Any) -> Any:
    """Run an awaitable to its end in a new event loop, and return its result. Return any other value as it is."""
    if not inspect.isawaitable(value):
        return value
    try:
        refuse_to_block_a_loop()
    except CqrsError:
        if inspect.iscoroutine(value):
            value.close()
        raise
    return asyncio.run(_as_coroutine(value))


class WaitOnLoop:
    """Runs awaitables on the event loop of another thread, and waits for them in this thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._running: concurrent.futures.Future[Any] | None = None
        self._cancelled = False

    def __call__(self, value: Any) -> Any:
        """Run an awaitable to its end, as ``wait_here`` does."""
        if not inspect.isawaitable(value):
            return value
        coroutine = _as_coroutine(value)
        try:
            self._running = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except RuntimeError:  # the loop was closed meanwhile
            coroutine.close()
            raise
        if self._cancelled:
            self._running.cancel()
        return self._running.result()

    @property
    def cancelled(self) -> bool:
        """Whether everything here is cancelled."""
        return self._cancelled

    def cancel(self) -> None:
        """Cancel the awaitable that runs, and every later one."""
        self._cancelled = True
        if self._running is not None:
            self._running.cancel()


async def in_thread(function: Callable[[], T], *, on_cancel: Callable[[], None], stays: bool = False) -> T:
    """Call ``function`` in a new thread, and wait for it without blocking the event loop.

    The thread is not one of the loop's pool: one call may make another and wait for it, and in a full pool both would
    wait for ever. A cancelled wait calls ``on_cancel``, and the thread ends by itself; ``stays``: the wait ends after
    it.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result = context.run(function)
        except StopIteration as error:  # a future can't carry it
            tell(outcome.set_exception, RuntimeError(f"the dispatch raised StopIteration: {error}"))
        except BaseException as error:
            tell(outcome.set_exception, error)
        else:
            tell(outcome.set_result, result)

    def tell(settle: Callable[[Any], None], value: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            loop.call_soon_threadsafe(lambda: None if outcome.done() else settle(value))

    threading.Thread(target=run, name="antistrophe-dispatch", daemon=True).start()
    try:
        return await (asyncio.shield(outcome) if stays else outcome)
    except asyncio.CancelledError:
        on_cancel()
        while stays and not outcome.done():
            with contextlib.suppress(asyncio.CancelledError):  # once more
                await asyncio.wait([outcome])
        if stays:
            outcome.exception()  # else the loop tells that nobody has asked for it
        raise


async def _as_coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable
