"""The wakeups that an actor has asked for, the first to come due first."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import Any

from thespian.actors import WakeupMessage
from thespian.system.timing import timePeriodSeconds


class Timers:
    """A heap of wakeups: to set or take one of n costs log n. Times are of the monotonic clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Any, Any]] = []
        self._numbers = itertools.count()

    def set(self, now: float, period: Any, payload: Any) -> None:
        """Add a wakeup that comes due after ``period``, seconds or a timedelta."""
        heapq.heappush(self._heap, (now + timePeriodSeconds(period), next(self._numbers), period, payload))

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_at(self) -> float:
        """When the first wakeup comes due; infinity where there is none."""
        return self._heap[0][0] if self._heap else float("inf")

    def take_due(self, now: float) -> WakeupMessage | None:
        """Remove and return the first wakeup, if it is due."""
        if not self._heap or self._heap[0][0] > now:
            return None
        _, _, period, payload = heapq.heappop(self._heap)
        return WakeupMessage(period, payload)

    def pending(self) -> Iterator[float]:
        """When each wakeup comes due."""
        return (due for due, *_ in self._heap)
