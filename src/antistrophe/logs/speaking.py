"""Whose words these are: the attempt that speaks in this process, in this thread, or in this task."""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from typing import Any, TypeVar

from antistrophe.logs.attempt_output import AttemptOutput

T = TypeVar("T")

_of_context: contextvars.ContextVar[AttemptOutput | None] = contextvars.ContextVar("antistrophe output", default=None)


def speak_as(output: AttemptOutput | None) -> None:
    """From now on, what is said in this context is that attempt's: in a process that makes many calls at once."""
    _of_context.set(output)


def spoken_as() -> AttemptOutput | None:
    """The attempt that this context is of."""
    return _of_context.get()


def speaking(function: Callable[..., T]) -> Callable[..., T]:
    """The function, to be called in another thread or process: what it says is said as this context would say it."""
    output = _of_context.get()
    return function if output is None else functools.partial(_speak, output, function)


def _speak(output: AttemptOutput, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
    before = _of_context.set(output)
    try:
        return function(*arguments, **options)
    finally:
        _of_context.reset(before)


class Speakers:
    """The attempts that speak in this process. ``is_late``: whether this thread is one that an attempt has left, and
    none of the process's own. ``before_end`` is called while the attempt that ends still speaks."""

    def __init__(self, append: Callable[[bytes], bool], max_bytes: int) -> None:
        self._append = append
        self._max_bytes = max_bytes
        self._now: AttemptOutput | None = None
        self._last: AttemptOutput | None = None
        self.is_late: Callable[[], bool] = lambda: False
        self.before_end: Callable[[], None] = lambda: None

    def output_of(self, saga_id: str, step_name: str, action: str, attempt: int) -> AttemptOutput:
        """That attempt, which has said nothing yet."""
        return AttemptOutput(self._append, self._max_bytes, saga_id, step_name, action, attempt)

    def begin(self, output: AttemptOutput) -> None:
        """From now on, all that is said in this process is that attempt's."""
        self._now = output

    def end(self) -> None:
        """The attempt is over. What its threads say later is still its own."""
        if self._now is not None:
            self.before_end()
            self._now.end()
            self._last, self._now = self._now, None

    def speaker(self) -> AttemptOutput | None:
        """The attempt that speaks; None where it is the process itself, as while modules are imported."""
        output = _of_context.get()
        if output is None:
            output = self._now
        if output is None and self._last is not None and self.is_late():
            output = self._last
        return output
