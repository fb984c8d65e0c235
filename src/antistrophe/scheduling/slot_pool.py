"""The pure keeper of shared processes: which of them makes which saga's call, many at a time in each.

Such a process has slots. A slot is lent like a process of its own: its lease has a name that no other ever gets while
somebody may still ask what became of it. Nothing here knows an actor, a process or a clock.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from antistrophe.definition.spec import LeaseRequest
from antistrophe.scheduling.leases import (
    GrantTo,
    LoadInto,
    PoolKey,
    PoolOrder,
    ProcessState,
    Rank,
    Retire,
    StartProcess,
)
from antistrophe.scheduling.queue import Waiting
from antistrophe.scheduling.throttle import Turns


@dataclass(frozen=True, slots=True)
class CloseSlot:
    """See to it that nothing runs in this slot any more; nobody is told."""

    lease_name: str


SharedOrder: TypeAlias = PoolOrder | CloseSlot

_SEPARATOR = "."


def carrier_of(lease_name: str) -> str:
    """The name of the process that has the slot of this lease."""
    return lease_name.rpartition(_SEPARATOR)[0]


@dataclass(slots=True)
class _Loan:
    """``saga_id``: to whom; None once it has been taken back and is still to be closed."""

    saga_id: str | None
    step_class: str | None


@dataclass(slots=True)
class _Carrier:
    """A shared process. ``closing``: its import has failed, so it takes no further calls and goes after the last."""

    name: str
    key: PoolKey
    state: ProcessState
    since: float
    loaded: set[str] = field(default_factory=set)
    loading: tuple[str, ...] = ()
    loans: dict[str, _Loan] = field(default_factory=dict)
    free: list[str] = field(default_factory=list)
    made: int = 0
    closing: bool = False


_QueueKey: TypeAlias = tuple[PoolKey, str | None]


class SharedPool:
    """At most ``limit`` processes with ``slots`` slots each, compensations first.

    Call ``plan`` after every change, and carry out what it returns. The cost of each call does not grow with the number
    of sagas that wait.
    """

    def __init__(self, limit: int, slots: int, prefix: str, turns: Turns) -> None:
        self._limit = limit
        self._slots = slots
        self._prefix = prefix
        self._started = 0
        self._carriers: dict[str, _Carrier] = {}
        self._lent: dict[str, str] = {}
        self._waiting: dict[str, Waiting] = {}
        self._queues: dict[_QueueKey, list[Rank]] = {}
        self._arrivals = itertools.count()
        self._turns = turns
        self._told_again: list[GrantTo] = []

    # --- what sagas want ---------------------------------------------------------------------------------------

    def ask(self, saga_id: str, client_id: str, request: LeaseRequest) -> None:
        """A saga wants a slot; asking again changes nothing but what is asked for. One that has a slot, and so has not
        heard of it, is told of that again."""
        lease_name = self._lent.get(saga_id)
        step_class = None if request.throttle is None else request.throttle.step_class
        if lease_name is not None and self._carriers[carrier_of(lease_name)].loans[lease_name].step_class == step_class:
            self._told_again.append(GrantTo(lease_name, saga_id, step_class))
            return
        key, known = PoolKey(client_id, request.origin), self._waiting.get(saga_id)
        if known is not None and (known.key, known.request) == (key, request):
            return
        arrival = next(self._arrivals) if known is None else known.arrival
        self._waiting[saga_id] = waiting = Waiting(saga_id, key, request, arrival)
        heapq.heappush(self._queues.setdefault(_queue_of(waiting), []), waiting.rank)

    def withdraw(self, saga_id: str) -> None:
        """The saga wants none any more."""
        self._waiting.pop(saga_id, None)

    def returned(self, lease_name: str, saga_id: str, now: float, *, reusable: bool) -> list[SharedOrder]:
        """A saga gives its slot back; ``reusable``: its call has answered, so that nothing runs there."""
        carrier = self._carriers.get(carrier_of(lease_name))
        loan = None if carrier is None else carrier.loans.get(lease_name)
        if carrier is None or loan is None or loan.saga_id != saga_id:
            return []
        self._take_back(lease_name, loan)
        if not reusable:
            return [CloseSlot(lease_name)]
        carrier.free.append(lease_name)
        return self._without(carrier, lease_name, now)

    # --- what became of processes and slots --------------------------------------------------------------------

    def ready(self, name: str, now: float) -> None:
        """A process that was started can be used."""
        carrier = self._carriers.get(name)
        if carrier is not None and carrier.state is ProcessState.STARTING:
            carrier.state, carrier.since = ProcessState.IDLE, now

    def loaded(self, name: str, class_refs: Iterable[str], now: float) -> None:
        """A process has imported what it was told."""
        carrier = self._carriers.get(name)
        if carrier is not None and carrier.state is ProcessState.LOADING:
            carrier.loaded.update(class_refs)
            carrier.state, carrier.since = ProcessState.IDLE, now

    def not_loaded(self, name: str) -> tuple[list[str], list[SharedOrder]]:
        """A process could not import what it was told. Returns the sagas that must hear of it; the process goes when
        its last call has ended."""
        carrier = self._carriers.get(name)
        if carrier is None or carrier.state is not ProcessState.LOADING:
            return [], []
        wanted = set(carrier.loading)
        sagas = [
            saga_id
            for saga_id, waiting in self._waiting.items()
            if waiting.key == carrier.key and wanted <= set(waiting.request.class_refs)
        ]
        for saga_id in sagas:
            del self._waiting[saga_id]
        carrier.state, carrier.closing = ProcessState.IDLE, True
        return sagas, [] if carrier.loans else [self._retire(carrier)]

    def loading(self, name: str) -> bool:
        """True while this process imports what it was told."""
        carrier = self._carriers.get(name)
        return carrier is not None and carrier.state is ProcessState.LOADING

    def closed(self, lease_name: str, now: float) -> tuple[str | None, list[SharedOrder]]:
        """Nothing runs in that slot, and nothing ever will. Returns the saga that it was lent to."""
        carrier = self._carriers.get(carrier_of(lease_name))
        loan = None if carrier is None else carrier.loans.get(lease_name)
        if carrier is None or loan is None:
            return None, []
        saga_id = loan.saga_id
        self._take_back(lease_name, loan)
        return saga_id, self._without(carrier, lease_name, now)

    def dead(self, name: str) -> dict[str, str]:
        """A process is proven dead. Returns whose each of its slots was, by lease."""
        carrier = self._carriers.pop(name, None)
        if carrier is None:
            return {}
        lent = {lease: loan.saga_id for lease, loan in carrier.loans.items() if loan.saga_id is not None}
        for lease_name, loan in carrier.loans.items():
            self._take_back(lease_name, loan)
        return lent

    def slot_names(self, name: str) -> list[str]:
        """Every slot that this process has ever had."""
        carrier = self._carriers.get(name)
        return [] if carrier is None else [_slot_name(name, number) for number in range(1, carrier.made + 1)]

    # --- what is asked -----------------------------------------------------------------------------------------

    def leased_to(self, saga_id: str) -> str | None:
        """The lease of the slot that is lent to this saga, or None."""
        return self._lent.get(saga_id)

    def saga_of(self, lease_name: str) -> str | None:
        """The saga that this slot is lent to, or None."""
        carrier = self._carriers.get(carrier_of(lease_name))
        loan = None if carrier is None else carrier.loans.get(lease_name)
        return None if loan is None else loan.saga_id

    def leased(self) -> list[str]:
        """The leases of the slots that are lent."""
        return list(self._lent.values())

    def has_slot(self, lease_name: str) -> bool:
        """Whether something may run in that slot."""
        carrier = self._carriers.get(carrier_of(lease_name))
        return carrier is not None and lease_name in carrier.loans

    def overdue(self, now: float, start_timeout_s: float) -> list[str]:
        """The processes that take longer than that to start or to import."""
        slow = (ProcessState.STARTING, ProcessState.LOADING)
        waiting = (each for each in self._carriers.values() if each.state in slow)
        return [each.name for each in waiting if now - each.since >= start_timeout_s]

    def retire_client(self, client_id: str) -> list[SharedOrder]:
        """An attached process is gone: so are the shared processes that run nothing for it."""
        return [self._retire(each) for each in self._idle() if each.key.client_id == client_id]

    def retire_idle(self, now: float, idle_s: float) -> list[SharedOrder]:
        """End the processes that nobody has used for ``idle_s`` seconds."""
        return [self._retire(each) for each in self._idle() if now - each.since >= idle_s]

    def next_turn(self) -> float | None:
        """When a saga that waits for no more than its class's rate gets its turn; None where none does."""
        heads = (self._head(queue) for queue in list(self._queues))
        throttles = (waiting.request.throttle for waiting in heads if waiting is not None)
        return self._turns.next_at(throttle for throttle in throttles if throttle is not None)

    # --- the plan ----------------------------------------------------------------------------------------------

    def plan(self, now: float) -> list[SharedOrder]:
        """What to do for the sagas that want a slot."""
        orders: list[SharedOrder] = [*self._told_again]
        self._told_again.clear()
        held: set[_QueueKey] = set()
        while True:
            heads = [(self._queues[key][0], key) for key in list(self._queues) if key not in held and self._head(key)]
            if not heads:
                return orders
            _, queue = min(heads, key=lambda head: head[0])
            order, goes_on = self._serve(queue, now)
            if order is not None:
                orders.append(order)
            if not goes_on:
                held.add(queue)

    def _head(self, queue: _QueueKey) -> Waiting | None:
        """The wish at the head of that queue; what was withdrawn or has changed is dropped on the way."""
        ranks = self._queues[queue]
        while ranks:
            waiting = self._waiting.get(ranks[0][-1])
            if waiting is not None and _queue_of(waiting) == queue and waiting.rank == ranks[0]:
                return waiting
            heapq.heappop(ranks)
        del self._queues[queue]
        return None

    def _serve(self, queue: _QueueKey, now: float) -> tuple[SharedOrder | None, bool]:
        """Do something for the head of that queue; False where those behind it can't be served now either."""
        waiting = self._head(queue)
        assert waiting is not None, "asked for queues that have a head"
        if not self._turns.free(waiting.request.throttle, now):
            return None, False
        mine = [each for each in self._carriers.values() if each.key == waiting.key and not each.closing]
        room = [each for each in mine if each.state is ProcessState.IDLE and len(each.loans) < self._slots]
        if room:
            wanted = set(waiting.request.class_refs)
            carrier = max(room, key=lambda each: (wanted <= each.loaded, -len(each.loans)))
            missing = tuple(ref for ref in waiting.request.class_refs if ref not in carrier.loaded)
            if missing:
                carrier.state, carrier.since, carrier.loading = ProcessState.LOADING, now, missing
                return LoadInto(carrier.name, carrier.key.origin, missing), True
            return self._lend(carrier, queue, waiting, now), True
        if any(each.state in (ProcessState.STARTING, ProcessState.LOADING) for each in mine):
            return None, False
        if len(self._carriers) < self._limit:
            return self._start(waiting.key, now), False
        spare = min(self._idle(), key=lambda each: each.since, default=None)
        return (None if spare is None else self._retire(spare)), False

    def _lend(self, carrier: _Carrier, queue: _QueueKey, waiting: Waiting, now: float) -> GrantTo:
        *_, saga_id = heapq.heappop(self._queues[queue])
        del self._waiting[saga_id]
        step_class = self._turns.take(waiting.request.throttle, now)
        if carrier.free:
            lease_name = carrier.free.pop()
        else:
            carrier.made += 1
            lease_name = _slot_name(carrier.name, carrier.made)
        carrier.loans[lease_name] = _Loan(saga_id, step_class)
        self._lent[saga_id] = lease_name
        return GrantTo(lease_name, saga_id, step_class)

    def _take_back(self, lease_name: str, loan: _Loan) -> None:
        self._turns.over(loan.step_class)
        if loan.saga_id is not None and self._lent.get(loan.saga_id) == lease_name:
            del self._lent[loan.saga_id]
        loan.saga_id = loan.step_class = None

    def _without(self, carrier: _Carrier, lease_name: str, now: float) -> list[SharedOrder]:
        del carrier.loans[lease_name]
        carrier.since = carrier.since if carrier.state in (ProcessState.STARTING, ProcessState.LOADING) else now
        return [self._retire(carrier)] if carrier.closing and not carrier.loans else []

    def _start(self, key: PoolKey, now: float) -> StartProcess:
        self._started += 1
        name = f"{self._prefix}-a{self._started}"
        self._carriers[name] = _Carrier(name, key, ProcessState.STARTING, now)
        return StartProcess(name)

    def _retire(self, carrier: _Carrier) -> Retire:
        carrier.state = ProcessState.ENDING
        return Retire(carrier.name)

    def _idle(self) -> list[_Carrier]:
        return [each for each in self._carriers.values() if each.state is ProcessState.IDLE and not each.loans]


def _slot_name(carrier: str, number: int) -> str:
    return f"{carrier}{_SEPARATOR}{number}"


def _queue_of(waiting: Waiting) -> _QueueKey:
    return waiting.key, None if waiting.request.throttle is None else waiting.request.throttle.step_class
