"""Prewarming: owned processes that are started in advance, for the next attempts that want an unused one."""

from __future__ import annotations

from collections import Counter

from antistrophe.scheduling.leases import PoolKey, PoolOrder, StartProcess
from antistrophe.scheduling.pooled_process import PooledProcess, ProcessState
from antistrophe.scheduling.process_table import ProcessTable


class Prewarm:
    """For each unused process that was lent another one, up to ``most`` for a key, with the classes that the last one
    was lent for.

    A start that fails, or for which there is no place, is not tried again: the next unused process that is lent asks
    for it.
    """

    def __init__(self, most: int, processes: ProcessTable) -> None:
        self._most = most
        self._processes = processes
        self._lent: dict[PoolKey, tuple[str, ...]] = {}

    def lent(self, key: PoolKey, class_refs: tuple[str, ...]) -> None:
        """An unused process was lent, to run these classes."""
        if self._most:
            self._lent[key] = class_refs

    def possible(self, now: float) -> bool:
        """Whether an unused process was lent that can be replaced by another one now."""
        if not self._lent or not self._processes.may_start(now, shared=False):
            return False
        return self._has_spare_place() or self._superfluous() is not None

    def orders(self, now: float) -> list[PoolOrder]:
        """Start processes in advance, or make room for one."""
        orders: list[PoolOrder] = []
        for key, class_refs in self._take_missing():
            if not self._processes.may_start(now, shared=False):
                self.lent(key, class_refs)  # later, then
            elif self._has_spare_place():
                process = self._processes.start(key, now, shared=False)
                process.imports_ahead = class_refs
                orders.append(StartProcess(process.name))
            elif (old := self._superfluous()) is not None:
                self.lent(key, class_refs)
                orders.append(old.retire())
        return orders

    def import_ahead(self, now: float) -> list[PoolOrder]:
        """Have the processes that were started in advance, and that no saga has taken, import what they will be wanted
        for."""
        idle = (each for each in self._owned() if each.idle and each.imports_ahead)
        return [each.load(each.imports_ahead, now) for each in idle]

    def _take_missing(self) -> list[tuple[PoolKey, tuple[str, ...]]]:
        """What to start: each key as often as processes are missing, and each time only once."""
        waiting = (each for each in self._owned() if each.state is not ProcessState.ENDING and not each.used)
        unused = Counter(each.key for each in waiting if each.reserved_for is None)
        lent, self._lent = self._lent, {}
        return [each for each in lent.items() for _ in range(self._most - unused[each[0]])]

    def _has_spare_place(self) -> bool:
        """Whether one place is left beside this one, to whoever wants another key: a free place, or one whose process
        is idle."""
        places = self._processes.places(shared=False)
        return places > 1 or (places == 1 and any(each.idle for each in self._owned()))

    def _superfluous(self) -> PooledProcess | None:
        """Of several idle processes that were used, the one that was not used for longest; None while another one
        ends."""
        if any(each.state is ProcessState.ENDING for each in self._owned()):
            return None
        used = sorted((each for each in self._owned() if each.idle and each.used), key=lambda each: each.since)
        return used[0] if len(used) > 1 else None

    def _owned(self) -> list[PooledProcess]:
        return self._processes.of_kind(shared=False)
