"""The line of the sagas that want a step process: who goes before whom, and what is kept for whom."""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from antistrophe.definition.spec import LeaseRequest, Throttle
from antistrophe.scheduling.leases import PoolKey, Rank, rank


@dataclass(slots=True)
class Waiting:
    """A saga that waits. ``served_by``: the process that is kept for it."""

    saga_id: str
    key: PoolKey
    request: LeaseRequest
    arrival: int
    served_by: str | None = None

    @property
    def rank(self) -> Rank:
        return rank(self.request, self.arrival, self.saga_id)


class Line:
    """Every saga that waits, by rank. To join, to leave and to be found costs the same however many there are, but for
    the shift of a list."""

    def __init__(self) -> None:
        self._requests: dict[str, Waiting] = {}
        self._order: list[Rank] = []
        self._served: set[str] = set()
        self._throttles: Counter[Throttle] = Counter()
        self._arrivals = itertools.count()

    def ask(self, saga_id: str, key: PoolKey, request: LeaseRequest) -> None:
        """A saga joins the line; asking again changes nothing but what is asked for."""
        waiting = self._requests.get(saga_id)
        if waiting is None:
            self._enter(Waiting(saga_id, key, request, next(self._arrivals)))
        elif (waiting.key, waiting.request) != (key, request):
            self.strike_out(saga_id)
            waiting.key, waiting.request = key, request
            self._enter(waiting)

    def strike_out(self, saga_id: str) -> Waiting | None:
        """It waits no more. Answers with what it wanted, if it was there."""
        request = self._requests.get(saga_id)
        if request is None:
            return None
        del self._order[bisect.bisect_left(self._order, request.rank)]
        if request.request.throttle is not None:
            self._throttles -= Counter((request.request.throttle,))
        self._served.discard(saga_id)
        return self._requests.pop(saga_id)

    def keep(self, request: Waiting, name: str | None) -> None:
        """Keep that process for it, or none."""
        request.served_by = name
        if name is None:
            self._served.discard(request.saga_id)
        elif request.saga_id in self._requests:
            self._served.add(request.saga_id)

    def __iter__(self) -> Iterator[Waiting]:
        """Those who waited when this began, by rank."""
        return (self._requests[rank[-1]] for rank in self._order[:])

    def served(self) -> list[Waiting]:
        """Those for whom something is kept, by rank."""
        return sorted((self._requests[saga_id] for saga_id in self._served), key=lambda each: each.rank)

    @property
    def throttles(self) -> Counter[Throttle]:
        """What those wait their turn for, and how many of them."""
        return self._throttles

    def _enter(self, request: Waiting) -> None:
        self._requests[request.saga_id] = request
        bisect.insort(self._order, request.rank)
        if request.request.throttle is not None:
            self._throttles[request.request.throttle] += 1
        self.keep(request, request.served_by)
