"""What the functions under ``@on_worker_start`` have made in this process: made once, and closed at its end."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from types import AsyncGeneratorType, GeneratorType, ModuleType
from typing import Any, TypeAlias

from antistrophe.actors.base import log
from antistrophe.definition.code_loading import CodeNotLoadableError
from antistrophe.definition.step import StepSource
from antistrophe.definition.worker_start import ResourceKey, Worker, WorkerStart, worker_starts
from antistrophe.errors import AttemptCancelled
from antistrophe.exception_text import name_and_text

Close: TypeAlias = Callable[[], Any]
Await: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine to its end, on the event loop of this process, as no part of a call."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a function made, and what closes it."""

    value: Any
    close: Close | None = None


class WorkerResources:
    """Calls each function once, and keeps what it made.

    Where the loop of the process runs in another thread, its coroutines (``..._on_loop``) do it there.
    """

    def __init__(self) -> None:
        self._made: dict[ResourceKey, Any] = {}
        self._close: list[tuple[WorkerStart, Close]] = []
        self._worker = Worker(self._made)
        self._lock: asyncio.Lock | None = None

    def seen_from(self, source: StepSource) -> Worker:
        """``ctx.worker`` of a step."""
        return self._worker.seen_from(source.__module__) if self._made else self._worker

    @property
    def to_close(self) -> bool:
        """Whether there is something that this process has to close before it ends."""
        return bool(self._close)

    def missing(self, among: Iterable[WorkerStart] | None = None) -> list[WorkerStart]:
        """The functions of the modules that are imported (or those of ``among``) that were not called yet."""
        return [each for each in (worker_starts() if among is None else among) if each.key not in self._made]

    def start(self, run: Await, among: Iterable[WorkerStart] | None = None) -> None:
        """Call the functions that are missing. Raises CodeNotLoadableError where one of them fails."""
        for each in self.missing(among):
            with _told(each):
                opened = _opened(each.function())
                self._keep(each, opened if isinstance(opened, _Opened) else run(opened))

    async def start_on_loop(self) -> None:
        """The same on the loop, where a second call waits for the first."""
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            for each in self.missing():
                with _told(each):
                    opened = _opened(each.function())
                    self._keep(each, opened if isinstance(opened, _Opened) else await opened)

    def close(self, run: Await) -> None:
        """Close everything, the last first. What fails is logged."""
        while self._close:
            each, close = self._close.pop()
            with _logged(each):
                closed = close()
                if inspect.isawaitable(closed):
                    run(_awaited(closed))

    async def close_on_loop(self) -> None:
        """The same on the loop."""
        while self._close:
            each, close = self._close.pop()
            with _logged(each):
                closed = close()
                if inspect.isawaitable(closed):
                    await closed

    def _keep(self, start: WorkerStart, opened: _Opened) -> None:
        self._made[start.key] = opened.value
        if opened.close is not None:
            self._close.append((start, opened.close))


@contextlib.contextmanager
def _told(start: WorkerStart) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, AttemptCancelled):
        raise
    except BaseException as error:
        what = f"{start.name} of {start.module}, which is called once in each step process (@on_worker_start)"
        log.warning("%s, fails", what, exc_info=error)
        raise CodeNotLoadableError(f"{what}, fails: {name_and_text(error)}") from error


@contextlib.contextmanager
def _logged(start: WorkerStart) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        log.warning("what %s of %s has made can't be closed", start.name, start.module, exc_info=error)


# --- what a function gave back ------------------------------------------------------------------------------------


def _opened(result: Any) -> _Opened | Coroutine[Any, Any, _Opened]:
    """What a function made, or a coroutine that gives it."""
    if inspect.iscoroutine(result):
        return _opened_later(result)
    if isinstance(result, AsyncGeneratorType):
        return _entered_later(contextlib.asynccontextmanager(lambda: result)())
    if isinstance(result, GeneratorType):
        return _entered(contextlib.contextmanager(lambda: result)())
    if isinstance(result, asyncio.Task):
        return _Opened(result, lambda: _ended(result))
    if isinstance(result, type | ModuleType):  # their functions are not theirs to be closed with
        return _Opened(result)
    cls = type(result)
    for name in ("aclose", "close"):
        if callable(getattr(cls, name, None)):
            return _Opened(result, getattr(result, name))
    if hasattr(cls, "acquire") and hasattr(cls, "release"):  # to enter a lock would be to hold it
        return _Opened(result)
    if hasattr(cls, "__enter__") and hasattr(cls, "__exit__"):
        return _entered(result)
    if hasattr(cls, "__aenter__") and hasattr(cls, "__aexit__"):
        return _entered_later(result)
    return _Opened(result)


def _entered(manager: Any) -> _Opened:
    return _Opened(manager.__enter__(), lambda: manager.__exit__(None, None, None))


async def _entered_later(manager: Any) -> _Opened:
    """Enter an async context manager; it is left by the same task, because task groups and timeouts insist on that."""
    entered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def stay() -> None:
        try:
            entered.set_result(await manager.__aenter__())
        except BaseException as error:
            entered.set_exception(error)
            return
        await leave.wait()
        await manager.__aexit__(None, None, None)

    task = asyncio.create_task(stay())

    async def close() -> None:
        leave.set()
        await task

    return _Opened(await entered, close)


async def _opened_later(result: Coroutine[Any, Any, Any]) -> _Opened:
    opened = _opened(await result)
    return opened if isinstance(opened, _Opened) else await opened


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
