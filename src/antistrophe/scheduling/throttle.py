"""Throttles: how many attempts of one step class run at the same time, and how many start in a second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from antistrophe.definition.spec import Throttle
from antistrophe.scheduling.permits import Demand, Permits, key_of_class


class Throttles:
    """How many attempts of each throttled step class run, and when its next attempt may start.

    The rate is even: the next attempt of a class starts ``1 / max_per_second`` seconds after the last one. A class
    that has nothing to do saves nothing up. Where ``permits`` is set, the limits hold over all hosts, and an attempt
    needs a permit, or a start, of this host. ``waiting`` says how many wait with which throttle.
    """

    def __init__(self, waiting: Callable[[], Mapping[Throttle, int]]) -> None:
        self._waiting = waiting
        self.permits: Permits | None = None
        self._running: Counter[str] = Counter()
        self._next_at: dict[str, float] = {}
        self._counted: set[str] = set()

    def may_start(self, throttle: Throttle | None, now: float) -> bool:
        """Whether an attempt with these limits may start now."""
        if throttle is None:
            return True
        if not self._has_room(throttle):
            return False
        if self.permits is None:
            return now >= self._next_at.get(throttle.step_class, now)
        return self._is_permitted(throttle, self.permits, now)

    def start(self, throttle: Throttle | None, now: float) -> str | None:
        """Count an attempt that starts. Returns the class that it counts for until it has ``ended``."""
        if throttle is None:
            return None
        self._running[throttle.step_class] += 1
        if throttle.max_per_second is not None:
            if self.permits is None:
                self._next_at[throttle.step_class] = now + 1.0 / throttle.max_per_second
            else:
                self.permits.started(key_of_class(throttle.step_class))
        if throttle.max_concurrent is not None:
            self._counted.add(throttle.step_class)
        self._tell(throttle.step_class)
        return throttle.step_class

    def ended(self, step_class: str | None) -> None:
        """An attempt that counted for this class has ended."""
        if step_class is not None:
            self._running[step_class] -= 1
            self._tell(step_class)
            if not self._running[step_class]:
                del self._running[step_class]
                self._counted.discard(step_class)

    def next_start(self, waiting: Iterable[Throttle]) -> float | None:
        """The first moment at which an attempt may start that waits only for its rate; None where there is none."""
        moments = (self._next_of(each) for each in waiting if self._has_room(each))
        return min((moment for moment in moments if moment is not None), default=None)

    def demands(self) -> Iterator[Demand]:
        """What those who wait need of the limits over all hosts. Of two definitions of a class the smaller counts."""
        found: dict[str, Demand] = {}
        for throttle, count in self._waiting().items():
            if throttle.max_concurrent is None and throttle.max_per_second is None:
                continue
            # What else holds attempts up is not known here. As many more as run already are asked for: a number that
            # doubles soon reaches the one that can be used.
            ready = max(self._running[throttle.step_class], 1)
            key = key_of_class(throttle.step_class)
            demand = Demand(key, count, ready, throttle.max_concurrent, throttle.max_per_second)
            found[key] = demand.with_other(found[key]) if key in found else demand
        yield from found.values()

    def _is_permitted(self, throttle: Throttle, permits: Permits, now: float) -> bool:
        key = key_of_class(throttle.step_class)
        if throttle.max_concurrent is not None and not permits.allows(key):
            return False
        if throttle.max_per_second is None:
            return True
        moment = permits.start_of(key, now)
        return moment is not None and now >= moment

    def _has_room(self, throttle: Throttle) -> bool:
        return throttle.max_concurrent is None or self._running[throttle.step_class] < throttle.max_concurrent

    def _next_of(self, throttle: Throttle) -> float | None:
        if self.permits is None:
            return self._next_at.get(throttle.step_class)
        key = key_of_class(throttle.step_class)
        if throttle.max_concurrent is not None and self._running[throttle.step_class] >= self.permits.allowed(key):
            return None
        return self.permits.next_start(key)

    def _tell(self, step_class: str) -> None:
        if self.permits is not None and step_class in self._counted:
            self.permits.used(key_of_class(step_class), self._running[step_class])
