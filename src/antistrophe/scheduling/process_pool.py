"""The pure supervisor: which step process serves which saga.

Nothing here knows an actor, a process or a clock: the supervisor tells what happened and carries out the orders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from antistrophe.definition.spec import LeaseRequest
from antistrophe.scheduling.leases import (
    GrantTo,
    LoadInto,
    PoolKey,
    PoolOrder,
    ProcessState,
    Retire,
    StartProcess,
)
from antistrophe.scheduling.prewarm import Spares
from antistrophe.scheduling.queue import Line, Waiting
from antistrophe.scheduling.throttle import Turns

BRIEF_START_S = 0.25
"""How long a process that starts may count as one that keeps a core busy; one whose import takes longer waits, as a
rule, for something else."""

_COMING = (ProcessState.STARTING, ProcessState.LOADING)
_TO_COME = (*_COMING, ProcessState.IDLE)


@dataclass(slots=True)
class _Process:
    name: str
    key: PoolKey
    state: ProcessState
    since: float
    saga_id: str | None
    begun: float
    loaded: set[str] = field(default_factory=set)
    used: bool = False
    lent_for: tuple[str, ...] = ()
    imports_ahead: tuple[str, ...] = ()
    step_class: str | None = None


class ProcessPool:
    """The step processes: at most ``limit`` of them, each lent to one saga at a time, compensations first.

    Call ``plan`` after every change, and carry out what it returns; ``make_ready`` when there is time, where it is
    ``unready``: it starts processes in advance, up to ``spares`` for each key that wanted one which has run nothing.

    Sagas with the same classes as one whose process died under it get one that has run nothing, until one of them gives
    its process back: whoever crashes or hangs again and again does not take the warm processes of others along.

    To start and import is hard work for one core: as many start at the same time as there are ``cores``, and one fewer
    while attempts run, so that those go on beside it.
    """

    def __init__(
        self, limit: int, prefix: str, turns: Turns | None = None, *, spares: int = 0, cores: int = 4_096
    ) -> None:
        self._limit = limit
        self._prefix = prefix
        self._started = 0
        self._processes: dict[str, _Process] = {}
        self._line = Line()
        self._turns = Turns() if turns is None else turns
        self._spares = Spares(spares)
        self._cores = cores
        self._deadly: set[tuple[str, ...]] = set()

    def ask(self, saga_id: str, client_id: str, request: LeaseRequest) -> None:
        """A saga wants a process; asking again changes nothing but what is asked for."""
        self._line.ask(saga_id, PoolKey(client_id, request.origin), request)

    def withdraw(self, saga_id: str) -> None:
        """The saga wants none any more."""
        request = self._line.strike_out(saga_id)
        process = self._processes.get(request.served_by) if request and request.served_by else None
        if process is not None and process.state is not ProcessState.LEASED:
            process.saga_id = None

    def ready(self, name: str, now: float) -> None:
        """A process that was started can be used."""
        process = self._processes.get(name)
        if process is not None and process.state is ProcessState.STARTING:
            process.state, process.since = ProcessState.IDLE, now

    def loaded(self, name: str, class_refs: Iterable[str], now: float) -> None:
        """A process has imported what it was told."""
        process = self._processes.get(name)
        if process is not None and process.state is ProcessState.LOADING:
            process.loaded.update(class_refs)
            process.state, process.since = ProcessState.IDLE, now

    def not_loaded(self, name: str) -> tuple[str | None, list[PoolOrder]]:
        """A process could not import what it was told. Returns the saga that must hear of it; the process goes, for
        an import that failed half-way leaves it in an unknown state."""
        process = self._processes.get(name)
        if process is None or process.state is not ProcessState.LOADING:
            return None, []
        saga_id = process.saga_id
        if saga_id is not None:
            self._line.strike_out(saga_id)
        process.state, process.saga_id = ProcessState.ENDING, None
        return saga_id, [Retire(name)]

    def loading(self, name: str) -> bool:
        """True while this process imports what it was told."""
        process = self._processes.get(name)
        return process is not None and process.state is ProcessState.LOADING

    def returned(self, name: str, saga_id: str, now: float, *, reusable: bool) -> list[PoolOrder]:
        """A saga gives its process back."""
        process = self._processes.get(name)
        if process is None or process.saga_id != saga_id or process.state is not ProcessState.LEASED:
            return []
        self._turns.over(process.step_class)
        process.saga_id = process.step_class = None
        self._deadly.discard(process.lent_for)
        if reusable:
            process.state, process.since = ProcessState.IDLE, now
            return []
        process.state = ProcessState.ENDING
        return [Retire(name)]

    def dead(self, name: str) -> str | None:
        """A process is proven dead. Returns the saga that it was lent to."""
        process = self._processes.pop(name, None)
        if process is None:
            return None
        self._turns.over(process.step_class)
        for request in self._line.served():
            if request.served_by == name:
                self._line.keep(request, None)
        if process.state is not ProcessState.LEASED:
            return None
        self._deadly.add(process.lent_for)
        return process.saga_id

    def leased_to(self, saga_id: str) -> str | None:
        """The name of the process that is lent to this saga, or None."""
        for process in self._processes.values():
            if process.saga_id == saga_id and process.state is ProcessState.LEASED:
                return process.name
        return None

    def saga_of(self, name: str) -> str | None:
        """The saga that this process is lent to, or None."""
        process = self._processes.get(name)
        return process.saga_id if process is not None and process.state is ProcessState.LEASED else None

    def leased(self) -> list[str]:
        """The names of the processes that are lent."""
        return [process.name for process in self._processes.values() if process.state is ProcessState.LEASED]

    def retire_client(self, client_id: str) -> list[PoolOrder]:
        """An attached process is gone: so are its idle step processes."""
        return [self._retire(p) for p in self._idle() if p.key.client_id == client_id]

    def retire_idle(self, now: float, idle_s: float) -> list[PoolOrder]:
        """End the processes that nobody has used for ``idle_s`` seconds."""
        return [self._retire(process) for process in self._idle() if now - process.since >= idle_s]

    def overdue(self, now: float, start_timeout_s: float) -> list[str]:
        """The processes that take longer than that to start or to import."""
        return [p.name for p in self._processes.values() if p.state in _COMING and now - p.since >= start_timeout_s]

    def plan(self, now: float) -> list[PoolOrder]:
        """What to do for the sagas that want a process."""
        orders: list[PoolOrder | None] = []
        for request in self._line if self._has_room(now) else ():
            orders.append(self._serve(request, now))
            if not self._has_room(now):
                # Of those behind, the ones that something is kept for; the others could not be served.
                orders += [self._serve(each, now) for each in self._line.served() if each.rank > request.rank]
                break
        return [order for order in orders if order is not None] + self._import_ahead(now)

    def unready(self, now: float) -> bool:
        """Whether a process was taken that can be replaced by another one now."""
        if not self._spares.due or not self._may_start(now):
            return False
        return self._has_spare_place() or self._superfluous() is not None

    def make_ready(self, now: float) -> list[PoolOrder]:
        """Start processes in advance, or make room for one."""
        processes = self._processes.values()
        ready = Counter(p.key for p in processes if not p.used and p.saga_id is None and p.state in _TO_COME)
        orders: list[PoolOrder] = []
        for key, class_refs in self._spares.take_due(ready):
            if not self._may_start(now):
                self._spares.taken(key, class_refs)  # later, then
            elif self._has_spare_place():
                orders.append(start := self._start(key, None, now))
                self._processes[start.name].imports_ahead = class_refs
            elif (old := self._superfluous()) is not None:
                self._spares.taken(key, class_refs)
                orders.append(self._retire(old))
        return orders

    def _has_spare_place(self) -> bool:
        """One place is left to whoever wants another kind: a free one, or one whose process is idle."""
        free = self._limit - len(self._processes)
        return free > 1 or (free == 1 and any(p.state is ProcessState.IDLE for p in self._processes.values()))

    def _superfluous(self) -> _Process | None:
        """The one of several idle processes that nobody has used for longest; None while another one ends."""
        if any(p.state is ProcessState.ENDING for p in self._processes.values()):
            return None
        used = sorted((p for p in self._idle() if p.used), key=lambda p: p.since)
        return used[0] if len(used) > 1 else None

    def _import_ahead(self, now: float) -> list[PoolOrder]:
        """Have those that were started in advance import what they will be wanted for, if nobody has taken them yet."""
        orders: list[PoolOrder] = []
        for process in self._idle():
            if process.imports_ahead:
                orders.append(LoadInto(process.name, process.key.origin, process.imports_ahead))
                process.state, process.since, process.imports_ahead = ProcessState.LOADING, now, ()
        return orders

    def next_turn(self) -> float | None:
        """When a saga that waits for no more than its class's rate gets its turn; None where none does."""
        return self._turns.next_at(self._line.throttles)

    def _serve(self, waiting: Waiting, now: float) -> PoolOrder | None:
        serving = self._processes.get(waiting.served_by) if waiting.served_by else None
        if serving is not None and serving.state in (ProcessState.LOADING, ProcessState.ENDING):
            return None
        if not self._turns.free(waiting.request.throttle, now):
            # What is kept for it would keep others waiting who may run.
            self._unreserve(waiting)
            return None
        process = self._best_idle(waiting)
        if process is not None:
            return self._lend(process, waiting, now)
        if serving is not None:
            if serving.state is ProcessState.STARTING:
                return None
            self._unreserve(waiting)  # kept for it when it would have done for it
        coming = self._oldest_to_come(waiting)
        if coming is not None:
            coming.saga_id = waiting.saga_id
            self._line.keep(waiting, coming.name)
            return None
        if len(self._processes) < self._limit:
            if not self._may_start(now):
                return None
            order = self._start(waiting.key, waiting.saga_id, now)
            self._line.keep(waiting, order.name)
            return order
        return self._make_room(waiting)

    def _best_idle(self, waiting: Waiting) -> _Process | None:
        fitting = [process for process in self._idle(waiting.saga_id) if self._fits(process, waiting)]
        wanted = set(waiting.request.class_refs)
        # One that has run nothing is left to those who need such a one.
        return max(fitting, key=lambda p: (wanted <= p.loaded, p.used, p.since), default=None)

    def _fits(self, process: _Process, waiting: Waiting) -> bool:
        needs_unused = waiting.request.fresh or waiting.request.class_refs in self._deadly
        return process.key == waiting.key and not (process.used and needs_unused)

    def _oldest_to_come(self, waiting: Waiting) -> _Process | None:
        """The first that fits of those that come for nobody yet, or for somebody who wants none any more."""
        free = (
            p for p in self._processes.values() if p.state in _COMING and p.saga_id is None and self._fits(p, waiting)
        )
        return min(free, key=lambda p: p.since, default=None)

    def _may_start(self, now: float) -> bool:
        processes = self._processes.values()
        busy = sum(p.state in _COMING and now - p.begun < BRIEF_START_S for p in processes)
        works = any(p.state is ProcessState.LEASED for p in processes)
        return busy < max(1, self._cores - works)

    def _lend(self, process: _Process, waiting: Waiting, now: float) -> PoolOrder:
        self._unreserve(waiting, keep=process)
        missing = tuple(ref for ref in waiting.request.class_refs if ref not in process.loaded)
        process.saga_id, process.since, process.imports_ahead = waiting.saga_id, now, ()
        if missing:
            process.state = ProcessState.LOADING
            self._line.keep(waiting, process.name)
            return LoadInto(process.name, process.key.origin, missing)
        process.state, process.used, process.lent_for = ProcessState.LEASED, True, waiting.request.class_refs
        if waiting.request.fresh:
            self._spares.taken(process.key, waiting.request.class_refs)
        process.step_class = self._turns.take(waiting.request.throttle, now)
        self._line.strike_out(waiting.saga_id)
        return GrantTo(process.name, waiting.saga_id, process.step_class)

    def _unreserve(self, waiting: Waiting, keep: _Process | None = None) -> None:
        reserved = self._processes.get(waiting.served_by) if waiting.served_by else None
        if reserved is not None and reserved is not keep:
            reserved.saga_id = None
        self._line.keep(waiting, None)

    def _start(self, key: PoolKey, saga_id: str | None, now: float) -> StartProcess:
        self._started += 1
        name = f"{self._prefix}-{self._started}"
        self._processes[name] = _Process(name, key, ProcessState.STARTING, now, saga_id, now)
        return StartProcess(name)

    def _make_room(self, waiting: Waiting) -> PoolOrder | None:
        spare = min(self._idle(), key=lambda process: process.since, default=None)
        if spare is None:
            return None
        self._line.keep(waiting, spare.name)
        return self._retire(spare)

    def _retire(self, process: _Process) -> Retire:
        process.state, process.saga_id = ProcessState.ENDING, None
        return Retire(process.name)

    def _has_room(self, now: float) -> bool:
        """Whether anybody can be served: there is an idle process, one that comes for nobody, or room for another."""
        for process in self._processes.values():
            if process.state is ProcessState.IDLE or (process.state in _COMING and process.saga_id is None):
                return True
        return len(self._processes) < self._limit and self._may_start(now)

    def _idle(self, saga_id: str | None = None) -> list[_Process]:
        """The processes without work that are not held for another saga."""
        return [
            process
            for process in self._processes.values()
            if process.state is ProcessState.IDLE and process.saga_id in (None, saga_id)
        ]
