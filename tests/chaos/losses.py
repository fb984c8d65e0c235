"""Messages between the actors that are lost, doubled, late or overtaken, by chance."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from thespian.actors import WakeupMessage

from antistrophe import messages
from antistrophe.actors.base import RuntimeActor

FOLDER = "ANTISTROPHE_TEST_LOSSES"
SHARE = 0.02
"""Of all messages, how many meet each of the faults."""

FIRST = "ANTISTROPHE_TEST_LOSE_FIRST"
"""Or: the type of message of which the first in each process is lost, and nothing else."""

FAULTS = ("lost", "doubled", "late")
_TYPES = frozenset(getattr(messages, name) for name in messages.__all__ if isinstance(getattr(messages, name), type))
# What a process is told first is the system's start, which is started anew as a whole where it fails.
_SAFE = frozenset({"Configuration", "HostConfiguration", "StepConfiguration", "StepReady", "Drain", "DrainSagas"})


def counted(folder: Path) -> dict[str, int]:
    """How many messages met each fault."""
    return {fault: sum(file.stat().st_size for file in folder.glob(f"{fault}+*")) for fault in FAULTS}


def install(folder: str) -> None:
    """In every process of the system: let some messages meet a fault."""
    original = RuntimeActor.receiveMessage
    draws: dict[int, random.Random] = {}
    late: list[tuple[Any, Any]] = []
    first = os.environ.get(FIRST)
    lost: set[int] = set()

    def note(fault: str, message: Any) -> None:
        file = Path(folder) / f"{fault}+{type(message).__name__}"
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, b".")
        os.close(descriptor)

    def handle(self: RuntimeActor, message: Any, sender: Any) -> None:
        draw = draws.setdefault(os.getpid(), random.Random(f"{os.environ.get('ANTISTROPHE_TEST_SEED')}/{os.getpid()}"))
        kind = type(message)
        fault = None
        if first is not None:
            if kind.__name__ == first and os.getpid() not in lost:
                lost.add(os.getpid())
                note("lost", message)
                return
        elif kind in _TYPES and kind.__name__ not in _SAFE and draw.random() < SHARE * len(FAULTS):
            fault = draw.choice(FAULTS)
            note(fault, message)
        if fault == "late":
            late.append((message, sender))
        elif fault != "lost":
            original(self, message, sender)
        if fault == "doubled":
            original(self, message, sender)
        # One that is late comes after the next message, or with the actor's next look at the clock.
        while late and fault != "late" and (kind is not WakeupMessage or draw.random() < 0.5):
            original(self, *late.pop(0))

    RuntimeActor.receiveMessage = handle  # type: ignore[method-assign]
