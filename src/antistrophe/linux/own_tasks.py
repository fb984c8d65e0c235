"""What runs in this process and below it: its threads, native ones included, and its child processes."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Container
from os import P_ALL, WEXITED, WNOHANG, WNOWAIT, waitid
from os import stat as status_of

from antistrophe.linux.descendants import has_left_orphans, home_mark_of, live_step_descendants
from antistrophe.linux.process import children_of
from antistrophe.linux.procfs import all_stats
from antistrophe.linux.termination import live_group_members

_GONE_S, _LOOK_S = 1.0, 0.0001

_LINKS, _LINKS_OF_ONE = 3, 3
"""Where a stat has the number of links; and how many the folder of threads has where there is one: its name, the
folder's own entry, and the thread."""
_LOOK_AT_CHILDREN = WEXITED | WNOHANG | WNOWAIT


def own_threads() -> frozenset[int]:
    """The kernel's ids of the threads of this process. Python's own list shows only those that Python has started."""
    return frozenset(map(int, os.listdir("/proc/self/task")))


def has_one_thread() -> bool:
    """Whether this process has its main thread alone, where `links_are_threads`: the kernel counts the threads as links
    of their folder."""
    return status_of("/proc/self/task")[_LINKS] == _LINKS_OF_ONE


@functools.cache
def links_are_threads() -> bool:
    """Whether one more thread is one more link. What else calls itself Linux may not count them."""
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait)
    before = os.stat("/proc/self/task").st_nlink
    try:
        thread.start()
    except RuntimeError:  # the machine gives no thread
        return False
    with_one_more = os.stat("/proc/self/task").st_nlink
    go_on.set()
    thread.join()
    give_up_at = time.monotonic() + _GONE_S
    while os.stat("/proc/self/task").st_nlink > before and time.monotonic() < give_up_at:
        time.sleep(_LOOK_S)  # a thread that has returned is there for a moment
    return with_one_more == before + 1


def own_children() -> frozenset[int]:
    """The live children of this process. Where it is a subreaper, its orphaned descendants are among them."""
    return frozenset(children_of(os.getpid())) if has_children() else frozenset()


def is_alone(name: str) -> bool:
    """Whether it is proven that no process lives which this one, the step process of that name, has started."""
    if not has_children() and has_left_orphans(name) is False:
        return True
    me = os.getpid()
    return {*live_group_members(me), *live_step_descendants(name)} <= {me}


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
    if not has_children():
        return
    for pid, stat in all_stats():
        if stat.parent == me and not stat.lives and home_mark_of(pid) == mark:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def has_children() -> bool:
    """Whether this process has children, dead ones that nobody has reaped included."""
    try:
        waitid(P_ALL, 0, _LOOK_AT_CHILDREN)
    except ChildProcessError:
        return False
    return True
