"""Signals to one process, or to all of a home, and the wait for their end."""

from __future__ import annotations

import signal
from pathlib import Path

from antistrophe.linux.process import identity_of, send_signal
from antistrophe.linux.termination import processes_of_home
from tests.waiting import until


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """kill -9, or another signal; False where there was nobody left to get it."""
    process = identity_of(pid)
    return process is not None and send_signal(process, number)


def signal_to(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that has to be there."""
    assert kill(pid, number), f"{pid} lives"


def kill_all(home: Path, number: int = signal.SIGKILL) -> int:
    """The signal for everything of that home in one go, with no order among them. Answers with how many got it."""
    return sum(kill(pid, number) for pid in processes_of_home(home))


def await_end(home: Path, within_s: float = 30.0) -> None:
    """Until no process of the home is left."""
    until(lambda: not processes_of_home(home), "the end of every process of the home", within_s)
