"""Reading /proc: which processes there are, and what the kernel says about each.

A process that vanishes while it is read is None. Where this process can't look, because no descriptor or no memory is
left, every function raises OSError: "I can't see it" is no proof of death.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from antistrophe.fast_dataclass import dataclass

_CANT_LOOK = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/PID/stat says: ``parent`` is a pid, ``group`` the process group, ``start_ticks`` the clock ticks from
    the boot to the start of the process."""

    state: str
    parent: int
    group: int
    threads: int
    start_ticks: int

    @property
    def lives(self) -> bool:
        # The first thread of a process may be a zombie while its other threads run: that process lives.
        return self.state not in "ZXx" or self.threads > 1


def all_pids() -> list[int]:
    """The pids of all processes, ascending."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def all_stats() -> Iterable[tuple[int, Stat]]:
    """Every pid with the stat of its process, ascending."""
    for pid in all_pids():
        stat = stat_of(pid)
        if stat is not None:
            yield pid, stat


def stat_of(pid: int) -> Stat | None:
    """The stat of a process, None when no process has this pid. A zombie has a stat, too."""
    text = read(f"/proc/{pid}/stat")
    if not text:
        return None
    # The second field is the command's name in parentheses, and the name may contain spaces and parentheses.
    state, *fields = text[text.rindex(b")") + 2 :].split()
    return Stat(state.decode(), int(fields[0]), int(fields[1]), threads=int(fields[16]), start_ticks=int(fields[18]))


def listed_children(pid: int) -> list[int]:
    """The pids that the kernel lists as children of a process's first thread, in the order of their birth. Nothing
    where it keeps no such list (CONFIG_PROC_CHILDREN)."""
    return [*map(int, (read(f"/proc/{pid}/task/{pid}/children") or b"").split())]


def children_of_threads(pid: int) -> list[int] | None:
    """The pids that the kernel lists as children of any thread of a process; None where it keeps no such lists, or a
    thread ends just now."""
    try:
        lists = [read(f"/proc/{pid}/task/{thread}/children") for thread in os.listdir(f"/proc/{pid}/task")]
    except OSError as error:
        if error.errno in _CANT_LOOK:
            raise
        return None
    return None if None in lists else [int(child) for text in lists if text is not None for child in text.split()]


def owner_of(pid: int) -> int | None:
    """The id of the user that a process runs as, None when no process has this pid."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def read(path: str) -> bytes | None:
    """The whole content of a file below /proc, None when it is gone or another user's."""
    # This runs for every process of the machine, and a Python file object costs three times what a descriptor costs.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _CANT_LOOK:
            raise
        return None
    try:
        chunks = []
        while chunk := os.read(descriptor, 65536):
            chunks.append(chunk)
        return b"".join(chunks)
    except OSError:  # ESRCH: the process died meanwhile
        return None
    finally:
        os.close(descriptor)
