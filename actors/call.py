"""One call of user code in a step process: its limits, its cancellation, and its result as it is journaled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from antistrophe.context import NOT_APPLIED, UNKNOWN, StepResult, normalise_result
from antistrophe.errors import (
    AntistropheError,
    AttemptCancelled,
    FatalError,
    InDoubtError,
    NotSerializableError,
    PayloadTooLargeError,
    RetryableError,
)
from antistrophe.events import EncodedEvent, encode_event
from antistrophe.plain import check_size, pack_plain
from antistrophe.saga.entries import Action, FailureKind, Verdict
from antistrophe.saga.inputs import Answer, Raised, Returned, Unencodable, Verified
from antistrophe.spec import ResourceLimits

_KINDS = (
    (RetryableError, FailureKind.RETRYABLE),
    (FatalError, FailureKind.FATAL),
    (InDoubtError, FailureKind.IN_DOUBT),
)
_MAX_ERROR_TEXT = 8_192

EXIT_AFTER_CANCEL = 143
"""The exit code of a process that was ended by SIGTERM: 128 + 15, as a shell would show it."""


class Caller:
    """Makes calls in the main thread of this process; SIGTERM raises AttemptCancelled in the one that runs."""

    def __init__(self) -> None:
        self._running = False
        self._task: asyncio.Task[Any] | None = None
        self._runner: asyncio.Runner | None = None
        self.cancelled = False
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def call(self, make: Callable[[], Any], limits: ResourceLimits | None) -> Any:
        """What ``make`` returns, or the coroutine that it returns. Lets through whatever it raises."""
        with _limited(limits):
            self._running = True
            try:
                result = make()
                if asyncio.iscoroutine(result):
                    result = self._run(result)
                return result
            finally:
                self._running = False

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if self._runner is None:
            self._runner = asyncio.Runner()
        loop = self._runner.get_loop()
        self._task = loop.create_task(coroutine)
        try:
            return loop.run_until_complete(self._task)
        finally:
            self._task = None
            _end_tasks(loop)

    def _on_sigterm(self, _signal: int, _frame: Any) -> None:
        if not self._running:
            # Between two calls: what was to be ended has ended, and its outcome is marked.
            os._exit(EXIT_AFTER_CANCEL)
        self.cancelled = True
        task = self._task
        if task is not None and asyncio.current_task(task.get_loop()) is None:
            # The loop waits: end the coroutine where it stands, so that its own ``finally`` runs.
            task.get_loop().call_soon_threadsafe(task.cancel)
            return
        raise AttemptCancelled("the attempt is being ended")


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """End what the coroutine left running: the next attempt must not find it at work."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))


def answer_of(action: Action, result: Any, limit_bytes: int) -> Answer:
    """What a call returned, as it travels."""
    try:
        if action is Action.VERIFY:
            return _verdict(result, limit_bytes)
        output, events = _encoded(normalise_result(result), limit_bytes)
        return Returned(output, events)
    except (NotSerializableError, PayloadTooLargeError, TypeError, ValueError, AntistropheError) as error:
        return Unencodable(_text(error), type(error).__name__)


def answer_of_exception(error: BaseException) -> Raised:
    """What a call raised, as it travels."""
    kind = next((kind for cls, kind in _KINDS if isinstance(error, cls)), FailureKind.RAISED)
    after_s = error.after_s if isinstance(error, RetryableError) else None
    return Raised(kind, _text(error), type(error).__name__, after_s)


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as broken:
        text = f"(its text can't be had: {type(broken).__name__})"
    return text.encode("utf-8", "replace").decode()[:_MAX_ERROR_TEXT]


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
    output = None if result.output is None else pack_plain(result.output, what="the output")
    events = tuple(encode_event(event) for event in result.events)
    if output is not None:
        check_size(output, limit_bytes, "the output")
    size = sum(len(event.data) for event in events)
    if size > limit_bytes:
        raise PayloadTooLargeError(f"the events are {size} bytes in all, over the limit of {limit_bytes} bytes")
    return output, events


@contextlib.contextmanager
def _limited(limits: ResourceLimits | None) -> Iterator[None]:
    """Hold the process to ``limits`` meanwhile, by its soft limits, which can be raised again."""
    if limits is None:
        yield
        return
    before = {kind: resource.getrlimit(kind) for kind in _soft_limits(limits)}
    for kind, soft in _soft_limits(limits).items():
        hard = before[kind][1]
        resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
    try:
        yield
    finally:
        for kind, pair in before.items():
            resource.setrlimit(kind, pair)


def _soft_limits(limits: ResourceLimits) -> dict[int, int]:
    soft: dict[int, int] = {}
    if limits.memory_bytes is not None:
        soft[resource.RLIMIT_AS] = _address_space_bytes() + int(limits.memory_bytes)
    if limits.cpu_s is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        # The kernel counts whole seconds.
        soft[resource.RLIMIT_CPU] = int(used.ru_utime + used.ru_stime + limits.cpu_s) + 1
    if limits.open_files is not None:
        soft[resource.RLIMIT_NOFILE] = int(limits.open_files)
    return soft


def _address_space_bytes() -> int:
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()
