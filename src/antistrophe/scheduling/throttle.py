"""Throttles: how many attempts of one step class run at the same time, and how many start in a second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from antistrophe.definition.spec import Throttle


class Throttles:
    """How many attempts of each throttled step class run, and when its next attempt may start.

    The rate is even: the next attempt of a class starts ``1 / max_per_second`` seconds after the last one. A class
    that has nothing to do saves nothing up.
    """

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._next_at: dict[str, float] = {}

    def may_start(self, throttle: Throttle | None, now: float) -> bool:
        """Whether an attempt with these limits may start now."""
        if throttle is None:
            return True
        return self._has_room(throttle) and now >= self._next_at.get(throttle.step_class, now)

    def start(self, throttle: Throttle | None, now: float) -> str | None:
        """Count an attempt that starts. Returns the class that it counts for until it has ``ended``."""
        if throttle is None:
            return None
        self._running[throttle.step_class] += 1
        if throttle.max_per_second is not None:
            self._next_at[throttle.step_class] = now + 1.0 / throttle.max_per_second
        return throttle.step_class

    def ended(self, step_class: str | None) -> None:
        """An attempt that counted for this class has ended."""
        if step_class is not None:
            self._running[step_class] -= 1
            if not self._running[step_class]:
                del self._running[step_class]

    def next_start(self, waiting: Iterable[Throttle]) -> float | None:
        """The first moment at which an attempt may start that waits only for its rate; None where there is none."""
        moments = (self._next_at.get(each.step_class) for each in waiting if self._has_room(each))
        return min((moment for moment in moments if moment is not None), default=None)

    def _has_room(self, throttle: Throttle) -> bool:
        return throttle.max_concurrent is None or self._running[throttle.step_class] < throttle.max_concurrent
