"""The queue of the sagas that wait for a lease."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from antistrophe.definition.spec import LeaseRequest, Throttle
from antistrophe.scheduling.fair_order import FairOrder, Rank, Ticket, level_of
from antistrophe.scheduling.leases import PoolKey


@dataclass(eq=False, slots=True)
class RequestGroup:
    """Requests of which one can be served if, and only if, the others can. ``waiting``: how many wait."""

    key: PoolKey
    shared: bool
    class_refs: tuple[str, ...]
    throttle: Throttle | None
    waiting: int = 0


class Lane(NamedTuple):
    """Those who share their turns: the sagas of one name, for one kind of process, on the same way (``urgent``: they
    compensate)."""

    name: str
    urgent: bool
    shared: bool


@dataclass(slots=True)
class Waiting:
    """A saga that waits. ``reserved``: the name of the process that is reserved for it."""

    saga_id: str
    name: str
    key: PoolKey
    request: LeaseRequest
    ticket: Ticket[RequestGroup, Lane]
    reserved: str | None = None


class LeaseQueue:
    """Every saga that waits, and how many of each lane are at work: they hold a lease, or have a reservation.

    Where the first of a group can't be served, nobody behind it in that group can, except where its lane is the reason.
    So a plan looks at the first of each group and at those that have a reservation, however many wait.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._order: FairOrder[RequestGroup, Lane] = FairOrder()
        self._groups: dict[tuple[Hashable, ...], RequestGroup] = {}
        self._reserved: dict[str, Waiting] = {}
        self._arrivals = itertools.count()
        self._at_work: Counter[tuple[bool, bool]] = Counter()

    # --- who waits ---------------------------------------------------------------------------------------------

    def get(self, saga_id: str) -> Waiting | None:
        """What that saga waits for, or None."""
        return self._waiting.get(saga_id)

    def add(self, saga_id: str, name: str, key: PoolKey, request: LeaseRequest) -> None:
        """A saga that does not wait yet comes last among its equals."""
        ticket = self._ticket(saga_id, name, key, request, next(self._arrivals))
        self._enter(Waiting(saga_id, name, key, request, ticket))

    def change(self, waiting: Waiting, key: PoolKey, request: LeaseRequest) -> None:
        """Change what a saga waits for. It keeps its place in the order of asking."""
        self.remove(waiting.saga_id)
        waiting.key, waiting.request = key, request
        waiting.ticket = self._ticket(waiting.saga_id, waiting.name, key, request, waiting.ticket.arrival)
        self._enter(waiting)

    def remove(self, saga_id: str) -> Waiting | None:
        """The saga waits no more. Returns what it wanted, if it waited."""
        waiting = self._waiting.pop(saga_id, None)
        if waiting is not None:
            self._leave_order(waiting)
            group = waiting.ticket.group
            group.waiting -= 1
            if not group.waiting:
                del self._groups[_kind(waiting.key, waiting.request)]
        return waiting

    def reserve(self, waiting: Waiting, name: str | None) -> None:
        """Reserve that process for it, or none."""
        self._leave_order(waiting)
        waiting.reserved = name
        self._enter(waiting)

    def firsts(self) -> list[Rank]:
        """The ranks of the first of each group, and of all that have a reservation."""
        ranks = [rank for group in self._order.groups() if (rank := self._order.first(group)) is not None]
        return ranks + [(t.level, 0, 0, t.arrival, t.id) for t in (each.ticket for each in self._reserved.values())]

    def first_beside(self, waiting: Waiting) -> Rank | None:
        """The rank of the first of the same group that has no reservation."""
        return self._order.first(waiting.ticket.group)

    def first_behind(self, waiting: Waiting) -> Rank | None:
        """The rank of the first of the same group whose level is behind that one."""
        return self._order.first(waiting.ticket.group, after=waiting.ticket.level)

    def is_next(self, waiting: Waiting, rank: Rank) -> bool:
        """Whether it is still the turn of that saga, which had that rank."""
        return self._order.first_at(waiting.ticket.group, waiting.ticket.level) == rank

    def throttles(self) -> Counter[Throttle]:
        """The throttles of the sagas that wait, and how many wait with each."""
        found: Counter[Throttle] = Counter()
        for group in self._groups.values():
            if group.throttle is not None:
                found[group.throttle] += group.waiting
        return found

    def sharing(self, key: PoolKey, class_refs: Iterable[str]) -> list[str]:
        """The sagas that wait for a slot in an async worker which has imported these classes."""
        wanted, sagas = set(class_refs), list[str]()
        for group in self._groups.values():
            if group.shared and group.key == key and wanted <= set(group.class_refs):
                sagas += self._order.ids(group)
        return sagas

    # --- who is at work ----------------------------------------------------------------------------------------

    def begin(self, lane: Lane) -> None:
        """One of that lane has a lease or a reservation."""
        self._at_work[lane.shared, lane.urgent] += 1
        self._order.begin(lane)

    def end(self, lane: Lane) -> None:
        """One of that lane has its lease or its reservation no more."""
        self._at_work[lane.shared, lane.urgent] -= 1
        self._order.end(lane)

    def at_work(self, lane: Lane) -> int:
        """How many of that lane are at work."""
        return self._order.at_work(lane)

    def all_at_work(self, *, shared: bool, urgent: bool) -> int:
        """How many are at work in that kind of process, on that way."""
        return self._at_work[shared, urgent]

    def _ticket(
        self, saga_id: str, name: str, key: PoolKey, request: LeaseRequest, arrival: int
    ) -> Ticket[RequestGroup, Lane]:
        kind = _kind(key, request)
        group = self._groups.get(kind)
        if group is None:
            group = self._groups[kind] = RequestGroup(key, request.shared, request.class_refs, request.throttle)
        group.waiting += 1
        level = level_of(urgent=request.urgent, priority=request.priority)
        return Ticket(saga_id, group, level, Lane(name, request.urgent, request.shared), arrival)

    def _enter(self, waiting: Waiting) -> None:
        self._waiting[waiting.saga_id] = waiting
        if waiting.reserved is None:
            self._order.add(waiting.ticket)
        else:
            self._reserved[waiting.saga_id] = waiting
            self.begin(waiting.ticket.name)

    def _leave_order(self, waiting: Waiting) -> None:
        if self._reserved.pop(waiting.saga_id, None) is not None:
            self.end(waiting.ticket.name)
        else:
            self._order.remove(waiting.ticket)


def _kind(key: PoolKey, request: LeaseRequest) -> tuple[Hashable, ...]:
    """What decides whether a request can be served."""
    return key, request.shared, request.class_refs, request.fresh, request.throttle
