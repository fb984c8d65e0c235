"""One Linux process: who it is, whether it lives, and how a signal reaches it and no other.

The kernel gives a pid to another process later. So every function that sends a signal takes a `ProcessIdentity`, or
checks the process after it has opened a pidfd. A process that vanishes while it is looked at is dead; no function
raises for it. Every function that looks raises OSError where this process has no descriptor left to look with.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import os
import select
import signal
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import IO, NoReturn

from antistrophe.fast_dataclass import dataclass
from antistrophe.linux.procfs import Stat, all_stats, children_of_threads, stat_of

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

# The signals of a fault in native code. A handler in Python never runs for them: the fault repeats before it could.
_FATAL_SIGNALS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT)


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """The name of one process for ever: ``start_ticks`` is its start in clock ticks since the boot ``boot_id``."""

    pid: int
    start_ticks: int
    boot_id: str


@lru_cache(maxsize=1)
def boot_id() -> str:
    """The kernel's name for this boot: a UUID that changes with every boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def identity_of(pid: int) -> ProcessIdentity | None:
    """The process that has this pid now; None when no live process has it (a zombie is dead)."""
    stat = stat_of(pid)
    if stat is None or not stat.lives:
        return None
    return ProcessIdentity(pid, stat.start_ticks, boot_id())


def is_alive(identity: ProcessIdentity) -> bool:
    """Whether this process still runs. A zombie does not, and a process with another start or boot is another one."""
    return identity_of(identity.pid) == identity


def parent_of(pid: int) -> int | None:
    """The pid of a process's present parent (a zombie has one, too); None when no process has this pid."""
    stat = stat_of(pid)
    return None if stat is None else stat.parent


def children_of(pid: int) -> list[int]:
    """The pids of a process's live children, ascending."""
    listed = children_of_threads(pid)
    if listed is None or listed != children_of_threads(pid):  # a list may miss one while another one goes
        stats: Iterable[tuple[int, Stat | None]] = all_stats()
    else:
        stats = ((child, stat_of(child)) for child in sorted(listed))
    return [child for child, stat in stats if stat is not None and stat.parent == pid and stat.lives]


def open_pidfd(identity: ProcessIdentity) -> int | None:
    """A pidfd of this process, or None when the process is dead. The caller closes the pidfd."""
    try:
        pidfd = os.pidfd_open(identity.pid)
    except OverflowError:
        return None
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):  # EINVAL: no process can have that number
            return None
        raise
    # The check comes after the opening: an open pidfd stays with its process, whoever gets the pid later.
    try:
        if is_alive(identity):
            return pidfd
    except OSError:
        os.close(pidfd)
        raise
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


def signal_if(pid: int, belongs: Callable[[int], bool], signal_number: int) -> bool:
    """Send a signal to the process that has this pid if ``belongs(pid)`` is true of it; False where nothing was sent.

    ``belongs`` is asked while a pidfd holds the process, so its answer and the signal are about the same process.
    """
    identity = identity_of(pid)
    pidfd = None if identity is None else open_pidfd(identity)
    if pidfd is None:
        return False
    try:
        if not belongs(pid):
            return False
        signal.pidfd_send_signal(pidfd, signal_number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(pidfd)
    return True


def signal_main_thread(child: ProcessIdentity, signal_number: int) -> bool:
    """Send a signal to the main thread of a child of this process, not to its other threads; False when it is dead.

    The caller must not reap the child before this returns: until then its pid can't belong to another process.
    """
    pidfd = open_pidfd(child)
    if pidfd is None:
        return False
    os.close(pidfd)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.tgkill(child.pid, child.pid, signal_number) == 0)


def wait_readable(pidfd: int, timeout_s: float) -> bool:
    """Wait until the process of a pidfd is dead (a zombie is); False when ``timeout_s`` seconds passed before."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))


# --- this process -------------------------------------------------------------------------------------------------


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel SIGKILL this process when its parent dies; die at once if ``parent_pid`` is gone already.

    Linux has three limits here. The kernel watches the parent's *thread* that forked, so fork from the main thread.
    Children do not inherit the request. When an orphan gets a new parent, the kernel watches the new parent.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        _die_orphaned()


def become_subreaper() -> None:
    """From now on, an orphan among the descendants of this process becomes its child, not init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def restore_fatal_signals(traceback_file: IO[str] | int | None = None) -> None:
    """Let a fault in native code end this process again, whatever handlers were set before.

    With ``traceback_file`` (a file or descriptor that stays open) the Python stacks are written to it first.
    """
    faulthandler.disable()  # faulthandler would take its handlers for installed although somebody has replaced them
    for number in _FATAL_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    if traceback_file is not None:
        faulthandler.enable(traceback_file)


def restore_ending_signals() -> None:
    """Let SIGTERM and SIGQUIT end this process at once again, in whatever it is doing, and so its next forks."""
    for number in (signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def ignore_file_size_signal() -> None:
    """Let a write beyond the limit of a file's size be an OSError and nothing else, as Python itself does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(ctypes.c_int(option), ctypes.c_ulong(argument), zero, zero, zero) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {argument}): {os.strerror(number)}")


def _die_orphaned() -> NoReturn:
    # In a fork, sys.exit would run the exit handlers of the parent.
    os.kill(os.getpid(), signal.SIGKILL)
    os._exit(1)
