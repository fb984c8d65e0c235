"""The process pool: which saga gets which slot of which process."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from antistrophe.definition.spec import LeaseRequest
from antistrophe.scheduling.fair_order import Rank
from antistrophe.scheduling.leases import CloseSlot, GrantTo, LoadInto, PoolKey, PoolOrder, Retire, StartProcess
from antistrophe.scheduling.pooled_process import PooledProcess, ProcessState, SlotLease
from antistrophe.scheduling.prewarm import Prewarm
from antistrophe.scheduling.process_table import ProcessTable
from antistrophe.scheduling.queue import LeaseQueue, Waiting
from antistrophe.scheduling.throttle import Throttles


class ProcessPool:
    """At most ``limit`` owned processes, which make one call at a time, and beside them at most ``async_limit`` async
    workers with ``slots`` slots each. Neither kind takes the places of the other.

    Call ``plan`` after every change, and carry out what it returns. The cost of a call does not grow with the number of
    sagas that wait. Where the pool is ``unready``, call ``make_ready`` when there is time: it starts owned processes in
    advance, up to ``prewarm`` for each key that wanted an unused one. ``processes`` answers questions.

    If an owned process dies under a saga, all sagas with the same classes get unused processes, until one of them
    returns its process. So whoever crashes or hangs again and again does not take the warm processes of others along.

    To start and import is hard work for one core. As many owned processes start at the same time as there are
    ``cores``; while attempts run, one fewer, so that the attempts go on beside the starts.

    With ``leave_places`` no name takes the last slot of a kind while it has another one, and those who go forward leave
    one to compensations: see ``ProcessTable.leaves_places``.
    """

    def __init__(
        self,
        limit: int,
        prefix: str,
        *,
        async_limit: int = 0,
        slots: int = 1,
        prewarm: int = 0,
        cores: int = 4_096,
        leave_places: bool = False,
    ) -> None:
        self.processes = ProcessTable(limit, prefix, async_limit, slots, cores)
        self._leave_places = leave_places
        self._queue = LeaseQueue()
        self.throttles = Throttles(self._queue.throttles)
        self._prewarm = Prewarm(prewarm, self.processes)
        self._deadly: set[tuple[str, ...]] = set()
        self._told_again: list[GrantTo] = []

    # --- what sagas want ---------------------------------------------------------------------------------------

    def ask(self, saga_id: str, client_id: str, request: LeaseRequest, name: str = "", environment: str = "") -> None:
        """A saga of that name wants a lease, in a process with the environment of that digest. To ask again changes
        nothing but what is asked for. A saga that holds such a lease has not heard of the grant, and is told again."""
        key, waiting = PoolKey(client_id, request.origin, environment), self._queue.get(saga_id)
        grant = self._granted_before(saga_id, key, request)
        if grant is not None:
            self.withdraw(saga_id)
            self._told_again.append(grant)
        elif waiting is None:
            self._queue.add(saga_id, name, key, request)
        elif (waiting.key, waiting.request) != (key, request):
            if (waiting.key, waiting.request.shared) != (key, request.shared):
                self._unreserve(waiting)
            self._queue.change(waiting, key, request)

    def _granted_before(self, saga_id: str, key: PoolKey, request: LeaseRequest) -> GrantTo | None:
        if request.fresh:  # nobody knows whether an attempt has run there
            return None
        step_class = None if request.throttle is None else request.throttle.step_class
        for lease_name in self.processes.leased_to(saga_id):
            process, lease = self.processes.lease(lease_name)
            assert process is not None, "a lease ends with its process"
            assert lease is not None, "a saga holds leases that exist"
            if (process.key, process.shared, lease.step_class) == (key, request.shared, step_class):
                return GrantTo(lease_name, saga_id, step_class)
        return None

    def withdraw(self, saga_id: str) -> None:
        """The saga wants no lease any more."""
        waiting = self._queue.get(saga_id)
        if waiting is not None:
            self._unreserve(waiting)
            self._queue.remove(saga_id)

    def returned(self, lease_name: str, saga_id: str, now: float, *, reusable: bool) -> list[PoolOrder]:
        """A saga returns its slot; ``reusable``: its call has answered, so that nothing runs there."""
        process, lease = self.processes.lease(lease_name)
        if process is None or lease is None or lease.saga_id != saga_id:
            return []
        self._take_back(lease_name, lease)
        if process.shared and not reusable:
            return [CloseSlot(lease_name)]
        if not process.shared:
            self._deadly.discard(lease.class_refs)
            process.closing = process.closing or not reusable
        return self._free(process, lease_name, now, reusable=reusable)

    # --- what became of processes and slots --------------------------------------------------------------------

    def ready(self, name: str, now: float) -> None:
        """A process that was started can be used."""
        process = self.processes.get(name)
        if process is not None and process.state is ProcessState.STARTING:
            process.enter(ProcessState.READY, now)
            self.processes.started_well()

    def start_failed(self, name: str, now: float) -> None:
        """The machine had no room for a process that was to start. Who waits goes on waiting; nothing is started for a
        while."""
        self.processes.start_failed(now)
        self.dead(name)

    def loaded(self, name: str, class_refs: Iterable[str], now: float) -> None:
        """A process has imported what it was told."""
        process = self.processes.get(name)
        if process is not None and process.state is ProcessState.LOADING:
            process.loaded.update(class_refs)
            process.enter(ProcessState.READY, now)

    def not_loaded(self, name: str) -> tuple[list[str], list[PoolOrder]]:
        """A process could not import what it was told. Returns the sagas that must hear of it. The process ends after
        its last call, because an import that failed half-way leaves it in an unknown state."""
        process = self.processes.get(name)
        if process is None or process.state is not ProcessState.LOADING:
            return [], []
        if process.shared:
            sagas = self._queue.sharing(process.key, process.loading)
        else:
            sagas = [] if process.reserved_for is None else [process.reserved_for]
        for saga_id in sagas:
            self.withdraw(saga_id)
        process.state, process.closing = ProcessState.READY, True
        return sagas, [] if process.leases else [process.retire()]

    def closed(self, lease_name: str, now: float) -> tuple[str | None, list[PoolOrder]]:
        """Nothing runs in that slot, and nothing ever will. Returns the saga that held its lease."""
        process, lease = self.processes.lease(lease_name)
        if process is None or lease is None:
            return None, []
        saga_id = lease.saga_id
        self._take_back(lease_name, lease)
        return saga_id, self._free(process, lease_name, now, reusable=False)

    def close(self, name: str) -> list[PoolOrder]:
        """A process takes no further calls, and ends after its last one."""
        process = self.processes.get(name)
        if process is None or process.state is ProcessState.ENDING:
            return []
        process.closing = True
        return [] if process.leases else [process.retire()]

    def ending(self, name: str) -> None:
        """A process is ended although its call came to its end: its death says nothing about the step classes."""
        process = self.processes.get(name)
        if process is not None:
            process.state = ProcessState.ENDING

    def dead(self, name: str) -> dict[str, str]:
        """A process is proven dead. Returns the sagas that held its slots, by lease."""
        process = self.processes.get(name)
        if process is None:
            return {}
        waiting = None if process.reserved_for is None else self._queue.get(process.reserved_for)
        if waiting is not None:
            self._unreserve(waiting)
        holders = {each: lease.saga_id for each, lease in process.leases.items() if lease.saga_id is not None}
        for lease_name, lease in process.leases.items():
            self._take_back(lease_name, lease)
            if not process.shared and process.state is not ProcessState.ENDING:
                self._deadly.add(lease.class_refs)
        self.processes.remove(process)
        return holders

    def retire_client(self, client_id: str) -> list[PoolOrder]:
        """An attached process is gone: so are the processes that run nothing for it."""
        return [each.retire() for each in self.processes.all() if each.idle and each.key.client_id == client_id]

    def retire_idle(self, now: float, idle_s: float) -> list[PoolOrder]:
        """End the processes that nobody has used for ``idle_s`` seconds, and those that nobody may use."""
        idle = [each for each in self.processes.all() if each.idle]
        return [each.retire() for each in idle if each.closing or now - each.since >= idle_s]

    def next_start(self) -> float | None:
        """When a saga that waits only for its class's rate may have its lease; None where there is none."""
        return self.throttles.next_start(self._queue.throttles())

    # --- the plan ----------------------------------------------------------------------------------------------

    def plan(self, now: float) -> list[PoolOrder]:
        """What to do now for the sagas that wait, and in the processes that were started in advance."""
        # Nothing may have been planned for a while. A lease that is over by now may be another saga's, or its process's
        # name nobody's.
        orders: list[PoolOrder] = [
            each for each in self._told_again if self.processes.saga_of(each.lease_name) == each.saga_id
        ]
        self._told_again.clear()
        ranks = self._queue.firsts()
        heapq.heapify(ranks)
        while ranks:
            rank = heapq.heappop(ranks)
            waiting = self._queue.get(rank[-1])
            if waiting is None or (waiting.reserved is None and not self._has_room(waiting.request, now)):
                continue
            order, following = self._take_turn(waiting, rank, now)
            if order is not None:
                orders.append(order)
            if following is not None:
                heapq.heappush(ranks, following)
        return orders + self._prewarm.import_ahead(now)

    def unready(self, now: float) -> bool:
        """Whether a saga got an unused process, and another one can be started in its place now."""
        return self._prewarm.possible(now)

    def make_ready(self, now: float) -> list[PoolOrder]:
        """Start owned processes in advance, or make room for one."""
        return self._prewarm.orders(now)

    def _take_turn(self, waiting: Waiting, rank: Rank, now: float) -> tuple[PoolOrder | None, Rank | None]:
        """Serve that saga, if it is its turn. Also returns who comes next in its group, if anybody there may be
        served."""
        if waiting.reserved is not None:
            return self._serve(waiting, now), None
        if not self._queue.is_next(waiting, rank):  # its name has had its turn in another group
            return None, self._queue.first_beside(waiting)
        if not self._leaves_places(waiting):
            return None, self._queue.first_behind(waiting)
        order = self._serve(waiting, now)
        served = order is not None or waiting.reserved is not None
        return order, self._queue.first_beside(waiting) if served else None

    def _leaves_places(self, waiting: Waiting) -> bool:
        """Whether that saga's name may have one more slot."""
        if not self._leave_places:
            return True
        lane, queue = waiting.ticket.name, self._queue
        forward = queue.all_at_work(shared=lane.shared, urgent=False)
        urgent = queue.all_at_work(shared=lane.shared, urgent=True)
        has_one = queue.at_work(lane) > 0
        return self.processes.leaves_places(forward, urgent, shared=lane.shared, to_urgent=lane.urgent, has_one=has_one)

    def _has_room(self, request: LeaseRequest, now: float) -> bool:
        """Whether anybody who asks for that kind of process can be served."""
        for process in self.processes.of_kind(shared=request.shared):
            if process.open or (process.starting_or_loading and process.reserved_for is None and not process.shared):
                return True
        return self.processes.places(shared=request.shared) > 0 and self.processes.may_start(now, shared=request.shared)

    def _serve(self, waiting: Waiting, now: float) -> PoolOrder | None:
        """Do one thing for that saga, if anything can be done."""
        reserved = self.processes.get(waiting.reserved)
        if reserved is not None and reserved.state in (ProcessState.LOADING, ProcessState.ENDING):
            return None
        if not self.throttles.may_start(waiting.request.throttle, now):
            self._unreserve(waiting)  # another saga may run there meanwhile
            return None
        process = self._best_open(waiting)
        if process is not None:
            return self._use(process, waiting, now)
        if reserved is not None:
            if reserved.state is ProcessState.STARTING:
                return None
            self._unreserve(waiting)  # ready, but no longer fit for what the saga asks
        return self._wait_for_another(waiting, now)

    def _best_open(self, waiting: Waiting) -> PooledProcess | None:
        wanted = set(waiting.request.class_refs)
        mine = self.processes.of_kind(shared=waiting.request.shared)
        free = (p for p in mine if p.open and p.reserved_for in (None, waiting.saga_id))
        fitting = (p for p in free if self._fits(p, waiting))
        # An unused process is left to those who need one.
        return max(fitting, key=lambda p: (wanted <= p.loaded, -len(p.leases), p.used, p.since), default=None)

    def _fits(self, process: PooledProcess, waiting: Waiting) -> bool:
        request = waiting.request
        needs_unused = not request.shared and (request.fresh or request.class_refs in self._deadly)
        return process.key == waiting.key and not (process.used and needs_unused)

    def _use(self, process: PooledProcess, waiting: Waiting, now: float) -> LoadInto | GrantTo:
        """Have the process import what is missing for that saga, or grant the saga a lease."""
        request = waiting.request
        missing = tuple(ref for ref in request.class_refs if ref not in process.loaded)
        if missing:
            if not process.shared:
                self._reserve(waiting, process)
            return process.load(missing, now)
        self.withdraw(waiting.saga_id)
        if request.fresh:
            self._prewarm.leased(process.key, request.class_refs)
        step_class = self.throttles.start(request.throttle, now)
        self._queue.begin(waiting.ticket.name)
        lease = SlotLease(waiting.saga_id, step_class, request.class_refs, waiting.ticket.name)
        lease_name = self.processes.grant_lease(process, lease, now)
        return GrantTo(lease_name, waiting.saga_id, step_class, request.fresh)

    def _wait_for_another(self, waiting: Waiting, now: float) -> StartProcess | Retire | None:
        """No open process fits: let the saga wait for one that starts or loads, for a new one, or for a place."""
        shared = waiting.request.shared
        mine = self.processes.of_kind(shared=shared)
        ahead = [each for each in mine if each.starting_or_loading and each.key == waiting.key]
        if shared and ahead:
            return None
        free = [each for each in ahead if each.reserved_for is None and self._fits(each, waiting)]
        if free:
            self._reserve(waiting, min(free, key=lambda each: each.since))
            return None
        if self.processes.places(shared=shared) > 0:
            if not self.processes.may_start(now, shared=shared):
                return None
            process = self.processes.start(waiting.key, now, shared=shared)
            if not shared:
                self._reserve(waiting, process)
            return StartProcess(process.name, shared)
        if shared and any(each.state is ProcessState.ENDING for each in mine):
            return None
        old = min((each for each in mine if each.idle), key=lambda each: each.since, default=None)
        if old is not None and not shared:
            self._reserve(waiting, old)  # for its place: each saga ends one process at most
        return None if old is None else old.retire()

    # --- small things ------------------------------------------------------------------------------------------

    def _take_back(self, lease_name: str, lease: SlotLease) -> None:
        self.throttles.ended(lease.step_class)
        if lease.lane is not None:
            self._queue.end(lease.lane)
        lease.step_class = lease.lane = None
        self.processes.take_back(lease_name, lease)

    def _free(self, process: PooledProcess, lease_name: str, now: float, *, reusable: bool) -> list[PoolOrder]:
        process.free(lease_name, now, reusable=reusable)
        return [process.retire()] if process.closing and not process.leases else []

    def _reserve(self, waiting: Waiting, process: PooledProcess) -> None:
        self._unreserve(waiting)
        process.reserved_for = waiting.saga_id
        self._queue.reserve(waiting, process.name)

    def _unreserve(self, waiting: Waiting) -> None:
        process = self.processes.get(waiting.reserved)
        if process is not None:
            process.reserved_for = None
        if waiting.reserved is not None:
            self._queue.reserve(waiting, None)
