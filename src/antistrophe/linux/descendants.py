"""What a step process has started, wherever it went: found by a mark that the kernel hands down, and ended.

A process group is left by one call (``setsid``, as daemons make it) and an environment is changed by another; a limit
that nobody looks at is kept by forks and execs alike. `antistrophe.linux.termination.mark_descendants` uses the soft
limit of file locks for the home; this is the hard one, and names the step process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import signal

from antistrophe.linux.process import identity_of, open_pidfd
from antistrophe.linux.procfs import all_pids

_RLIMIT_LOCKS = 10

# One scan misses what was forked behind its back by a process that died before the scan came to it.
_SCANS = 2


def mark_step_descendants(name: str) -> None:
    """Mark all that this process will ever start as that of the step process of this name."""
    soft = resource.getrlimit(_RLIMIT_LOCKS)[0]
    with contextlib.suppress(ValueError, OSError):  # an administrator's limit is lower: then the group has to do
        resource.setrlimit(_RLIMIT_LOCKS, (soft, _mark_of(name)))


def live_step_descendants(name: str) -> list[int]:
    """Every live process that carries that step process's mark, which it does itself."""
    wanted = (resource.getrlimit(_RLIMIT_LOCKS)[0], _mark_of(name))
    return [pid for pid in all_pids() if _carries(pid, wanted) and identity_of(pid) is not None]


def end_step_descendants(name: str) -> list[int]:
    """SIGKILL every live process that carries that step process's mark; answer with those of them that were there.

    ``[]`` is the proof that none lives; else call again until it is. The step process itself carries the mark, too.
    Processes that belong to another home meanwhile, because they have opened it, are none of its offspring.
    """
    wanted = (resource.getrlimit(_RLIMIT_LOCKS)[0], _mark_of(name))
    for _ in range(_SCANS):
        found = [pid for pid in all_pids() if _carries(pid, wanted) and _kill(pid, wanted)]
        if found:
            return found
    return []


def _carries(pid: int, wanted: tuple[int, int]) -> bool:
    try:
        return resource.prlimit(pid, _RLIMIT_LOCKS) == wanted
    except OSError:  # gone, or another user's
        return False


def _kill(pid: int, wanted: tuple[int, int]) -> bool:
    """False where it is dead already."""
    identity = identity_of(pid)
    pidfd = None if identity is None else open_pidfd(identity)
    if pidfd is None:
        return False
    try:
        if not _carries(pid, wanted):  # looked at after opening: the number may have been given away
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(pidfd)
    return True


def _mark_of(name: str) -> int:
    # Above every mark of a home, so that the soft limit never exceeds it, and lower than whatever else is "unlimited".
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:7]) | 1 << 56
