"""What the kernel keeps for this process as a whole, and how it is put back: limits, priority, folder, umask, user.

A look is a function without arguments whose answer stays equal as long as nothing has changed. Nearly all are functions
in C: one in Python takes several times as long, and all of them are called after each attempt. Each ``put_back`` takes
the answers of a healthy process, and does as much as this process may. User code may have replaced functions of `os`,
so the ones that are used here are bound when this module is imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
from collections.abc import Callable, Sequence
from functools import partial
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

from antistrophe.linux.descriptor import OpenFile, file_behind

# Every resource of <sys/resource.h>; the module `resource` does not name all of them.
_RESOURCES = tuple(range(max(15, resource.RLIMIT_RTPRIO) + 1))

_STANDARD = (0, 1, 2)

_PR_GET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_GET_SECCOMP = 2, 3, 21
_PR_GET_CHILD_SUBREAPER, _PR_GET_NO_NEW_PRIVS = 37, 39
_CAPABILITY_VERSION_3 = 0x20080522

Limits: TypeAlias = tuple[tuple[int, int], ...]
Look: TypeAlias = Callable[[], Any]
Looks: TypeAlias = tuple[Look, ...]


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


_libc: Any = ctypes.CDLL(None)
_prctl = _libc.prctl


def read_limits() -> Limits:
    """The soft and the hard limit of every resource."""
    return tuple(map(getrlimit, _RESOURCES))


def put_back_limits(healthy: Sequence[Limits]) -> None:
    """Set the limits that differ. Only root may raise a hard limit; a soft one is then put back as far as it goes."""
    for kind, (soft, hard) in zip(_RESOURCES, healthy[0], strict=True):
        present = getrlimit(kind)
        if present == (soft, hard):
            continue
        try:
            setrlimit(kind, (soft, hard))
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                setrlimit(kind, (present[1], present[1]))


def looks_at_priority() -> Looks:
    """The nice value, the scheduling policy, and the cores that this process may run on."""
    return partial(getpriority, PRIO_PROCESS, 0), partial(sched_getscheduler, 0), partial(sched_getaffinity, 0)


def put_back_priority(healthy: Sequence[Any]) -> None:
    """Set what those looks have seen. Only root may raise a priority."""
    nice, policy, cores = healthy
    if sched_getaffinity(0) != cores:
        sched_setaffinity(0, cores)
    if sched_getscheduler(0) != policy:
        sched_setscheduler(0, policy, sched_param(0))
    if getpriority(PRIO_PROCESS, 0) != nice:
        setpriority(PRIO_PROCESS, 0, nice)


def looks_at_user() -> Looks:
    """The users and groups that this process runs as, its capabilities, and what the kernel refuses it for good."""
    header, capabilities = _CapabilityHeader(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    return (
        getresuid,
        getresgid,
        getgroups,
        partial(_libc.capget, ctypes.byref(header), ctypes.byref(capabilities)),
        partial(bytes, capabilities),
        partial(_prctl, _PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
        partial(_prctl, _PR_GET_SECCOMP, 0, 0, 0, 0),
    )


def looks_at_bonds() -> Looks:
    """What ties this process to the system: its group, its end with its parent, its care for orphans, and whether
    others of its user may look at it."""
    signal, cares = ctypes.c_int(), ctypes.c_int()
    return (
        getpgrp,
        partial(_prctl, _PR_GET_PDEATHSIG, ctypes.byref(signal), 0, 0, 0),
        partial(bytes, signal),
        partial(_prctl, _PR_GET_CHILD_SUBREAPER, ctypes.byref(cares), 0, 0, 0),
        partial(bytes, cares),
        partial(_prctl, _PR_GET_DUMPABLE, 0, 0, 0, 0),
    )


def looks_at_root() -> Looks:
    """The root folder."""
    return (partial(_folder, "/"),)


def _folder(path: str) -> tuple[int, ...]:
    """A folder by inode and device: one that is renamed, or removed by others, is the same."""
    return stat(path)[1:3]


class Folder:
    """The working folder."""

    def __init__(self) -> None:
        self._path = ""

    def belong(self) -> Looks:
        """The present folder is healthy from now on."""
        with contextlib.suppress(OSError):  # it has been removed: nobody can go back there
            self._path = str(Path.cwd())
        return (partial(_folder, "."),)

    def put_back(self, _healthy: object) -> None:
        """Go back."""
        chdir(self._path)


def looks_at_umask() -> Looks:
    """The umask. The kernel tells it only to who sets it, so a look puts it back."""
    healthy = umask(0o077)  # while it is read, new files are open to nobody else
    umask(healthy)
    return (partial(umask, healthy),)


def put_back_umask(healthy: Sequence[Any]) -> None:
    """Set what that look has seen."""
    umask(healthy[0])


def read_standard_files() -> tuple[OpenFile | None, ...]:
    """What is open under the numbers 0, 1 and 2; None where nothing is."""
    try:
        return fstat(0)[1:3], fstat(1)[1:3], fstat(2)[1:3]
    except OSError:  # one of them is closed
        return tuple(map(file_behind, _STANDARD))
