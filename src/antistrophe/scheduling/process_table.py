"""The processes of the pool, of both kinds, and which saga holds which lease."""

from __future__ import annotations

from antistrophe.scheduling.leases import PoolKey, Retire
from antistrophe.scheduling.pooled_process import PooledProcess, ProcessState, SlotLease, process_of

BRIEF_START_S = 0.25
"""How long a process that starts may count as one that keeps a core busy. One whose import takes longer waits, as a
rule, for something else."""

START_AGAIN_S = 0.25
"""How long no process is started after a start failed, doubled with each failure in a row, up to START_AGAIN_MAX_S."""

START_AGAIN_MAX_S = 2.0

UNDO_PLACE_FROM = 4
"""From so many slots on one is left to compensations. With fewer it would cost those who go forward too much."""


class ProcessTable:
    """At most ``limit`` owned processes and ``async_limit`` async workers with ``slots`` slots each. It answers
    questions and books what the pool decides."""

    def __init__(self, limit: int, prefix: str, async_limit: int, slots: int, cores: int) -> None:
        self._prefix = prefix
        self._limits = {False: limit, True: async_limit}
        self._slots = {False: 1, True: slots}
        self._cores = cores
        self._started = {False: 0, True: 0}
        self._failed_starts = 0
        self._start_at = 0.0
        self._kinds: dict[bool, dict[str, PooledProcess]] = {False: {}, True: {}}
        self._leases_of: dict[str, list[str]] = {}

    # --- processes ---------------------------------------------------------------------------------------------

    def get(self, name: str | None) -> PooledProcess | None:
        """The process of that name, or None."""
        return None if name is None else self._kinds[False].get(name) or self._kinds[True].get(name)

    def of_kind(self, *, shared: bool) -> list[PooledProcess]:
        """The async workers, or the owned processes."""
        return [*self._kinds[shared].values()]

    def all(self) -> list[PooledProcess]:
        """The processes of both kinds."""
        return [*self._kinds[False].values(), *self._kinds[True].values()]

    def loading(self, name: str) -> bool:
        """Whether this process imports what it was told."""
        process = self.get(name)
        return process is not None and process.state is ProcessState.LOADING

    def overdue(self, now: float, start_timeout_s: float) -> list[str]:
        """The processes that take longer than that to start or to import."""
        return [each.name for each in self.all() if each.starting_or_loading and now - each.since >= start_timeout_s]

    def places(self, *, shared: bool) -> int:
        """How many more processes of that kind there may be."""
        return self._limits[shared] - len(self._kinds[shared])

    def leaves_places(self, forward: int, urgent: int, *, shared: bool, to_urgent: bool, has_one: bool) -> bool:
        """Whether one more may be at work in that kind of process, beside those that go forward and those that
        compensate (``urgent``): from two slots on the last one is left to a name that has none, and from
        ``UNDO_PLACE_FROM`` on one to compensations. ``has_one``: another one of that name is at work on that way."""
        slots = self._limits[shared] * self._slots[shared]
        left = slots - forward - urgent - 1
        if not to_urgent:
            left = min(left, slots - (slots >= UNDO_PLACE_FROM) - forward - 1)
        return left >= (has_one and slots > 1)

    def may_start(self, now: float, *, shared: bool) -> bool:
        """Whether a core is left for another start, and no start has failed a moment ago. Async workers are too few to
        be held back for a core."""
        if now < self._start_at:
            return False
        if shared:
            return True
        owned = self._kinds[False].values()
        busy = sum(each.starting_or_loading and now - each.begun < BRIEF_START_S for each in owned)
        return busy < max(1, self._cores - any(each.leases for each in owned))

    def start(self, key: PoolKey, now: float, *, shared: bool) -> PooledProcess:
        """Book a process that starts now."""
        self._started[shared] += 1
        name = f"{self._prefix}-{'a' if shared else ''}{self._started[shared]}"
        process = PooledProcess(name, key, shared, self._slots[shared], begun=now, since=now)
        self._kinds[shared][name] = process
        return process

    def start_failed(self, now: float) -> None:
        """The machine had no room for a process: nothing is started for a while."""
        self._start_at = now + min(START_AGAIN_MAX_S, START_AGAIN_S * 2.0 ** min(self._failed_starts, 8))
        self._failed_starts += 1

    def started_well(self) -> None:
        """A process that was started can be used."""
        self._failed_starts = 0

    def outdate(self, client_id: str | None, *, but: str | None = None) -> list[Retire]:
        """The processes of that client (None: of all), ``but`` one, have loaded code that is not as it was. Those that
        are idle are retired now; the others take no further calls, and end after the last one."""
        orders: list[Retire] = []
        for each in self.all():
            if each.name == but or client_id not in (None, each.key.client_id) or not each.has_loaded:
                continue
            if each.idle:
                orders.append(each.retire())
            else:
                each.closing = True
        return orders

    def remove(self, process: PooledProcess) -> None:
        """The process is dead."""
        del self._kinds[process.shared][process.name]

    # --- leases ------------------------------------------------------------------------------------------------

    def lease(self, lease_name: str) -> tuple[PooledProcess | None, SlotLease | None]:
        """The process that has this slot, and the lease of the slot."""
        process = self.get(process_of(lease_name))
        return process, None if process is None else process.leases.get(lease_name)

    def saga_of(self, lease_name: str) -> str | None:
        """The saga that holds this lease, or None."""
        _, lease = self.lease(lease_name)
        return None if lease is None else lease.saga_id

    def sagas_in(self, name: str) -> list[str]:
        """The sagas that hold slots of this process."""
        process = self.get(name)
        leases = () if process is None else process.leases.values()
        return [lease.saga_id for lease in leases if lease.saga_id is not None]

    def leases_in(self, name: str) -> set[str]:
        """The leases of slots of this process, those whose calls are being ended included."""
        process = self.get(name)
        return set() if process is None else {*process.leases}

    def leased_to(self, saga_id: str) -> list[str]:
        """The leases that this saga holds: none, one, or a second one where it did not hear of the first."""
        return [*self._leases_of.get(saga_id, ())]

    def leased(self) -> list[str]:
        """The names of all leases that sagas hold."""
        return [lease_name for leases in self._leases_of.values() for lease_name in leases]

    def has_slot(self, lease_name: str) -> bool:
        """Whether something may run in that slot."""
        return self.lease(lease_name)[1] is not None

    def slot_names(self, name: str) -> list[str]:
        """The slots of this process, without those that were closed."""
        process = self.get(name)
        return [] if process is None else process.slot_names()

    def grant_lease(self, process: PooledProcess, lease: SlotLease, now: float) -> str:
        """Grant the saga of that lease a slot. Returns the name of the lease."""
        assert lease.saga_id is not None, "a lease is granted to a saga"
        lease_name = process.grant_lease(lease, now)
        self._leases_of.setdefault(lease.saga_id, []).append(lease_name)
        return lease_name

    def take_back(self, lease_name: str, lease: SlotLease) -> None:
        """The saga of that lease holds it no more."""
        if lease.saga_id is not None:
            held = self._leases_of[lease.saga_id]
            held.remove(lease_name)
            if not held:
                del self._leases_of[lease.saga_id]
            lease.saga_id = None
