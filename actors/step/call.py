"""One call of user code in a step process: its limits, its cancellation, and its result as it is journaled."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import resource
import signal
from collections.abc import Callable, Iterator
from contextvars import Context, copy_context
from decimal import getcontext as _decimal_context
from decimal import setcontext as _set_decimal_context
from os import _exit, getpid
from resource import setrlimit
from typing import Any

from antistrophe.actors.step.call_loop import CallLoop
from antistrophe.actors.step.raised import text_of
from antistrophe.definition.context import NOT_APPLIED, UNKNOWN, StepResult, normalise_result
from antistrophe.definition.events import EncodedEvent, encode_event
from antistrophe.definition.outputs import pack_output
from antistrophe.definition.spec import ResourceLimits
from antistrophe.errors import AttemptCancelled, PayloadTooLargeError
from antistrophe.exception_text import class_name_of
from antistrophe.saga.entries import Action, Verdict
from antistrophe.saga.inputs import Answer, Returned, Unencodable, Verified
from antistrophe.serialization.payload import check_size

_BEING_ENDED = "the attempt is being ended"

EXIT_AFTER_CANCEL = 143
"""The exit code of a process that SIGTERM has ended: 128 + 15, as a shell shows it."""


class Attempt:
    """From the preparation of a call until its outcome is written, as a ``with`` block."""

    under_way = False

    def __enter__(self) -> None:
        self.under_way = True

    def __exit__(self, *_error: object) -> None:
        self.under_way = False


class Caller:
    """Makes calls in the main thread of this process, and ends them on SIGTERM.

    SIGTERM is only sent to end the process. During a call it raises AttemptCancelled in the call, or cancels the call's
    coroutine while the loop waits. In the rest of an ``attempt`` it only sets ``cancelled``, which the caller looks at.
    Between two attempts it ends the process, once ``on_end`` has returned. ``on_over`` is called as soon as user code
    has run, before anything else; until then its functions may be others than those of the library.
    """

    def __init__(self, on_over: Callable[[], None]) -> None:
        self._on_over = on_over
        self._pid = getpid()
        self.attempt = Attempt()
        self._calling = False
        self._ending = False
        self.loop = CallLoop()
        self.cancelled = False
        self.on_waiting: Callable[[asyncio.Task[Any]], None] | None = None
        self.on_end: Callable[[], None] = lambda: None
        self.take_signals()

    def take_signals(self) -> None:
        """Set the handlers that calls need; an import may have set others."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        # Thespian sets a handler for this signal. It never runs in native code, and does not end the process.
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)

    def call(self, make: Callable[[], Any], limits: ResourceLimits | None) -> Any:
        """What ``make`` returns, or what the coroutine returns that it makes. Lets every exception through."""
        try:
            if limits is None:
                return self._result_of(make)
            with _limited(limits):
                return self._result_of(make)
        finally:
            if getpid() != self._pid:
                _exit(0)  # the step has forked, and this is the fork: only the parent is the attempt
            self._on_over()

    def _result_of(self, make: Callable[[], Any]) -> Any:
        try:
            self._calling = True
            if self.cancelled:
                raise AttemptCancelled(_BEING_ENDED)
            result = make()
            if inspect.iscoroutine(result):
                result = self.loop.run(result)
            return result
        finally:
            self._calling = False

    def _on_sigterm(self, _signal: int, _frame: Any) -> None:
        if getpid() == self._pid and not self.attempt.under_way and not self._ending:
            self._ending = True
            try:
                self.on_end()
            finally:
                _exit(EXIT_AFTER_CANCEL)
        if getpid() != self._pid or not self.attempt.under_way:
            _exit(EXIT_AFTER_CANCEL)
        self.cancelled = True
        if not self._calling:
            return
        task = self.loop.call
        if task is not None and asyncio.current_task(task.get_loop()) is None:
            if self.on_waiting is not None:
                self.on_waiting(task)
            # The loop waits: cancel the coroutine where it stands, so that its own ``finally`` runs.
            task.get_loop().call_soon_threadsafe(task.cancel)
            return
        raise AttemptCancelled(_BEING_ENDED)


def fresh_context() -> Context:
    """A copy of this thread's context for one attempt, in which only the imports of modules have set anything.

    The decimal context is an object that a copy would share, so the attempt gets one of its own.
    """
    context = copy_context()
    context.run(_set_decimal_context, _decimal_context().copy())
    return context


def answer_of(action: Action, result: Any, limit_bytes: int) -> Answer:
    """The answer for what a call returned; Unencodable where that is no result of a step or can't be packed."""
    try:
        if action is Action.VERIFY:
            return _verdict(result, limit_bytes)
        if result is None:
            return Returned()
        output, events = _encoded(normalise_result(result), limit_bytes)
        return Returned(output, events)
    except Exception as error:  # the user's value may raise anything when it is packed
        return Unencodable(text_of(error), class_name_of(error))


def _verdict(result: Any, limit_bytes: int) -> Verified:
    if result is NOT_APPLIED:
        return Verified(Verdict.NOT_APPLIED)
    if result is UNKNOWN:
        return Verified(Verdict.UNKNOWN)
    if isinstance(result, StepResult):
        output, events = _encoded(result, limit_bytes)
        return Verified(Verdict.APPLIED, output, events)
    raise TypeError(f"verify must return StepResult(...), NOT_APPLIED or UNKNOWN, not {type(result).__name__}")


def _encoded(result: StepResult[Any], limit_bytes: int) -> tuple[bytes | None, tuple[EncodedEvent, ...]]:
    output = None if result.output is None else pack_output(result.output)
    events = tuple(encode_event(event) for event in result.events)
    if output is not None:
        check_size(output, limit_bytes, "the output")
    size = sum(len(event.data) for event in events)
    if size > limit_bytes:
        raise PayloadTooLargeError(f"the events are {size} bytes in all, over the limit of {limit_bytes} bytes")
    return output, events


@contextlib.contextmanager
def _limited(limits: ResourceLimits) -> Iterator[None]:
    """Hold this process to ``limits`` during the block. Only soft limits are set, because they can be raised again."""
    before = {kind: resource.getrlimit(kind) for kind in _soft_limits(limits)}
    for kind, soft in _soft_limits(limits).items():
        hard = before[kind][1]
        setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
    try:
        yield
    finally:
        for kind, pair in before.items():
            with contextlib.suppress(OSError, ValueError):  # the call has lowered the hard limit
                setrlimit(kind, pair)


def _soft_limits(limits: ResourceLimits) -> dict[int, int]:
    soft: dict[int, int] = {}
    if limits.memory_bytes is not None:
        soft[resource.RLIMIT_AS] = _address_space_bytes() + int(limits.memory_bytes)
    if limits.cpu_s is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        # The kernel counts whole seconds, so the limit is rounded up.
        soft[resource.RLIMIT_CPU] = int(used.ru_utime + used.ru_stime + limits.cpu_s) + 1
    if limits.open_files is not None:
        soft[resource.RLIMIT_NOFILE] = int(limits.open_files)
    return soft


def _address_space_bytes() -> int:
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()
