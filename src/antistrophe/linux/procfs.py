"""Reading /proc: which processes there are, and what the kernel says of each. One that vanishes meanwhile is None."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stat:
    """A line of /proc/PID/stat: ``group`` is the process group, ``start_ticks`` clock ticks from boot to start."""

    state: str
    parent: int
    group: int
    threads: int
    start_ticks: int

    @property
    def lives(self) -> bool:
        # The leader of a thread group may be a zombie while other threads of it still run: that process lives.
        return self.state not in "ZXx" or self.threads > 1


def all_pids() -> list[int]:
    """Every pid, ascending."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def all_stats() -> Iterable[tuple[int, Stat]]:
    """Every process with its stat, by pid."""
    for pid in all_pids():
        stat = stat_of(pid)
        if stat is not None:
            yield pid, stat


def stat_of(pid: int) -> Stat | None:
    """What the kernel says of that process; a zombie has a stat, too."""
    text = read(f"/proc/{pid}/stat")
    if not text:
        return None
    # The command's name comes second, in parentheses, and may itself hold spaces and parentheses.
    state, *fields = text[text.rindex(b")") + 2 :].split()
    return Stat(state.decode(), int(fields[0]), int(fields[1]), threads=int(fields[16]), start_ticks=int(fields[18]))


def owner_of(pid: int) -> int | None:
    """The user id that it runs as."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def read(path: str) -> bytes | None:
    """The whole of one file below /proc."""
    # Plain descriptors: this runs for every process of the machine, and a Python file object costs three times that.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        chunks = []
        while chunk := os.read(descriptor, 65536):
            chunks.append(chunk)
        return b"".join(chunks)
    except OSError:  # ESRCH: it died while we read
        return None
    finally:
        os.close(descriptor)
