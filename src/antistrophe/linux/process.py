"""Linux processes: who they are, whether they live, and how a signal reaches exactly one of them.

A pid alone names nothing for long: numbers come back. Everything here that could hurt works on a
`ProcessIdentity` or on a pidfd.
Processes vanish while they are looked at; here that means "dead", never an exception.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import os
import select
import signal
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, NoReturn

from antistrophe.linux.procfs import all_stats, stat_of

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

# What native code raises when it is broken. A Python-level handler for these never runs: the fault just repeats.
_FATAL_SIGNALS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT)


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, unmistakably: ``start_ticks`` is its start in clock ticks since the boot ``boot_id``."""

    pid: int
    start_ticks: int
    boot_id: str


@lru_cache(maxsize=1)
def boot_id() -> str:
    """The kernel's name for this boot: a UUID that changes with every boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def identity_of(pid: int) -> ProcessIdentity | None:
    """Who has that pid now; None when no live process has it (a zombie is dead)."""
    stat = stat_of(pid)
    if stat is None or not stat.lives:
        return None
    return ProcessIdentity(pid, stat.start_ticks, boot_id())


def is_alive(identity: ProcessIdentity) -> bool:
    """Whether exactly this process still runs: a zombie, another start time or another boot means no."""
    return identity_of(identity.pid) == identity


def parent_of(pid: int) -> int | None:
    """The pid of the present parent of a process (a zombie has one, too); None when there is no such process."""
    stat = stat_of(pid)
    return None if stat is None else stat.parent


def children_of(pid: int) -> list[int]:
    """The live children of a process, ascending."""
    return [child for child, stat in all_stats() if stat.parent == pid and stat.lives]


def open_pidfd(identity: ProcessIdentity) -> int | None:
    """A pidfd of this process, or None when it is dead. The caller closes it."""
    try:
        pidfd = os.pidfd_open(identity.pid)
    except OverflowError:
        return None
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):  # EINVAL: no process can have that number
            return None
        raise
    # Looked at after opening: from here on the descriptor stays with that process, whatever becomes of the number.
    if is_alive(identity):
        return pidfd
    os.close(pidfd)
    return None


def send_signal(identity: ProcessIdentity, signal_number: int) -> bool:
    """Send a signal to exactly this process; False when it is dead or another user's."""
    pidfd = open_pidfd(identity)
    if pidfd is None:
        return False
    try:
        signal.pidfd_send_signal(pidfd, signal_number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(pidfd)
    return True


def signal_main_thread(child: ProcessIdentity, signal_number: int) -> bool:
    """Send a signal to the main thread of a child of this process, and to no other of its threads; False when it is
    dead. Only for a child that is not reaped before this returns: its pid can't be anybody else's."""
    pidfd = open_pidfd(child)
    if pidfd is None:
        return False
    os.close(pidfd)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.tgkill(child.pid, child.pid, signal_number) == 0)


def wait_readable(pidfd: int, timeout_s: float) -> bool:
    """Wait until a pidfd says that its process is dead (a zombie is); False when ``timeout_s`` passed before."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))


# --- this process -------------------------------------------------------------------------------------------------


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel SIGKILL this process when its parent dies; exit at once if ``parent_pid`` is it no longer.

    Three limits of Linux: it is the parent's *thread* that forked whose end counts, so fork from the main thread;
    children do not inherit it; the new parent of an orphan counts from then on.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        _die_orphaned()


def become_subreaper() -> None:
    """From now on, orphans among this process's descendants become its children instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def restore_fatal_signals(traceback_file: IO[str] | int | None = None) -> None:
    """Let a fault of native code end this process again, whatever handlers it had.

    With ``traceback_file`` (an open file or descriptor that stays open) the Python stacks are written there first.
    """
    faulthandler.disable()  # else its handlers count as installed although somebody has replaced them
    for number in _FATAL_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    if traceback_file is not None:
        faulthandler.enable(traceback_file)


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(ctypes.c_int(option), ctypes.c_ulong(argument), zero, zero, zero) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {argument}): {os.strerror(number)}")


def _die_orphaned() -> NoReturn:
    # Not sys.exit: in a fork that would run the parent's exit handlers.
    os.kill(os.getpid(), signal.SIGKILL)
    os._exit(1)
