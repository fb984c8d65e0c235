"""What the kernel keeps for this process as a whole, and how it is put back: limits, priority, folder, umask, user.

Each ``read`` answers with a value that compares equal as long as nothing has changed. Each ``put_back`` takes such a
value, and does as much as this process may. User code may have replaced functions of `os`, so the ones that are used
here are bound when this module is imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
from os import (
    PRIO_PROCESS,
    chdir,
    fstat,
    getgroups,
    getpgrp,
    getpriority,
    getresgid,
    getresuid,
    sched_getaffinity,
    sched_getscheduler,
    sched_param,
    sched_setaffinity,
    sched_setscheduler,
    setpriority,
    stat,
    umask,
)
from pathlib import Path
from resource import getrlimit, setrlimit
from typing import Any, TypeAlias

# Every resource of <sys/resource.h>; the module `resource` does not name all of them.
_RESOURCES = tuple(range(max(15, resource.RLIMIT_RTPRIO) + 1))

_STANDARD = (0, 1, 2)

_PR_GET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_GET_SECCOMP = 2, 3, 21
_PR_GET_CHILD_SUBREAPER, _PR_GET_NO_NEW_PRIVS = 37, 39
_CAPABILITY_VERSION_3 = 0x20080522

Limits: TypeAlias = tuple[tuple[int, int], ...]


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


_libc: Any = ctypes.CDLL(None)
_number = ctypes.c_int()
_number_ref = ctypes.byref(_number)
_header_ref = ctypes.byref(_CapabilityHeader(_CAPABILITY_VERSION_3, 0))
_capabilities = (ctypes.c_uint32 * 6)()


def read_limits() -> Limits:
    """The soft and the hard limit of every resource."""
    return tuple(map(getrlimit, _RESOURCES))


def put_back_limits(healthy: Limits) -> None:
    """Set the limits that differ. Only root may raise a hard limit; a soft one is then put back as far as it goes."""
    for kind, (soft, hard) in zip(_RESOURCES, healthy, strict=True):
        present = getrlimit(kind)
        if present == (soft, hard):
            continue
        try:
            setrlimit(kind, (soft, hard))
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                setrlimit(kind, (present[1], present[1]))


def read_priority() -> tuple[Any, ...]:
    """The nice value, the scheduling policy, and the cores that this process may run on."""
    return getpriority(PRIO_PROCESS, 0), sched_getscheduler(0), sched_getaffinity(0)


def put_back_priority(healthy: tuple[Any, ...]) -> None:
    """Set what `read_priority` has read. Only root may raise a priority."""
    nice, policy, cores = healthy
    if sched_getaffinity(0) != cores:
        sched_setaffinity(0, cores)
    if sched_getscheduler(0) != policy:
        sched_setscheduler(0, policy, sched_param(0))
    if getpriority(PRIO_PROCESS, 0) != nice:
        setpriority(PRIO_PROCESS, 0, nice)


def read_user() -> tuple[Any, ...]:
    """The users and groups that this process runs as, its capabilities, and what the kernel refuses it for good."""
    _libc.capget(_header_ref, _capabilities)
    refused = _libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), _libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0)
    return getresuid(), getresgid(), getgroups(), bytes(_capabilities), refused


def read_bonds() -> tuple[Any, ...]:
    """What ties this process to the system: its group, its end with its parent, its care for orphans, and whether
    others of its user may look at it."""
    _libc.prctl(_PR_GET_PDEATHSIG, _number_ref, 0, 0, 0)
    dies_by = _number.value
    _libc.prctl(_PR_GET_CHILD_SUBREAPER, _number_ref, 0, 0, 0)
    return getpgrp(), dies_by, _number.value, _libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0)


def read_root() -> tuple[int, int]:
    """The root folder, by device and inode."""
    status = stat("/")
    return status.st_dev, status.st_ino


class Folder:
    """The working folder. It is known by device and inode: one that is renamed, or removed by others, is the same."""

    def __init__(self) -> None:
        self._path = ""

    def belong(self) -> tuple[int, int]:
        """The folder that is healthy from now on."""
        with contextlib.suppress(OSError):  # it has been removed: nobody can go back there
            self._path = str(Path.cwd())
        return self.read()

    def read(self) -> tuple[int, int]:
        """The present folder."""
        status = stat(".")
        return status.st_dev, status.st_ino

    def put_back(self, _healthy: tuple[int, int]) -> None:
        """Go back."""
        chdir(self._path)


class Umask:
    """The umask. The kernel tells it only to who sets it, so reading it puts it back."""

    def __init__(self) -> None:
        self._healthy = 0o077

    def belong(self) -> int:
        """The umask that is healthy from now on."""
        self._healthy = umask(0o077)  # while it is read, new files are open to nobody else
        umask(self._healthy)
        return self._healthy

    def read(self) -> int:
        """The umask until now."""
        return umask(self._healthy)


def read_standard_files() -> tuple[tuple[int, int] | None, ...]:
    """What is open under the numbers 0, 1 and 2, by device and inode; None where nothing is."""
    try:
        return tuple([(status.st_dev, status.st_ino) for status in map(fstat, _STANDARD)])
    except OSError:  # one of them is closed
        return tuple(map(_file, _STANDARD))


def _file(number: int) -> tuple[int, int] | None:
    try:
        status = fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino
