"""A process as the pool sees it: its state, what it has imported, and who holds its slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from antistrophe.scheduling.leases import LoadInto, PoolKey, Retire
from antistrophe.scheduling.queue import Lane

_SEPARATOR = "."


class ProcessState(Enum):
    """Where a process stands."""

    STARTING = "starting"
    READY = "ready"
    LOADING = "loading"
    ENDING = "ending"


@dataclass(slots=True)
class SlotLease:
    """Who holds a slot. ``saga_id`` and ``lane`` are None once the saga has returned the slot and its call is still to
    be ended."""

    saga_id: str | None
    step_class: str | None
    class_refs: tuple[str, ...]
    lane: Lane | None


@dataclass(slots=True)
class PooledProcess:
    """An owned process has one slot, whose lease has the process's own name. An async worker (``shared``) has several;
    their leases are named ``NAME.1``, ``NAME.2``, and the number of a slot that was closed is never used again.

    ``begun``: when it was started. ``since``: when it came into its state, or was last used.
    ``reserved_for``: the one saga that may use it next, or for which it makes room by ending.
    ``closing``: an import has failed, or its code is outdated: it takes no further calls and ends after the last one.
    ``imports_ahead``: what it imports as soon as it is ready, where no saga has taken it before.
    """

    name: str
    key: PoolKey
    shared: bool
    slots: int
    begun: float
    since: float
    state: ProcessState = ProcessState.STARTING
    reserved_for: str | None = None
    used: bool = False
    closing: bool = False
    loaded: set[str] = field(default_factory=set)
    loading: tuple[str, ...] = ()
    imports_ahead: tuple[str, ...] = ()
    leases: dict[str, SlotLease] = field(default_factory=dict)
    _free_slots: list[str] = field(default_factory=list)
    _slots_made: int = 0

    @property
    def starting_or_loading(self) -> bool:
        """Whether it starts, or imports what it was told."""
        return self.state is ProcessState.STARTING or self.state is ProcessState.LOADING

    @property
    def has_loaded(self) -> bool:
        """Whether it has imported something, or does so now, and is not about to end."""
        return bool(self.loaded or self.loading) and not self.closing and self.state is not ProcessState.ENDING

    @property
    def open(self) -> bool:
        """Whether it has a slot for another attempt."""
        return len(self.leases) < self.slots and self.state is ProcessState.READY and not self.closing

    @property
    def idle(self) -> bool:
        """Whether nothing runs there, and no saga is about to use it."""
        return self.state is ProcessState.READY and not self.leases and self.reserved_for is None

    def enter(self, state: ProcessState, now: float) -> None:
        """Come into that state."""
        self.state, self.since = state, now

    def load(self, class_refs: tuple[str, ...], now: float) -> LoadInto:
        """Begin to import these classes."""
        self.enter(ProcessState.LOADING, now)
        self.loading, self.imports_ahead = class_refs, ()
        return LoadInto(self.name, self.key.origin, class_refs)

    def retire(self) -> Retire:
        """Begin to end."""
        self.state = ProcessState.ENDING
        return Retire(self.name)

    def grant_lease(self, lease: SlotLease, now: float) -> str:
        """Grant a lease of one slot. Returns the name of the lease."""
        if self._free_slots:
            lease_name = self._free_slots.pop()
        else:
            self._slots_made += 1
            lease_name = self._slot_name(self._slots_made)
        self.leases[lease_name] = lease
        self.used, self.since, self.imports_ahead = True, now, ()
        return lease_name

    def free(self, lease_name: str, now: float, *, reusable: bool) -> None:
        """Nothing runs in that slot any more; ``reusable``: another lease of it may be granted."""
        del self.leases[lease_name]
        if reusable:
            self._free_slots.append(lease_name)
        if not self.starting_or_loading:
            self.since = now

    def slot_names(self) -> list[str]:
        """Its slots, without those that were closed."""
        return [*self.leases, *self._free_slots]

    def _slot_name(self, number: int) -> str:
        return f"{self.name}{_SEPARATOR}{number}" if self.shared else self.name


def process_of(lease_name: str) -> str:
    """The name of the process in which that lease has its slot."""
    return lease_name.partition(_SEPARATOR)[0]
