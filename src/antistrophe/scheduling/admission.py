"""Admission: which sagas run now, and which comes next."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TypeAlias

from antistrophe.definition.spec import SagaSpec
from antistrophe.scheduling.fair_order import FairOrder, Level, Ticket, is_urgent, level_of
from antistrophe.scheduling.permits import Demand, Permits, key_of_name
from antistrophe.serialization.struct_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class AdmissionRank:
    """What decides when a saga may run. At most ``max_concurrent`` sagas of one ``name`` run at the same time (None: as
    many as there is room for). The higher ``priority`` comes first."""

    name: str
    max_concurrent: int | None = None
    priority: int = 0


_Ticket: TypeAlias = Ticket[None, str]


class Admission:
    """At most ``limit`` sagas run. The others wait: first those that compensate, then by priority, then by turns of
    their names, then by arrival. A saga that waits because of the limit of its name holds up no other saga.

    Sagas that go forward never keep one waiting that compensates: where all places are taken, up to ``beside`` of those
    run beside them. What a call costs does not grow with the number of sagas that wait.

    After ``share`` the limits of names hold over all hosts.
    """

    def __init__(self, limit: int, beside: int = 0) -> None:
        self._limit = limit
        self._beside = beside
        self._running: dict[str, str] = {}
        self._resting: dict[str, str] = {}
        self._waiting: dict[str, _Ticket] = {}
        self._order: FairOrder[None, str] = FairOrder()
        self._arrivals = itertools.count()
        self._permits: Permits | None = None
        self._limited: dict[str, int] = {}

    def share(self, permits: Permits) -> None:
        """Let a saga whose name has a limit need a permit of this host."""
        self._permits = permits
        self._order.permitted = lambda name: permits.allowed(key_of_name(name))

    def full(self, rank: AdmissionRank) -> str | None:
        """Why a new saga would have to wait, or None."""
        if len(self._running) >= self._limit or self._order.first(None) is not None:
            return f"its turn: max_running_sagas lets {self._limit} run at the same time"
        most = rank.max_concurrent
        if most is not None and (self._order.at_work(rank.name) >= most or not self._is_permitted(rank)):
            return f"its turn: max_concurrent lets {most} of those called {rank.name!r} run at the same time"
        return None

    @property
    def room(self) -> int:
        """How many more sagas may run at the same time."""
        return max(self._limit - len(self._running), 0)

    def admit(self, saga_id: str, rank: AdmissionRank) -> None:
        """The saga runs now, whether it waited or not."""
        self.withdraw(saga_id)
        if saga_id not in self._running:
            self._running[saga_id] = rank.name
            if self._resting.pop(saga_id, None) is None:
                self._order.begin(rank.name)
                self._limit_name(rank)
                self._tell(rank.name)

    def enqueue(self, saga_id: str, rank: AdmissionRank, *, urgent: bool) -> None:
        """The saga waits. To say so again changes nothing, except that it may have become urgent."""
        if saga_id in self._running:
            return
        level = level_of(urgent=urgent, priority=rank.priority)
        old = self._waiting.get(saga_id)
        if old is not None:
            if level >= old.level:
                return
            self._order.remove(old)
        arrival = next(self._arrivals) if old is None else old.arrival
        most = None if saga_id in self._resting else rank.max_concurrent
        ticket = self._waiting[saga_id] = Ticket(saga_id, None, level, rank.name, arrival, most)
        self._order.add(ticket)
        if most is not None:
            self._is_permitted(rank)

    def withdraw(self, saga_id: str) -> None:
        """The saga waits no more."""
        ticket = self._waiting.pop(saga_id, None)
        if ticket is not None:
            self._order.remove(ticket)

    def left(self, saga_id: str) -> None:
        """The saga runs no more."""
        name = self._running.pop(saga_id, None) or self._resting.pop(saga_id, None)
        if name is not None:
            self._order.end(name)
            self._tell(name)

    def rests(self, saga_id: str) -> None:
        """The saga runs no more for now, and keeps its place among those of its name: none of them can take it."""
        name = self._running.pop(saga_id, None)
        if name is not None:
            self._resting[saga_id] = name

    def is_running(self, saga_id: str) -> bool:
        return saga_id in self._running

    def is_at_work(self, saga_id: str) -> bool:
        """Whether it counts among those of its name."""
        return saga_id in self._running or saga_id in self._resting

    def is_waiting(self, saga_id: str) -> bool:
        return saga_id in self._waiting

    def due(self) -> list[str]:
        """Take the sagas that may run now. They count as running from now on."""
        due: list[str] = []
        while (first := self._order.first(None)) is not None and len(self._running) < self._places(first[0]):
            saga_id = first[-1]
            self.admit(saga_id, AdmissionRank(self._waiting[saga_id].name))
            due.append(saga_id)
        return due

    # --- limits over all hosts -----------------------------------------------------------------------------------

    def demands(self) -> Iterator[Demand]:
        """What the sagas that wait need of limits that hold over all hosts."""
        room = self._limit - len(self._running)
        for name, most in [*self._limited.items()]:
            if wait := self._order.waiting(name):
                urgent = min(self._order.waiting(name, urgent=True), room + self._beside)
                ready = max(min(wait, room), urgent)
                if ready > 0:
                    self._is_permitted(AdmissionRank(name, most))  # notes what lacks a permit
                yield Demand(key_of_name(name), wait, ready, most)
            elif not self._order.at_work(name):
                del self._limited[name]

    def permitted_anew(self, key: str) -> None:
        """The host holds more or fewer permits of that limit."""
        self._order.rank_again(key.removeprefix(key_of_name("")))

    def wait_again(self, saga_id: str, rank: AdmissionRank, *, urgent: bool) -> None:
        """A saga that was at work needs another permit."""
        self.left(saga_id)
        self.enqueue(saga_id, rank, urgent=urgent)

    def _limit_name(self, rank: AdmissionRank) -> None:
        if self._permits is not None and rank.max_concurrent is not None:
            self._limited[rank.name] = min(rank.max_concurrent, self._limited.get(rank.name, rank.max_concurrent))

    def _is_permitted(self, rank: AdmissionRank) -> bool:
        self._limit_name(rank)
        return self._permits is None or self._permits.allows(key_of_name(rank.name))

    def _tell(self, name: str) -> None:
        if self._permits is not None and name in self._limited:
            self._permits.used(key_of_name(name), self._order.at_work(name))

    def _places(self, level: Level) -> int:
        return self._limit + (self._beside if is_urgent(level) else 0)


def rank_of(spec: SagaSpec) -> AdmissionRank:
    """What decides when a saga of that definition may run."""
    return AdmissionRank(spec.name, spec.max_concurrent, spec.priority)
