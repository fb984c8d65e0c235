"""Ending process groups, and all processes of a home, without hitting a stranger."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Mapping

from antistrophe.fast_dataclass import dataclass
from antistrophe.linux.control_groups import end_groups
from antistrophe.linux.descendants import end_home_descendants, home_mark_of
from antistrophe.linux.home_identity import home_mark, path_mark
from antistrophe.linux.process import ProcessIdentity, boot_id, identity_of, is_alive, parent_of, send_signal, signal_if
from antistrophe.linux.procfs import all_pids, all_stats, owner_of, read, stat_of

HOME_VARIABLE = "ANTISTROPHE_HOME"
"""The environment variable that names the home of a process."""

SYSTEM_VARIABLE = "ANTISTROPHE_SYSTEM"
"""The environment variable that tells the processes of an actor system from applications of the same home, and from
processes of another system that name this home: its value is made of the home's path."""

# One scan of /proc misses a process that is in the middle of an exec, and a fork whose parent died during the scan.
_CLEAN_SCANS = 2
_MAX_READS = 8
_SCAN_PAUSE_S = 0.005


# --- process groups -----------------------------------------------------------------------------------------------


def live_group_members(pgid: int) -> list[int]:
    """The pids of the live processes of a process group, ascending; a zombie is dead. Raises ValueError for a number
    that names no single group."""
    if pgid <= 1:
        raise ValueError(f"{pgid} is no process group of ours")  # kill(2) takes 0 for "my own" and 1 for "everybody"
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return []  # not even a zombie is left, so there is no need to read all of /proc
    except PermissionError:
        pass
    return [pid for pid, stat in all_stats() if stat.group == pgid and stat.lives]


def kill_group(leader: ProcessIdentity, *, home: str | os.PathLike[str] | None = None) -> list[int]:
    """SIGKILL a process and the group that it leads or led; answer with those that still live.

    ``[]`` is the proof that all are dead. After any other answer, call again: a kill takes a moment, and a process in
    uninterruptible sleep stays. As long as the leader exists (a zombie suffices), the group is its own. When the leader
    is gone, a stranger may lead a group of the same number. Then the group is killed only if a member, or the parent
    of a member, belongs to ``home``. Otherwise nothing is killed, and the answer names the members as possibly ours.
    """
    stat = stat_of(leader.pid)
    if leader.boot_id != boot_id() or (stat is not None and stat.start_ticks != leader.start_ticks):
        return []  # the kernel gives a pid away again only when nobody is left in the old group
    members = live_group_members(leader.pid)
    if members and (stat is not None or (home is not None and _any_of_home(members, home))):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader.pid, signal.SIGKILL)
        members = live_group_members(leader.pid)
    # The leader may not have made its group yet.
    if leader.pid not in members and send_signal(leader, signal.SIGKILL) and is_alive(leader):
        members = [leader.pid, *members]
    return members


def kill_child(pid: int, *, group: bool) -> None:
    """SIGKILL a child of this process and, with ``group``, the group that the child leads.

    The child must not be reaped yet. Then no other process can have its pid or its group, and nothing is looked up.
    """
    if group:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _any_of_home(members: Iterable[int], home: str | os.PathLike[str]) -> bool:
    # The parent counts, too: an orphan falls to the nearest subreaper, a process of the same system, while the orphan
    # itself may have been started with an environment of its own.
    marks = _home_marks(home)
    for pid in members:
        parent = parent_of(pid)
        if _belongs(pid, marks) or (parent is not None and _belongs(parent, marks)):
            return True
    return False


# --- the processes of a home --------------------------------------------------------------------------------------


def system_environment(home: str | os.PathLike[str], base_env: Mapping[str, str]) -> dict[str, str]:
    """``base_env`` plus the two variables of a process that belongs to the actor system of ``home``.

    The variables count from an exec on: /proc shows the environment that a process was started with, and forks keep
    it. A third variable keeps setproctitle, which Thespian uses where it is installed, from overwriting that memory.
    """
    return {**base_env, HOME_VARIABLE: os.path.realpath(home), SYSTEM_VARIABLE: _token(home), "SPT_NOENV": "1"}


def processes_of_home(home: str | os.PathLike[str]) -> list[int]:
    """The pids of this user's live processes that belong to exactly this home, ascending.

    A process belongs to it by both variables in its environment, or by the mark of `mark_home_descendants`.
    """
    marks = _home_marks(home)
    uid = os.geteuid()
    seen: set[int] = set()
    found: list[int] = []
    for _ in range(_MAX_READS):
        # While one scan reads, a process may fork and end: read the pids again until there is no new one.
        fresh = [pid for pid in all_pids() if pid not in seen]
        seen.update(fresh)
        found += [pid for pid in fresh if owner_of(pid) == uid and _belongs(pid, marks) and identity_of(pid)]
        if not fresh:
            break
    return sorted(found)


def sweep(home: str | os.PathLike[str], *, spare: frozenset[int] = frozenset(), deadline_s: float) -> list[int]:
    """SIGKILL every process of a home except those in ``spare`` and the caller, until none is left.

    A process that is forked meanwhile is found, too. The answer names the pids that still live after ``deadline_s``
    seconds (a process in uninterruptible sleep, for instance); ``[]`` means that the home is empty. Raises OSError
    where this process has had no descriptor left to look with for all that time.
    """
    marks = _home_marks(home)
    spare = spare | {os.getpid()}
    deadline = time.monotonic() + deadline_s
    clean_scans = 0
    overdue = False
    while True:
        with contextlib.suppress(OSError):
            end_groups(marks.inherited)
            end_home_descendants(marks.inherited, spare)
        try:
            left = [pid for pid in processes_of_home(home) if pid not in spare]
        except OSError:  # no descriptor is free
            if overdue:
                raise
            time.sleep(_SCAN_PAUSE_S)
            overdue = time.monotonic() >= deadline
            continue
        clean_scans = 0 if left else clean_scans + 1
        if clean_scans >= _CLEAN_SCANS or (left and overdue):
            return left
        for pid in left:
            with contextlib.suppress(OSError):  # no descriptor is free: the next scan finds this process again
                signal_if(pid, lambda pid: _belongs(pid, marks), signal.SIGKILL)
        time.sleep(_SCAN_PAUSE_S)
        overdue = time.monotonic() >= deadline


def homes_of_processes(home: str | os.PathLike[str]) -> set[str]:
    """The homes that the environment of those processes names which carry the mark of this home. Where the home is a
    copy, they may be those of the original."""
    mark = home_mark(home)
    homes: set[str] = set()
    for pid in all_pids():
        if home_mark_of(pid) == mark:
            variables = (read(f"/proc/{pid}/environ") or b"").split(b"\0")
            prefix = HOME_VARIABLE.encode() + b"="
            homes.update(os.fsdecode(each[len(prefix) :]) for each in variables if each.startswith(prefix))
    return homes


def _token(home: str | os.PathLike[str]) -> str:
    return f"{path_mark(home):x}"


@dataclass(frozen=True, slots=True)
class _HomeMarks:
    """What shows that a process belongs to a home: both variables in its environment, or the inherited mark."""

    environment: tuple[bytes, bytes]
    inherited: int


def _home_marks(home: str | os.PathLike[str]) -> _HomeMarks:
    path = os.fsencode(os.path.realpath(home))
    environment = (
        b"\0%s=%s\0" % (HOME_VARIABLE.encode(), path),
        b"\0%s=%s\0" % (SYSTEM_VARIABLE.encode(), _token(home).encode()),
    )
    return _HomeMarks(environment, home_mark(home))


def _belongs(pid: int, marks: _HomeMarks) -> bool:
    if home_mark_of(pid) == marks.inherited:
        return True
    environment = read(f"/proc/{pid}/environ")
    if not environment:
        # The process is gone or a zombie. Or only its first thread has ended: then another thread shows it.
        stat = stat_of(pid)
        if stat is not None and stat.lives and stat.threads > 1:
            environment = _environment_of_threads(pid)
    if not environment:
        return False
    framed = b"\0" + environment
    return all(variable in framed for variable in marks.environment)


def _environment_of_threads(pid: int) -> bytes:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return b""
    return next(filter(None, (read(f"/proc/{pid}/task/{thread}/environ") for thread in threads)), b"")
