"""How long a caller waits: until a moment, or until it has lost interest."""

from __future__ import annotations

import threading
import time


class Deadline:
    """``timeout_s`` from now on (None: for ever), or until ``give_up`` is called, by any thread."""

    def __init__(self, timeout_s: float | None = None) -> None:
        if timeout_s is not None and not timeout_s >= 0:
            raise ValueError(f"timeout_s must be a number of seconds from 0 on, or None, not {timeout_s!r}")
        self._timeout_s = timeout_s
        self._until = None if timeout_s is None else time.monotonic() + timeout_s
        self._given_up = threading.Event()

    def left_s(self, at_most_s: float) -> float:
        """Seconds until it ends, ``at_most_s`` at most."""
        if self._given_up.is_set():
            return 0.0
        return at_most_s if self._until is None else max(0.0, min(at_most_s, self._until - time.monotonic()))

    @property
    def over(self) -> bool:
        """Whether there is no more waiting."""
        return self.left_s(1.0) <= 0.0

    def give_up(self) -> None:
        """Wait no longer."""
        self._given_up.set()

    def error(self, what: str) -> TimeoutError:
        """What to raise when it is over before ``what``."""
        return TimeoutError(
            f"{what} within {self._timeout_s:g} s" if self._timeout_s is not None else f"{what}: given up"
        )
