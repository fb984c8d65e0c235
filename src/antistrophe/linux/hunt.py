"""Ends every process of which something is true, although such processes may fork while they are looked for.

A chain of forks, in which each process forks another one and ends at once, is always somewhere else than where a scan
of /proc looks. But each link is an orphan as soon as its parent has ended, and so a child of the process that takes the
orphans here: an ancestor of this process, or itself. The kernel lists their children at once. So these lists are read
again and again, the newest child first, and what belongs is stopped before it forks. All are stopped before any is
killed: else one could start another in the place of one that is killed.

Where the processes between this one and the one that takes the orphans still are what they were, those lists are all
that has to be read: whatever a dead child of theirs has left, the first of it is in one of them. So a death costs the
same, however many processes the machine has.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable

from antistrophe.linux.process import parent_of, signal_if
from antistrophe.linux.procfs import all_pids, listed_children

# So many scans in a row must find nothing: a list that the kernel makes while processes end may miss one.
_CLEAN_SCANS = 2

# So often the lists are read at least: the first time they may be long, of zombies that nobody has reaped.
_LEAST_ROUNDS = 4


def end_all(belongs: Callable[[int], bool | None], *, limit_s: float, taker: int | None = None) -> list[int]:
    """SIGKILL every process of which ``belongs`` is true, but never this one; answer with those that were found.

    ``belongs`` answers None for a process that has gone. ``[]`` is the proof that there are none; after any other
    answer, call again: a kill takes a moment. After ``limit_s`` seconds the search is given up; then the answer may
    name processes that have gone before they could be looked at.

    ``taker``: an ancestor of this process that is a subreaper. Give it where all that belongs was started by children
    of this process that are dead. Where it is not given, or where the kernel does not list children, all processes of
    the machine are looked at.

    Raises OSError where this process may open no more descriptors.
    """
    hunt = _Hunt(belongs, time.monotonic() + limit_s, taker)
    clean = 0
    while clean < _CLEAN_SCANS:
        clean = clean + 1 if hunt.scan() else 0
        if not clean and hunt.is_late():
            break
    for pid in hunt.stopped:
        signal_if(pid, lambda each: bool(belongs(each)), signal.SIGKILL)
    return hunt.stopped or ([] if clean else hunt.gone)


def children_up_to(taker: int | None) -> list[int] | None:
    """The children of this process, and of its ancestors up to that one. If a dead process among them has left any that
    it has started, one of these is here. None where this can't be known: that is no ancestor, the kernel lists no
    children, or some come and go just now.

    The kernel may leave one out if another one goes while the list is read. Then that one is missing in the next.
    """
    return _children_of(_up_to(taker, _ancestors()))


def _children_of(near: list[int]) -> list[int] | None:
    """All children of these processes, each the parent of the one before it; see `children_up_to`."""
    lists = [listed_children(ancestor) for ancestor in near]
    complete = bool(near) and all(below in pids for below, pids in zip(near, lists[1:], strict=False))
    steady = complete and [listed_children(ancestor) for ancestor in near] == lists
    return [pid for pids in lists for pid in pids] if steady else None


class _Hunt:
    """``stopped``: what was found. ``gone``: who had gone, in the last scan, before it could be looked at."""

    def __init__(self, belongs: Callable[[int], bool | None], until: float, taker: int | None) -> None:
        self._belongs = belongs
        self._until = until
        self._rounds = 0
        self._ancestors = _ancestors()
        self._near = _up_to(taker, self._ancestors)
        self._seen = {os.getpid()}
        self.stopped: list[int] = []
        self.gone: list[int] = []

    def is_late(self) -> bool:
        """Whether the time is up."""
        return self._rounds >= _LEAST_ROUNDS and time.monotonic() >= self._until

    def scan(self) -> bool:
        """Stop what is found. True where nothing was, and nobody has escaped a look."""
        found = len(self.stopped)
        while True:
            self._rounds += 1
            self.gone = []
            stopped = len(self.stopped)
            for ancestor in self._near or self._ancestors:
                self._stop(reversed(listed_children(ancestor)), orphans=True)
            if (not self.gone and len(self.stopped) == stopped) or self.is_late():
                break
        children = _children_of(self._near)
        if children is None or not self._seen.issuperset(children):
            self._stop(reversed(all_pids()), orphans=False)
        return not self.gone and len(self.stopped) == found

    def _stop(self, pids: Iterable[int], *, orphans: bool) -> None:
        """Stop those that belong. Among orphans, one that has gone may have left another."""
        for pid in pids:
            if pid in self._seen:
                continue
            belongs = self._belongs(pid)
            if belongs and signal_if(pid, lambda each: bool(self._belongs(each)), signal.SIGSTOP):
                self.stopped.append(pid)
            elif belongs is not False and orphans:
                self.gone.append(pid)
            if belongs or orphans:
                self._seen.add(pid)


def _up_to(taker: int | None, ancestors: list[int]) -> list[int]:
    """The ancestors up to that one, or nothing where it is none of them or the only one."""
    return ancestors[: ancestors.index(taker) + 1] if taker in ancestors[1:] else []


def _ancestors() -> list[int]:
    """This process, its parent, and so on up to the first of all."""
    pids, pid = [os.getpid()], os.getppid()
    while pid > 0 and pid not in pids:
        pids.append(pid)
        pid = parent_of(pid) or 0
    return pids
