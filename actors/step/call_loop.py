"""The event loop of a process that makes one call at a time: it turns while a coroutine is run to its end."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakSet

from antistrophe.actors.base import log
from antistrophe.definition.result import run_to_end
from antistrophe.errors import InDoubtError
from antistrophe.exception_text import name_and_text

ENDED_WITH_ITS_CALL = (
    "antistrophe has ended this task together with the call that made it; make what is to live longer in a function "
    "under @on_worker_start"
)
"""What a task is told that its call has left behind."""

_of_worker: contextvars.ContextVar[bool] = contextvars.ContextVar("antistrophe worker", default=False)
_told: set[str] = set()


class CallLoop:
    """Runs coroutines, each to its end. A task that a call leaves is ended with it; what `run_apart` has made stays,
    and goes on while the next coroutine runs. ``call``: the task of the call that runs."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._lasting: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.call: asyncio.Task[Any] | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What the coroutine of a call returns or raises."""
        loop = self._loop()
        jobs = ThreadPoolExecutor(thread_name_prefix="asyncio")
        loop.set_default_executor(jobs)
        self.call = loop.create_task(coroutine)
        try:
            return run_to_end(loop, self.call)
        finally:
            self.call = None
            self._end_tasks(loop)
            jobs.shutdown(wait=False, cancel_futures=True)  # its idle threads end; one that works on is left behind

    def run_apart(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What a coroutine returns or raises that is no part of a call: the tasks that it makes stay."""
        loop = self._loop()
        jobs = ThreadPoolExecutor(thread_name_prefix="asyncio")
        loop.set_default_executor(jobs)
        context = contextvars.copy_context()
        context.run(_of_worker.set, True)
        try:
            return loop.run_until_complete(loop.create_task(coroutine, context=context))
        finally:
            jobs.shutdown(wait=False)

    def close(self) -> None:
        """End what `run_apart` has left, and the loop."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def _loop(self) -> asyncio.AbstractEventLoop:
        if self._runner is None:
            self._runner = asyncio.Runner()
            self._runner.get_loop().set_task_factory(self._make_task)
        return self._runner.get_loop()

    def _make_task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
        context = options.get("context")
        if _of_worker.get() if context is None else context.get(_of_worker):
            self._lasting.add(task)
        return task

    def _end_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel the tasks that a call has left: they must not run on during the next attempt."""
        left = {task for task in asyncio.all_tasks(loop) if task not in self._lasting}
        if not left:
            return
        tell_ended(left)
        for task in left:
            task.cancel(ENDED_WITH_ITS_CALL)
        try:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        except (Exception, KeyboardInterrupt) as error:
            raise InDoubtError(f"the tasks that it has left can't be ended: {name_and_text(error)}") from error


def tell_ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Log that these tasks are ended with their call: once in this process for each coroutine."""
    names = {getattr(task.get_coro(), "__qualname__", "a task") for task in tasks} - _told
    if names:
        _told.update(names)
        log.warning(
            "a call has left tasks on the event loop (%s), which are ended with it: await them, or make what is to "
            "live longer in a function under @on_worker_start. This is said once in each process",
            ", ".join(sorted(names)),
        )
