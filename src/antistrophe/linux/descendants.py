"""Descendants are known by a mark that the kernel hands down, wherever they go.

A process leaves its group with one call (``setsid``, as daemons do) and gets another environment with the next. Forks
and execs keep resource limits. The mark is the limit of file locks, which Linux has not enforced since version 2.4.25:
the soft limit names the home, the hard limit names the step process.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
from collections.abc import Container

from antistrophe.linux.hunt import end_all
from antistrophe.linux.process import identity_of
from antistrophe.linux.procfs import all_pids

# RLIMIT_LOCKS of <sys/resource.h>, which the module `resource` does not name.
_RLIMIT_LOCKS = 10

_HUNT_S = 0.03


# --- the mark of a home: the soft limit ---------------------------------------------------------------------------


def mark_home_descendants(home: str | os.PathLike[str]) -> None:
    """Mark this process, and every process that it will ever start, as one of that home."""
    hard = resource.getrlimit(_RLIMIT_LOCKS)[1]
    # Where an administrator has set a lower limit, the environment alone shows the home.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(_RLIMIT_LOCKS, (home_mark(home), hard))


def home_mark(home: str | os.PathLike[str]) -> int:
    """The mark of that home; a home has the same mark through every symlink."""
    # Below 2**56, which is below every mark of a step process; and above any limit that somebody would set.
    return _hash(os.fsencode(os.path.realpath(home))) | 1 << 55


def home_mark_of(pid: int) -> int | None:
    """The mark of a home that this process carries; None when it is gone or is another user's."""
    limits = _limits_of(pid)
    return None if limits is None else limits[0]


# --- the mark of a step process: the hard limit -------------------------------------------------------------------


def mark_step_descendants(name: str) -> None:
    """Mark this process, and every process that it will ever start, as one of the step process of that name."""
    soft = resource.getrlimit(_RLIMIT_LOCKS)[0]
    # Where an administrator has set a lower limit, only the process group shows the step process.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(_RLIMIT_LOCKS, (soft, _step_mark(name)))


def can_mark(pid: int | None = None) -> bool:
    """Whether that process (this one) may mark what it starts. An administrator may have set a lower limit."""
    limits = _limits_of(pid or os.getpid())
    return limits is not None and (limits[1] == resource.RLIM_INFINITY or limits[1] >= 1 << 57)


def live_step_descendants(name: str) -> list[int]:
    """The live processes that carry the mark of that step process, itself included."""
    marks = _marks_here(name)
    return [pid for pid in all_pids() if _limits_of(pid) == marks and identity_of(pid) is not None]


def end_step_descendants(name: str) -> list[int]:
    """SIGKILL every live process that carries the mark of that step process; answer with those that were found.

    ``[]`` is the proof that none lives; after any other answer, call again (see `end_all`). The step process itself
    carries the mark, too. A descendant that has opened another home belongs to that home, and is left alone.
    """
    marks = _marks_here(name)
    return end_all(lambda pid: _carries(pid, marks), limit_s=_HUNT_S)


def end_home_descendants(mark: int, spare: Container[int]) -> list[int]:
    """SIGKILL every live process that carries that mark of a home, except those in ``spare``, as long as it takes up to
    a bound; answer with those that were found. Like `end_step_descendants` for one home."""

    def is_marked(pid: int) -> bool | None:
        return False if pid in spare else _carries(pid, (mark, None))

    return end_all(is_marked, limit_s=_HUNT_S)


def _marks_here(name: str) -> tuple[int, int]:
    """Both marks of a process that the step process of that name has started in the home of this process."""
    return resource.getrlimit(_RLIMIT_LOCKS)[0], _step_mark(name)


def _carries(pid: int, marks: tuple[int, int | None]) -> bool | None:
    """Whether that process carries these marks; None when it is gone."""
    try:
        soft, hard = resource.prlimit(pid, _RLIMIT_LOCKS)
    except PermissionError:  # another user's
        return False
    except OSError:
        return None
    return soft == marks[0] and marks[1] in (None, hard)


def _limits_of(pid: int) -> tuple[int, int] | None:
    try:
        return resource.prlimit(pid, _RLIMIT_LOCKS)
    except OSError:  # the process is gone, or is another user's
        return None


def _step_mark(name: str) -> int:
    # Above every mark of a home, because a soft limit may not exceed the hard one; and below "unlimited".
    return _hash(name.encode("utf-8", "surrogatepass")) | 1 << 56


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.sha256(data).digest()[:7])
