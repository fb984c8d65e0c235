"""How long a call waits: until a moment, or until another thread ends the wait."""

from __future__ import annotations

import time
from collections.abc import Callable


class Deadline:
    """``timeout_s`` seconds from now (None: no limit), or earlier where any thread calls ``give_up``."""

    def __init__(self, timeout_s: float | None = None) -> None:
        if not _is_timeout(timeout_s):
            raise ValueError(f"timeout_s must be a number of seconds from 0 on, or None, not {timeout_s!r}")
        self._timeout_s = timeout_s
        self._until = None if timeout_s is None else time.monotonic() + timeout_s
        self._given_up = False
        self._waker: Callable[[], None] | None = None

    def left_s(self, at_most_s: float) -> float:
        """Seconds until the deadline, but not more than ``at_most_s``; 0 when it has passed."""
        if self._given_up:
            return 0.0
        return at_most_s if self._until is None else max(0.0, min(at_most_s, self._until - time.monotonic()))

    @property
    def over(self) -> bool:
        """Whether the deadline has passed or was given up."""
        return self.left_s(1.0) <= 0.0

    def wakes(self, waker: Callable[[], None] | None) -> None:
        """Have `give_up` call this from now on, to wake the thread that waits."""
        self._waker = waker

    def give_up(self) -> None:
        """End the wait now."""
        self._given_up = True
        waker = self._waker
        if waker is not None:
            waker()

    @property
    def given_up(self) -> bool:
        """Whether the wait was ended by `give_up`."""
        return self._given_up

    def error(self, what: str, why: str | None = None) -> TimeoutError:
        """The error to raise when the deadline passes. ``what`` says what has not happened, ``why`` for what that
        waits."""
        text = f"{what} within {self._timeout_s:g} s" if self._timeout_s is not None else f"{what}: given up"
        return TimeoutError(text if why is None else f"{text}: {why}")


def _is_timeout(value: float | None) -> bool:
    try:
        return value is None or bool(value >= 0)
    except TypeError:  # a text, for example
        return False
