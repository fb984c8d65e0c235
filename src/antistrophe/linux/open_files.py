"""How many files a process may have open: raised for the system's own processes, given back to users' code."""

from __future__ import annotations

import os
import resource

_first_soft: int | None = None


def raise_open_files_limit() -> None:
    """Raise this process's soft limit to its hard limit, for itself and its forks, until `restore_open_files_limit`."""
    global _first_soft
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        _first_soft = soft


def restore_open_files_limit() -> None:
    """Give this process the soft limit that the system was started with."""
    if _first_soft is not None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (_first_soft, hard))


def soft_limit() -> float:
    """How many files this process may have open now."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return float("inf") if soft == resource.RLIM_INFINITY else soft


def files_left() -> float:
    """How many more files this process may open."""
    try:
        return soft_limit() - (len(os.listdir("/proc/self/fd")) - 1)  # less that of the listing itself
    except OSError:  # not even that one
        return 0
