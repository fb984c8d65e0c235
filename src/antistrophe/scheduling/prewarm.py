"""Prewarming: owned processes that are started in advance, for the next attempts that want an unused one."""

from __future__ import annotations

from collections import Counter

from antistrophe.scheduling.leases import PoolKey, PoolOrder, StartProcess
from antistrophe.scheduling.pooled_process import PooledProcess, ProcessState
from antistrophe.scheduling.process_table import ProcessTable


class Prewarm:
    """Starts another process for each unused one that a saga got, up to ``most`` for a key. The new process imports the
    classes that the last saga wanted.

    A start that fails, or for which there is no place, is not tried again. The next unused process that a saga gets
    asks for another start.
    """

    def __init__(self, most: int, processes: ProcessTable) -> None:
        self._most = most
        self._processes = processes
        self._leased: dict[PoolKey, tuple[str, ...]] = {}

    def leased(self, key: PoolKey, class_refs: tuple[str, ...]) -> None:
        """A saga got an unused process, to run these classes."""
        if self._most:
            self._leased[key] = class_refs

    def possible(self, now: float) -> bool:
        """Whether a saga got an unused process, and another one can be started in its place now."""
        if not self._leased or not self._processes.may_start(now, shared=False):
            return False
        return self._has_spare_place() or self._superfluous() is not None

    def orders(self, now: float) -> list[PoolOrder]:
        """Start processes in advance, or make room for one."""
        orders: list[PoolOrder] = []
        for key, class_refs in self._take_missing():
            if not self._processes.may_start(now, shared=False):
                self.leased(key, class_refs)  # later, then
            elif self._has_spare_place():
                process = self._processes.start(key, now, shared=False)
                process.imports_ahead = class_refs
                orders.append(StartProcess(process.name))
            elif (old := self._superfluous()) is not None:
                self.leased(key, class_refs)
                orders.append(old.retire())
        return orders

    def import_ahead(self, now: float) -> list[PoolOrder]:
        """Tell the processes that were started in advance, and that no saga has taken, to import their classes."""
        idle = (each for each in self._owned() if each.idle and each.imports_ahead)
        return [each.load(each.imports_ahead, now) for each in idle]

    def _take_missing(self) -> list[tuple[PoolKey, tuple[str, ...]]]:
        """What to start: each key as often as processes are missing, and each time only once."""
        waiting = (each for each in self._owned() if each.state is not ProcessState.ENDING and not each.used)
        unused = Counter(each.key for each in waiting if each.reserved_for is None)
        leased, self._leased = self._leased, {}
        return [each for each in leased.items() for _ in range(self._most - unused[each[0]])]

    def _has_spare_place(self) -> bool:
        """Whether a second place is left for a saga with another key: a free place, or one whose process is idle."""
        places = self._processes.places(shared=False)
        return places > 1 or (places == 1 and any(each.idle for each in self._owned()))

    def _superfluous(self) -> PooledProcess | None:
        """The used process that has been idle for longest, where there are several. None while another process ends."""
        if any(each.state is ProcessState.ENDING for each in self._owned()):
            return None
        used = sorted((each for each in self._owned() if each.idle and each.used), key=lambda each: each.since)
        return used[0] if len(used) > 1 else None

    def _owned(self) -> list[PooledProcess]:
        return self._processes.of_kind(shared=False)
