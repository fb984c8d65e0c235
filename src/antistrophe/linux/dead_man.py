"""The dead man's switch: the kernel kills this process at a moment that the process keeps putting off.

A process that is stopped (SIGSTOP), hangs in native code or gets no processor can't end itself when its time is over.
The kernel can: a POSIX timer sends SIGKILL, whatever state the process is in. Children that asked for it with
``process.die_with_parent`` die along.

What was tried with Linux: the signal reaches a process that is stopped. A fork does not inherit the timer, and it is
gone after exec. CLOCK_BOOTTIME goes on while the machine is suspended, and then the timer fires when it wakes up.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import time
from typing import Any

_TIMER_ABSTIME = 1
_SIGEV_SIGNAL = 0
_SIZE_OF_SIGEVENT = 64


class _Event(ctypes.Structure):
    """struct sigevent: the kernel copies 64 bytes."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal_number", ctypes.c_int),
        ("notify", ctypes.c_int),
        (
            "rest",
            ctypes.c_byte * (_SIZE_OF_SIGEVENT - ctypes.sizeof(ctypes.c_void_p) - 2 * ctypes.sizeof(ctypes.c_int)),
        ),
    )


class _Moment(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Times(ctypes.Structure):
    """struct itimerspec: when to fire, and after how long again (never)."""

    _fields_ = (("again", _Moment), ("first", _Moment))


def boot_time() -> float:
    """The seconds since this machine has started (CLOCK_BOOTTIME), time in which it was suspended included. Nobody can
    set this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class DeadMansSwitch:
    """One timer of this process. It is not armed at first. A fork has no part in it, and must make one of its own.

    Raises OSError where the kernel gives no timer (too many signals are pending, or it knows none on this clock).
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._libc = _with_timers()
        self._timer: ctypes.c_void_p | None = ctypes.c_void_p()
        event = _Event(signal_number=signal.SIGKILL, notify=_SIGEV_SIGNAL)
        self._checked(self._libc.timer_create(time.CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._timer)))

    def arm(self, until: float) -> None:
        """Have the kernel kill this process at that moment of ``boot_time``, at once where it has passed. The moment
        of an earlier call counts no more."""
        if not until > 0 or math.isinf(until):
            raise ValueError(f"{until!r} is no moment of CLOCK_BOOTTIME: give seconds, a finite number above 0")
        self._set(until)

    def disarm(self) -> None:
        """Let this process live. It may be armed again."""
        self._set(0.0)

    def close(self) -> None:
        """Disarm it for good. A second call does nothing, and neither does a call in a fork."""
        if self._timer is not None and os.getpid() == self._pid:
            self._checked(self._libc.timer_delete(self._timer))
        self._timer = None

    def _set(self, moment: float) -> None:
        if self._timer is None:
            raise RuntimeError("this dead man's switch is closed: make a new one")
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"this dead man's switch is of process {self._pid}: its fork {os.getpid()} makes its own"
            )
        nanoseconds = round(moment * 1e9)
        first = _Moment(*divmod(nanoseconds, 10**9))
        times = _Times(first=first)
        self._checked(self._libc.timer_settime(self._timer, _TIMER_ABSTIME, ctypes.byref(times), None))

    @staticmethod
    def _checked(answer: int) -> None:
        if answer != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"the kernel gives no timer for a dead man's switch: {os.strerror(number)}")


def _with_timers() -> Any:
    """The C library's functions for timers. Before version 2.34 of GNU's they were in a library of their own."""
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if hasattr(libc, "timer_create") else ctypes.CDLL("librt.so.1", use_errno=True)
