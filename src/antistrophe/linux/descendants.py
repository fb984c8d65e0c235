"""Descendants are known by a mark that the kernel hands down, wherever they go.

A process leaves its group with one call (``setsid``, as daemons do) and gets another environment with the next. Forks
and execs keep resource limits. The mark is the limit of file locks, which Linux has not enforced since version 2.4.25:
the soft limit names the home, the hard limit names the step process.

A step may run the actor system of another home. What that starts has the other home's mark, and is a descendant of the
step all the same. Only root may raise a hard limit, so the marks of its step processes lie below the mark of the step,
in a range of its own. Who has the mark of a step process, or one of its range, was started by it. Three systems deep
there is room for marks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
from collections.abc import Callable, Container

from antistrophe.linux.home_identity import home_mark, is_home_mark, keep_home_mark
from antistrophe.linux.hunt import children_up_to, end_all
from antistrophe.linux.process import identity_of
from antistrophe.linux.procfs import all_pids

# RLIMIT_LOCKS of <sys/resource.h>, which the module `resource` does not name.
_RLIMIT_LOCKS = 10

_HUNT_S = 0.03

# The mark of a step process: this bit, a number for each system from the outermost one in, and then ones to the end.
_STEP = 1 << 56

# How many bits are left to the range of the one outside, and how many to a mark's own range.
_RANGES = {56: 22, 22: 8, 8: 0}

_own_marks: dict[str, int] = {}

_taker: int | None = None


# --- the mark of a home: the soft limit ---------------------------------------------------------------------------


def mark_home_descendants(home: str | os.PathLike[str]) -> None:
    """Mark this process, and every process that it will ever start, as one of that home."""
    hard, mark = resource.getrlimit(_RLIMIT_LOCKS)[1], keep_home_mark(home)
    # Where an administrator has set a lower limit, the environment alone shows the home.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(_RLIMIT_LOCKS, (mark, hard))


def home_mark_of(pid: int) -> int | None:
    """The mark of a home that this process carries; None when it is gone or is another user's."""
    limits = _limits_of(pid)
    return None if limits is None else limits[0]


def is_of_another_home(pid: int, home: str | os.PathLike[str]) -> bool:
    """Whether this process carries the mark of another home."""
    mark = home_mark_of(pid)
    return mark is not None and is_home_mark(mark) and mark != home_mark(home)


def end_home_descendants(mark: int, spare: Container[int]) -> list[int]:
    """SIGKILL every live process that carries that mark of a home, except those in ``spare``; answer with those that
    were found. ``[]`` is the proof that none lives; after any other answer, call again (see `end_all`)."""

    def is_marked(pid: int) -> bool | None:
        return False if pid in spare else _carries(pid, lambda soft, _: soft == mark)

    return end_all(is_marked, limit_s=_HUNT_S)


# --- the mark of a step process: the hard limit -------------------------------------------------------------------


def can_mark(pid: int | None = None) -> bool:
    """Whether that process (this one) may mark what it starts. An administrator may have set a lower limit, or too many
    systems run one within the other."""
    limits = _limits_of(pid or os.getpid())
    return limits is not None and _range_below(limits[1]) in _RANGES


def mark_step_descendants(name: str) -> None:
    """Mark this process, and every process that it will ever start, as one of the step process of that name."""
    soft, mark = resource.getrlimit(_RLIMIT_LOCKS)[0], _step_mark(name)
    if mark is not None:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(_RLIMIT_LOCKS, (soft, mark))
            _own_marks[name] = mark


def live_step_descendants(name: str) -> list[int]:
    """The live processes that carry the mark of that step process, itself included."""
    mark = _step_mark(name)
    if mark is None:
        return []
    return [pid for pid in all_pids() if _carries(pid, lambda _, hard: _is_in(mark, hard)) and identity_of(pid)]


def has_left_orphans(name: str) -> bool | None:
    """Whether this process, the step process of that name, has started one that an ancestor has as its child now; None
    where this can't be known at once. A zombie counts: it may just have left another one."""
    mark = _step_mark(name)
    near = None if mark is None else children_up_to(_taker)
    if mark is None or near is None:
        return None
    carried = [_carries(pid, lambda _, hard: _is_in(mark, hard)) for pid in near if pid != os.getpid()]
    return None if None in carried else any(carried)


def orphans_fall_to(pid: int) -> None:
    """From now on the orphans that dead children of this process leave are looked for among the children of that
    ancestor, which is a subreaper, and of those between: not among all processes of the machine."""
    global _taker
    _taker = pid


def end_step_descendants(name: str, *, spare_homes: Container[int] = (), anywhere: bool = False) -> list[int]:
    """SIGKILL every live process that carries the mark of that step process, or one of its range; answer with those
    that were found.

    ``[]`` is the proof that none lives; after any other answer, call again (see `end_all`). The step process itself
    carries the mark, too. ``spare_homes``: the marks of homes whose processes are left alone. ``anywhere``: the step
    process was no child of this process.
    """
    mark = _step_mark(name)
    if mark is None:
        return []

    def is_marked(pid: int) -> bool | None:
        return _carries(pid, lambda soft, hard: soft not in spare_homes and _is_in(mark, hard))

    return end_all(is_marked, limit_s=_HUNT_S, taker=None if anywhere else _taker)


def _step_mark(name: str) -> int | None:
    """The mark of the step process of that name, one of those that this process may start; None where it has no room
    for marks."""
    if name in _own_marks:
        return _own_marks[name]
    hard = resource.getrlimit(_RLIMIT_LOCKS)[1]
    outside = _range_below(hard)
    if outside not in _RANGES:
        return None
    own = _RANGES[outside]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    number = int.from_bytes(digest[:7]) >> (56 - outside + own) & ~1  # even: so the ones of the range end there
    base = _STEP if outside == 56 else hard & ~((1 << outside) - 1)
    return base | number << own | (1 << own) - 1


def _range_below(hard: int) -> int:
    """How many bits are free below that hard limit: the ones at its end, where it is the mark of a step process; -1
    where there is no room for marks."""
    if hard == resource.RLIM_INFINITY or hard >= _STEP << 1:
        return 56
    return (~hard & (hard + 1)).bit_length() - 1 if hard >= _STEP else -1


def _is_in(mark: int, hard: int) -> bool:
    own = _range_below(mark)
    return hard >> own == mark >> own


# --- limits of processes ------------------------------------------------------------------------------------------


def _carries(pid: int, fits: Callable[[int, int], bool]) -> bool | None:
    """Whether the soft and the hard limit of that process fit; None when it is gone."""
    try:
        return fits(*resource.prlimit(pid, _RLIMIT_LOCKS))
    except PermissionError:  # another user's
        return False
    except OSError:
        return None


def _limits_of(pid: int) -> tuple[int, int] | None:
    try:
        return resource.prlimit(pid, _RLIMIT_LOCKS)
    except OSError:  # the process is gone, or is another user's
        return None
