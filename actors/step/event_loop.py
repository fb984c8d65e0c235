"""The event loop on which the calls of many sagas run, and the proof that nothing of a call is left.

The loop runs in a thread of its own. A context variable carries the call into every task, timer and executor job that
the call starts, so each of them is counted for its call. A call that is ended is settled only when all of them are
over: until then the same saga's next attempt could run beside what is left of this one.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from os import _exit, getpid
from typing import Any
from weakref import WeakSet

from antistrophe.actors.base import EXIT_AFTER_A_BUG, log
from antistrophe.actors.step.call_loop import ENDED_WITH_ITS_CALL, tell_ended
from antistrophe.actors.step.call_origin import Started, note_starts
from antistrophe.actors.step.fingerprint import Fingerprint
from antistrophe.actors.step.leftovers import LEAVE_S, left_in_words
from antistrophe.linux.own_tasks import is_alone, own_children, own_threads
from antistrophe.logs.speaking import speaking
from antistrophe.saga.inputs import Answer

_JOB_THREADS = "antistrophe-job"
_MOST_JOBS = 32
_LOOK_S = 0.02

_call: contextvars.ContextVar[Call | None] = contextvars.ContextVar("antistrophe call", default=None)


class Call:
    """One call and all that it has started on the loop.

    ``make`` makes the coroutine. ``settled`` is called once with how the call ended: an answer, the exception that it
    raised, or None where it was ended; and with the threads and processes that it has left, in words. ``show`` gets the
    call's tasks before it is ended, its own first.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Coroutine[Any, Any, Answer]],
        settled: Callable[[Answer | BaseException | None, str | None], None],
        show: Callable[[list[asyncio.Task[Any]]], None],
    ) -> None:
        self.name = name
        self.make = make
        self.settled = settled
        self.show = show
        self.main: asyncio.Task[None] | None = None
        self.work: asyncio.Task[Answer] | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self.timers: WeakSet[asyncio.TimerHandle] = WeakSet()
        self.jobs = 0
        self.started = Started()
        self.ending = False


class EventLoop:
    """The loop of the process of that name. The actor's thread starts and ends calls; all else happens in the loop's
    thread. ``spoilt``: what calls have changed for good in that thread, in words."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pid = getpid()
        self._calls: dict[str, Call] = {}
        self._loop = asyncio.new_event_loop()
        self._loop.set_task_factory(self._make_task)
        note_starts(_call)
        self._jobs = ThreadPoolExecutor(_MOST_JOBS, _JOB_THREADS)
        self._loop.set_default_executor(self._jobs)
        self._loop.run_in_executor = self._count_job  # type: ignore[assignment, method-assign]
        self._call_at = self._loop.call_at
        self._loop.call_at = self._set_timer  # type: ignore[assignment, method-assign]
        self._turned = True
        self._fingerprint = Fingerprint(thread=True)
        self.spoilt: str | None = None
        self._apart: set[asyncio.Task[Any]] = set()  # the loop itself does not keep its tasks
        self._thread = threading.Thread(target=self._run, name="antistrophe-loop", daemon=True)
        self._thread.start()
        self._threads, self._children = own_threads(), own_children()

    def belong(self) -> None:
        """What runs now, while no call does, belongs to the process: an import has started it."""
        self._threads, self._children = own_threads(), own_children()

    def start(self, call: Call) -> None:
        """Have the loop make that call."""
        self._loop.call_soon_threadsafe(self._begin, call)

    def run_apart(self, coroutine: Coroutine[Any, Any, None], done: Callable[[BaseException | None], None]) -> None:
        """Run a coroutine that is no part of a call. ``done`` is called, in the loop's thread, with what it raised."""
        self._loop.call_soon_threadsafe(self._begin_apart, coroutine, done, context=contextvars.Context())

    async def apart(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """The same from within a call, which waits for it. What the coroutine starts belongs to the process."""
        await asyncio.shield(self._loop.create_task(coroutine, context=contextvars.Context()))

    def end(self, name: str) -> None:
        """Cancel the call of that name. The call is settled when nothing of it is left; that may be never."""
        self._loop.call_soon_threadsafe(self._end, name)

    def has_turned(self) -> bool:
        """Whether the loop has turned since the last question. Only the actor's thread may ask."""
        if not self._turned:
            return False
        self._turned = False
        self._loop.call_soon_threadsafe(self._turn)
        return True

    def running(self) -> tuple[asyncio.Task[Any] | None, str | None]:
        """The task that runs at this moment, and the name of its call. Any thread may ask."""
        task = asyncio.current_task(self._loop)
        call = next((call for call in list(self._calls.values()) if task in call.tasks), None)
        return task, None if call is None else call.name

    def _turn(self) -> None:
        self._turned = True

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._fingerprint.belong()
        try:
            self._loop.run_forever()
        finally:
            # A call has stopped the loop, or closed its descriptors: no other call could go on.
            log.error("a call has ended the event loop that it shared with others, and so its process")
            logging.shutdown()
            _exit(EXIT_AFTER_A_BUG)

    def _begin_apart(self, coroutine: Coroutine[Any, Any, None], done: Callable[[BaseException | None], None]) -> None:
        task = self._loop.create_task(_guarded(lambda: coroutine))
        self._apart.add(task)
        task.add_done_callback(self._apart.discard)
        task.add_done_callback(lambda task: done(_outcome(task)))

    # --- in the loop's thread ----------------------------------------------------------------------------------

    def _begin(self, call: Call) -> None:
        self._calls[call.name] = call
        # This task is made without the factory: it watches the call, and is no part of it.
        call.main = asyncio.Task(self._follow(call), loop=self._loop)

    async def _follow(self, call: Call) -> None:
        context = contextvars.copy_context()
        context.run(_call.set, call)
        call.work = self._loop.create_task(_guarded(call.make), context=context)
        if call.ending:
            call.work.cancel()
        await asyncio.wait([call.work])
        if getpid() != self._pid:
            _exit(0)  # the step has forked, and this is the fork: only the parent is the attempt
        outcome = _outcome(call.work)
        await self._end_tasks(call)
        # No event tells of threads and processes.
        while call.jobs or (call.ending and not self._is_over(call)):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
        left = None if call.ending else await self._left_by(call)
        if call.ending and isinstance(outcome, BaseException):
            # A call that is ended may raise anything on its way out, and nobody knows how far it got.
            outcome = None
        del self._calls[call.name]
        self.spoilt = self._fingerprint.look() or self.spoilt
        call.settled(outcome, left)

    async def _end_tasks(self, call: Call) -> None:
        """End the tasks and timers that the call has left: they must not run beside the next attempt."""
        for timer in list(call.timers):
            timer.cancel()
        left = {task for task in call.tasks if not task.done()}
        if left and not call.ending:
            tell_ended(left)
        while left := {task for task in call.tasks if not task.done()}:
            for task in left:
                task.cancel(ENDED_WITH_ITS_CALL)
            await asyncio.wait(left)

    async def _left_by(self, call: Call) -> str | None:
        """The threads and processes that a call has left when it returned, in words. What just ends is given a moment,
        and what a thread has given to the loop is ended like the rest of the call."""
        if not call.started.threads and not call.started.processes:
            return None
        give_up_at = self._loop.time() + LEAVE_S
        while threads_or_children := (len(call.started.threads), self._children_of(call)):
            if not any(threads_or_children):
                await asyncio.sleep(0)  # what the last thread has given to the loop begins now
                await self._end_tasks(call)
                return None
            if self._loop.time() >= give_up_at:
                break
            await asyncio.sleep(_LOOK_S / 10)
        return left_in_words(threads_or_children[0], (), sorted(threads_or_children[1]))

    def _children_of(self, call: Call) -> set[int]:
        """The child processes that the call has started. Orphans that came to this process count as its own."""
        if not call.started.processes:
            return set()
        others = (each.started.processes for each in self._calls.values() if each is not call)
        return {*own_children()}.difference(self._children, *others)

    def _end(self, name: str) -> None:
        call = self._calls.get(name)
        if call is None or call.ending:
            return
        call.ending = True
        if call.work is not None:
            call.show([call.work, *(call.tasks - {call.work})])
            call.work.cancel()

    def _is_over(self, call: Call) -> bool:
        """Whether it is proven that nothing of the call can still run.

        Nobody can tell which call has started a thread or a process. So every thread that does not belong to the
        process, and every process that was started here, counts as this call's.
        """
        jobs = {each.native_id for each in threading.enumerate() if each.name.startswith(_JOB_THREADS)}
        threads = own_threads() - jobs - self._threads
        return (
            not call.jobs
            and all(task.done() for task in call.tasks)
            and self._loop.get_task_factory() == self._make_task
            and not threads
            and is_alone(self._name)
        )

    # --- which call started it ----------------------------------------------------------------------------------

    def _make_task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
        context = options.get("context") or contextvars.copy_context()
        call = context.get(_call)
        if call is not None:
            call.tasks.add(task)
            task.add_done_callback(call.tasks.discard)
        return task

    def _set_timer(self, when: float, *work: Any, context: contextvars.Context | None = None) -> asyncio.TimerHandle:
        timer = self._call_at(when, *work, context=context)
        call = _call.get() if context is None else context.get(_call)
        if call is not None:
            call.timers.add(timer)
        return timer

    def _count_job(self, executor: Any, work: Callable[..., Any], *arguments: Any) -> Any:
        # The threads of our executor belong to no call; what a job says is said by its call.
        submit = contextvars.Context().run if executor in (None, self._jobs) else _plainly
        pool = executor or self._jobs
        if isinstance(pool, ThreadPoolExecutor):
            work = speaking(work)
        call, job = _call.get(), submit(pool.submit, work, *arguments)
        if call is not None:
            call.jobs += 1
            job.add_done_callback(lambda _: self._loop.call_soon_threadsafe(_job_done, call))
        return asyncio.wrap_future(job, loop=self._loop)


async def _guarded(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """The call's result, or the exception that it raised. A SystemExit that left a task would end the whole loop."""
    try:
        return await make()
    except BaseException as error:
        return error


def _outcome(work: asyncio.Task[Any]) -> Any:
    return asyncio.CancelledError("cancelled before it began") if work.cancelled() else work.result()


def _plainly(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def _job_done(call: Call) -> None:
    call.jobs -= 1
