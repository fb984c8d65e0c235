"""Ends what an earlier life of a home has left, before the next one begins; finds out whether the home is a copy."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from antistrophe.errors import SystemUnavailableError
from antistrophe.launcher.home_lock import LOCK_NAME
from antistrophe.linux.home_identity import read_identity, renew_identity
from antistrophe.linux.termination import homes_of_processes, sweep

log = logging.getLogger("antistrophe.launcher")

SWEEP_S = 5.0


def end_earlier_life(home: Path) -> None:
    """Kill every process of that home; its lock is held. A home that was copied, restored or moved to another disk gets
    another identity after that.

    Where the home that it is a copy of has a system that runs, the processes are that system's, and are left alone.
    Raises SystemUnavailableError where a process can't be killed.
    """
    identity = read_identity(home)
    if identity is not None and not identity.is_of(home) and (original := _original_that_runs(home)) is not None:
        log.warning(
            "%s is a copy of %s, whose system runs. What that runs is left alone, and its sagas may run twice",
            home,
            original,
        )
    elif left := sweep(home, deadline_s=SWEEP_S):
        raise SystemUnavailableError(survivors(home, left))
    if identity is None or not identity.is_of(home):
        try:
            renew_identity(home)
        except OSError as error:
            log.warning("%s gets no identity (%s): what it leaves behind is known by its path alone", home, error)


def survivors(home: Path, pids: list[int]) -> str:
    """What to say of processes that can't be killed."""
    return (
        f"processes of an earlier actor system of {home} can't be killed: pid {', '.join(map(str, pids))}; no system"
        " can start there until they are gone (see their state in /proc/PID/status)"
    )


def _original_that_runs(home: Path) -> Path | None:
    """Another home whose processes have the mark of this one, and whose lock is held."""
    others = {Path(each) for each in homes_of_processes(home)} - {Path(os.path.realpath(home))}
    return next((each for each in sorted(others) if _is_locked(each / LOCK_NAME)), None)


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
