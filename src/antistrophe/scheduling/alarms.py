"""Alarms: when each of many is to be woken, and the wakeups of whoever wakes them."""

from __future__ import annotations

import heapq

_STALE_KEPT = 64
_NEARLY_S = 0.001


class Alarms:
    """One alarm for each id at most. What is kept grows with the alarms that are set, not with those that were."""

    def __init__(self) -> None:
        self._moment_of: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def get(self, each: str) -> float | None:
        """When the alarm of that id goes off, if it has one."""
        return self._moment_of.get(each)

    def set(self, each: str, moment: float) -> None:
        """Set the alarm of that id, in place of the one that it had."""
        self._moment_of[each] = moment
        heapq.heappush(self._heap, (moment, each))
        if len(self._heap) > 2 * len(self._moment_of) + _STALE_KEPT:
            self._heap = [(its_moment, its_id) for its_id, its_moment in self._moment_of.items()]
            heapq.heapify(self._heap)

    def remove(self, each: str) -> None:
        """That id has no alarm any more."""
        self._moment_of.pop(each, None)

    def take_due(self, now: float) -> str | None:
        """Remove the alarm that is due first, and return its id; None where none is due."""
        while self._heap and self._heap[0][0] <= now:
            moment, each = heapq.heappop(self._heap)
            if self._moment_of.get(each) == moment:  # else it was moved or removed
                del self._moment_of[each]
                return each
        return None

    @property
    def next_at(self) -> float | None:
        """When to look for one that is due. None may be, where one was moved or removed."""
        return self._heap[0][0] if self._heap else None


class AskedWakeups:
    """The wakeups that were asked for and have not come. None can be called off, so none is asked for that comes no
    sooner than another one: it is asked for once that one has come."""

    def __init__(self) -> None:
        self._moments: list[float] = []  # the next one last

    def lacks(self, moment: float, now: float) -> bool:
        """Whether no wakeup comes by that moment: then one is asked for now, and is known from now on."""
        while self._moments and self._moments[-1] <= now + _NEARLY_S:
            self._moments.pop()
        if self._moments and self._moments[-1] <= moment:
            return False
        self._moments.append(moment)
        return True
