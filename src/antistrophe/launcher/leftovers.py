"""What an earlier system of a home has left running, and that it is ended before another one starts."""

from __future__ import annotations

from pathlib import Path

from antistrophe.errors import SystemUnavailableError
from antistrophe.linux.termination import sweep

SWEEP_S = 5.0
"""How long the processes of a home may take to die."""


def sweep_leftovers(home: Path) -> None:
    """End what runs of an earlier system. Raises SystemUnavailableError where something can't be ended."""
    left = sweep(home, deadline_s=SWEEP_S)
    if left:
        raise SystemUnavailableError(survivors(home, left))


def survivors(home: Path, pids: list[int]) -> str:
    """What to do about processes that can't be ended."""
    return (
        f"processes of an earlier actor system of {home} can't be killed: pid {', '.join(map(str, pids))}; no system"
        " can start there until they are gone (see their state in /proc/PID/status)"
    )
