"""Messages between the actors that are lost, doubled, late or overtaken, by chance."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thespian.actors import WakeupMessage

from antistrophe import messages
from antistrophe.actors.base import RuntimeActor

FOLDER = "ANTISTROPHE_TEST_LOSSES"
SHARE = 0.02
"""Of all messages, how many meet each of the faults."""

FIRST = "ANTISTROPHE_TEST_LOSE_FIRST"
"""Or: the types of message (with commas between them) of which the first to each kind of actor is lost, and nothing
else."""

FAULTS = ("lost", "doubled", "late")
_TYPES = frozenset(getattr(messages, name) for name in messages.__all__ if isinstance(getattr(messages, name), type))


def counted(folder: Path) -> dict[str, int]:
    """How many messages met each fault."""
    return {fault: sum(file.stat().st_size for file in folder.glob(f"{fault}+*")) for fault in FAULTS}


def note(folder: str, fault: str, message: Any) -> None:
    """Count a message that met a fault."""
    file = Path(folder) / f"{fault}+{type(message).__name__}"
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, b".")
    os.close(descriptor)


def is_first(folder: str, actor: str, kind: str) -> bool:
    """Whether this is the first of that kind to that kind of actor, asked for once."""
    try:
        os.close(os.open(Path(folder) / f"first-{actor}-{kind}", os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def install(folder: str) -> None:
    """In every process of the system: let some messages meet a fault."""
    original = RuntimeActor.receiveMessage
    draws: dict[int, random.Random] = {}
    turns: dict[int, Iterator[str]] = {}
    late: list[tuple[Any, Any]] = []
    given = os.environ.get(FIRST)
    first = None if given is None else frozenset(given.split(","))

    def handle(self: RuntimeActor, message: Any, sender: Any) -> None:
        draw = draws.setdefault(os.getpid(), random.Random(f"{os.environ.get('ANTISTROPHE_TEST_SEED')}/{os.getpid()}"))
        kind = type(message)
        fault = None
        if first is not None:
            if kind.__name__ in first and is_first(folder, type(self).__name__, kind.__name__):
                note(folder, "lost", message)
                return
        elif kind in _TYPES and draw.random() < SHARE * len(FAULTS):
            # By turns, and not drawn: a machine that is slow has few messages, and each fault is to meet some of them.
            fault = next(turns.setdefault(os.getpid(), itertools.cycle(draw.sample(FAULTS, len(FAULTS)))))
            note(folder, fault, message)
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
