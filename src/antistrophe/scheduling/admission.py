"""Admission: which sagas run now, and which comes next."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias

from antistrophe.definition.spec import SagaSpec


@dataclass(frozen=True, slots=True)
class AdmissionRank:
    """What decides when a saga may run. At most ``max_concurrent`` sagas of one ``name`` run at the same time (None: as
    many as there is room for). The higher ``priority`` comes first."""

    name: str
    max_concurrent: int | None = None
    priority: int = 0


_Queue: TypeAlias = list[tuple[bool, int, int, str]]


class Admission:
    """At most ``limit`` sagas run. The others wait: first those that compensate, then by priority, then by arrival. A
    saga that waits because of the limit of its name holds up no other saga."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: dict[str, str] = {}
        self._by_name: Counter[str] = Counter()
        self._waiting: dict[str, AdmissionRank] = {}
        self._unlimited: _Queue = []
        self._limited: dict[str, _Queue] = {}
        self._arrivals = itertools.count()

    def full(self, rank: AdmissionRank) -> str | None:
        """Why a new saga would have to wait, or None."""
        if len(self._running) >= self._limit or any(map(self._may_go, self._queues())):
            return f"its turn: max_running_sagas lets {self._limit} run at the same time"
        if self._held(rank):
            most = rank.max_concurrent
            return f"its turn: max_concurrent lets {most} of those called {rank.name!r} run at the same time"
        return None

    def admit(self, saga_id: str, rank: AdmissionRank) -> None:
        """The saga runs now, whether it waited or not."""
        if saga_id not in self._running:
            self._running[saga_id] = rank.name
            self._by_name[rank.name] += 1

    def enqueue(self, saga_id: str, rank: AdmissionRank, *, urgent: bool) -> None:
        """The saga waits. To say so again changes nothing."""
        if saga_id in self._waiting or saga_id in self._running:
            return
        self._waiting[saga_id] = rank
        queue = self._unlimited
        if rank.max_concurrent is not None:
            queue = self._limited.setdefault(rank.name, [])
        heapq.heappush(queue, (not urgent, -rank.priority, next(self._arrivals), saga_id))

    def left(self, saga_id: str) -> None:
        """The saga runs no more."""
        name = self._running.pop(saga_id, None)
        if name is not None:
            self._by_name[name] -= 1
            if not self._by_name[name]:
                del self._by_name[name]

    def is_running(self, saga_id: str) -> bool:
        return saga_id in self._running

    def is_waiting(self, saga_id: str) -> bool:
        return saga_id in self._waiting

    def due(self) -> list[str]:
        """Take the sagas that may run now. They count as running from now on."""
        due: list[str] = []
        while len(self._running) < self._limit:
            queue = min(filter(self._may_go, self._queues()), default=None, key=lambda queue: queue[0])
            if queue is None:
                break
            *_, saga_id = heapq.heappop(queue)
            rank = self._waiting.pop(saga_id)
            if not queue and queue is not self._unlimited:
                del self._limited[rank.name]
            self.admit(saga_id, rank)
            due.append(saga_id)
        return due

    def _queues(self) -> tuple[_Queue, ...]:
        return (self._unlimited, *self._limited.values())

    def _may_go(self, queue: _Queue) -> bool:
        return bool(queue) and not self._held(self._waiting[queue[0][-1]])

    def _held(self, rank: AdmissionRank) -> bool:
        return rank.max_concurrent is not None and self._by_name[rank.name] >= rank.max_concurrent


def rank_of(spec: SagaSpec) -> AdmissionRank:
    """What decides when a saga of that definition may run."""
    return AdmissionRank(spec.name, spec.max_concurrent, spec.priority)
