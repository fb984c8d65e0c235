"""The wakeups that an actor has asked for, the first to come due first."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import Any

from thespian.actors import WakeupMessage
from thespian.system.timing import timePeriodSeconds

NEVER = float("inf")


class Timers:
    """A heap of wakeups: to set or take one of n costs log n. Times are of the monotonic clock. ``next_at``: when the
    first one comes due; infinity where there is none."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Any, Any]] = []
        self._numbers = itertools.count()
        self.next_at = NEVER

    def set(self, now: float, period: Any, payload: Any) -> None:
        """Add a wakeup that comes due after ``period``, seconds or a timedelta."""
        heapq.heappush(self._heap, (now + timePeriodSeconds(period), next(self._numbers), period, payload))
        self.next_at = self._heap[0][0]

    def take_due(self, now: float) -> WakeupMessage | None:
        """Remove and return the first wakeup, if it is due."""
        if self.next_at > now:
            return None
        _, _, period, payload = heapq.heappop(self._heap)
        self.next_at = self._heap[0][0] if self._heap else NEVER
        return WakeupMessage(period, payload)

    def pending(self) -> Iterator[float]:
        """When each wakeup comes due."""
        return (due for due, *_ in self._heap)
