"""Ending processes, groups, and all that belongs to the actor system of a home, without hitting a stranger."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from antistrophe.linux.process import (
    ProcessIdentity,
    boot_id,
    identity_of,
    is_alive,
    parent_of,
    send_signal,
)
from antistrophe.linux.procfs import all_pids, all_stats, owner_of, read, stat_of

HOME_MARKER = "ANTISTROPHE_HOME"
SYSTEM_MARKER = "ANTISTROPHE_SYSTEM"
_RLIMIT_LOCKS = 10

# A scan of /proc misses a process that is in the middle of an exec, or whose parent forked it and died meanwhile.
_CLEAN_SCANS = 2
_MAX_LOOKS = 8
_SCAN_PAUSE_S = 0.005


# --- process groups -----------------------------------------------------------------------------------------------


def live_group_members(pgid: int) -> list[int]:
    """The live processes of that group, ascending. Zombies are dead."""
    if pgid <= 1:
        raise ValueError(f"{pgid} is no process group of ours")  # 0 and 1 mean "my own" and "everybody" to kill(2)
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return []  # not even a zombie is left: no need to read all of /proc
    except PermissionError:
        pass
    return [pid for pid, stat in all_stats() if stat.group == pgid and stat.lives]


def kill_group(leader: ProcessIdentity, *, home: str | os.PathLike[str] | None = None) -> list[int]:
    """SIGKILL a process and the group that it leads or led; answer with those of them that still live.

    ``[]`` is the proof that all are dead; else call again until it is (a kill takes a moment, and a process in
    uninterruptible sleep stays). While the leader is there (a zombie suffices) the group is surely its own. When the
    leader is gone, its number may be a stranger's, so the group is killed only if a member, or a member's parent,
    carries the marker of ``home``; otherwise nothing is killed, and the members are answered as possibly ours.
    """
    stat = stat_of(leader.pid)
    if leader.boot_id != boot_id() or (stat is not None and stat.start_ticks != leader.start_ticks):
        return []  # the number was given away again, and that happens only when nobody is left in the old group
    members = live_group_members(leader.pid)
    if members and (stat is not None or (home is not None and _any_of_home(members, home))):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader.pid, signal.SIGKILL)
        members = live_group_members(leader.pid)
    # The leader itself, in case it was caught before it had made its group.
    if leader.pid not in members and send_signal(leader, signal.SIGKILL) and is_alive(leader):
        members = [leader.pid, *members]
    return members


def kill_child(pid: int, *, group: bool) -> None:
    """SIGKILL a child of this process and, with ``group``, the group that it leads. Only for one that is not reaped:
    neither its number nor that of its group can be anybody else's then, so there is nothing to look up."""
    if group:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _any_of_home(members: Iterable[int], home: str | os.PathLike[str]) -> bool:
    # The parent counts because orphans fall to the nearest subreaper, which is a process of the same system, while
    # the orphan itself may have been started with an environment of its own.
    marks = _marks(home)
    for pid in members:
        parent = parent_of(pid)
        if _carries(pid, marks) or (parent is not None and _carries(parent, marks)):
            return True
    return False


# --- the processes of a home --------------------------------------------------------------------------------------


def system_environment(home: str | os.PathLike[str], base_env: Mapping[str, str]) -> dict[str, str]:
    """``base_env`` plus the two markers of a process that belongs to the actor system of ``home``.

    They count from an exec on: /proc shows the environment that a process was started with, and forks keep it. (The
    third one keeps setproctitle, which Thespian uses where it is installed, from writing over that.)
    """
    return {**base_env, HOME_MARKER: os.path.realpath(home), SYSTEM_MARKER: "1", "SPT_NOENV": "1"}


def mark_descendants(home: str | os.PathLike[str]) -> None:
    """Mark this process, and all that it will ever start, as of that home, whatever environment they are given.

    The mark is a resource limit that the kernel hands down and has not looked at for twenty years: that of file locks.
    """
    hard = resource.getrlimit(_RLIMIT_LOCKS)[1]
    with contextlib.suppress(ValueError, OSError):  # where an administrator has set one, the environment has to do
        resource.setrlimit(_RLIMIT_LOCKS, (_marks(home).limit, hard))


def processes_of_home(home: str | os.PathLike[str]) -> list[int]:
    """The live processes of this user that carry the marks of exactly this home, ascending: both markers in the
    environment, or what `mark_descendants` leaves."""
    marks = _marks(home)
    uid = os.geteuid()
    seen: set[int] = set()
    found: list[int] = []
    for _ in range(_MAX_LOOKS):
        # Reading takes so long that one of them may have been replaced by its fork meanwhile.
        fresh = [pid for pid in all_pids() if pid not in seen]
        seen.update(fresh)
        found += [pid for pid in fresh if owner_of(pid) == uid and _carries(pid, marks) and identity_of(pid)]
        if not fresh:
            break
    return sorted(found)


def sweep(home: str | os.PathLike[str], *, spare: frozenset[int] = frozenset(), deadline_s: float) -> list[int]:
    """SIGKILL every process of a home but those in ``spare`` and the caller, until none is left.

    Processes that are forked meanwhile are found, too. Answers with the pids that still live after ``deadline_s``
    seconds (one in uninterruptible sleep, for instance); ``[]`` means that the home is empty.
    """
    marks = _marks(home)
    spare = spare | {os.getpid()}
    deadline = time.monotonic() + deadline_s
    clean_scans = 0
    overdue = False
    while True:
        left = [pid for pid in processes_of_home(home) if pid not in spare]
        clean_scans = 0 if left else clean_scans + 1
        if clean_scans >= _CLEAN_SCANS or (left and overdue):
            return left
        for pid in left:
            _kill_marked(pid, marks)
        time.sleep(_SCAN_PAUSE_S)
        overdue = time.monotonic() >= deadline


def _kill_marked(pid: int, marks: _Marks) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if _carries(pid, marks):  # looked at after opening, as in `open_pidfd`
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
    finally:
        os.close(pidfd)


@dataclass(frozen=True, slots=True)
class _Marks:
    """What shows that a process belongs to a home: both of these in its environment, or this limit."""

    environment: tuple[bytes, bytes]
    limit: int


def _marks(home: str | os.PathLike[str]) -> _Marks:
    path = os.fsencode(os.path.realpath(home))
    environment = (b"\0%s=%s\0" % (HOME_MARKER.encode(), path), b"\0%s=1\0" % SYSTEM_MARKER.encode())
    # Below 2**56 and above whatever somebody would set: no limit that means anything.
    return _Marks(environment, int.from_bytes(hashlib.sha256(path).digest()[:7]) | 1 << 55)


def _carries(pid: int, marks: _Marks) -> bool:
    with contextlib.suppress(OSError):
        if resource.prlimit(pid, _RLIMIT_LOCKS)[0] == marks.limit:
            return True
    environment = read(f"/proc/{pid}/environ")
    if not environment:
        # Gone, a zombie, or a process whose first thread has ended: then another thread still shows it.
        stat = stat_of(pid)
        if stat is not None and stat.lives and stat.threads > 1:
            environment = _environment_of_threads(pid)
    if not environment:
        return False
    framed = b"\0" + environment
    return all(marker in framed for marker in marks.environment)


def _environment_of_threads(pid: int) -> bytes:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return b""
    return next(filter(None, (read(f"/proc/{pid}/task/{thread}/environ") for thread in threads)), b"")
