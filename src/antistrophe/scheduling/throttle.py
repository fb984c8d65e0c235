"""Whose turn it is among the attempts of one step class: a bulkhead by number, and a rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from antistrophe.definition.spec import Throttle


class Turns:
    """How many attempts of each throttled step class run, and when the next of it may start.

    The rate is even: the next start of a class comes ``1 / max_per_second`` seconds after the last, and nothing is
    saved up while there is nothing to do.
    """

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._next_at: dict[str, float] = {}

    def free(self, throttle: Throttle | None, now: float) -> bool:
        """Whether an attempt with these limits may start now."""
        if throttle is None:
            return True
        return self._has_room(throttle) and now >= self._next_at.get(throttle.step_class, now)

    def take(self, throttle: Throttle | None, now: float) -> str | None:
        """An attempt starts. Answers with the class that it counts for until it is ``over``."""
        if throttle is None:
            return None
        self._running[throttle.step_class] += 1
        if throttle.max_per_second is not None:
            self._next_at[throttle.step_class] = now + 1.0 / throttle.max_per_second
        return throttle.step_class

    def over(self, step_class: str | None) -> None:
        """An attempt that counted for this class has ended."""
        if step_class is not None:
            self._running[step_class] -= 1
            if not self._running[step_class]:
                del self._running[step_class]

    def next_at(self, waiting: Iterable[Throttle]) -> float | None:
        """When the first of those gets its turn that wait for nothing but their rate; None where none does."""
        moments = (self._next_at.get(each.step_class) for each in waiting if self._has_room(each))
        return min((moment for moment in moments if moment is not None), default=None)

    def _has_room(self, throttle: Throttle) -> bool:
        return throttle.max_concurrent is None or self._running[throttle.step_class] < throttle.max_concurrent
