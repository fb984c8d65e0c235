"""What runs in this process and below it: its threads, native ones included, and its child processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container

from antistrophe.linux.descendants import home_mark_of
from antistrophe.linux.process import children_of
from antistrophe.linux.procfs import all_stats


def own_threads() -> frozenset[int]:
    """The kernel's ids of the threads of this process. Python's own list shows only those that Python has started."""
    return frozenset(map(int, os.listdir("/proc/self/task")))


def own_children() -> frozenset[int]:
    """The live children of this process. Where it is a subreaper, its orphaned descendants are among them."""
    return frozenset(children_of(os.getpid())) if _has_children() else frozenset()


def reap(spare: Container[int]) -> None:
    """Reap the children that have ended, up to the first one in ``spare``."""
    options = os.WEXITED | os.WNOHANG
    try:
        while (dead := os.waitid(os.P_ALL, 0, options | os.WNOWAIT)) is not None and dead.si_pid not in spare:
            os.waitid(os.P_PID, dead.si_pid, options)
    except ChildProcessError:
        return


def reap_marked(mark: int) -> None:
    """Reap the children of this process that have ended and carry that mark of a home: orphans, which fall to the first
    process of a container, for instance. Other children are left to whoever has started them."""
    me = os.getpid()
    if not _has_children():
        return
    for pid, stat in all_stats():
        if stat.parent == me and not stat.lives and home_mark_of(pid) == mark:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
