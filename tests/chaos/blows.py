"""kill -9 at an exact message between the actors: before it is handled, or after, all that it caused on its way."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antistrophe import messages
from antistrophe.actors.base import RuntimeActor
from antistrophe.process import identity_of, parent_of, processes_of_home, send_signal

FOLDER = "ANTISTROPHE_TEST_BLOWS"
VICTIMS = ("itself", "launcher", "everything")
_TYPES = frozenset(getattr(messages, name) for name in messages.__all__ if isinstance(getattr(messages, name), type))
# What comes of its own accord, or once in the life of a process, is no part of the run of a saga.
_APART = frozenset({"Configuration", "HostConfiguration", "StepConfiguration", "StepReady", "Query", "RegistryQuery"})
_HELD_S = 20.0


@dataclass(frozen=True, slots=True)
class Blow:
    """At the ``number``-th message (from 1) of that type to that kind of actor, ``before`` or ``after`` it is handled,
    kill the victim."""

    actor: str
    message: str
    number: int
    when: str
    victim: str

    def __str__(self) -> str:
        return f"{self.actor}-{self.message}-{self.number}-{self.when}-{self.victim}"


class Ring:
    """One folder: what is counted now, the blow that is planned, and whether it fell."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def open(self, saga_id: str, blow: Blow | None) -> None:
        """Count the messages from now on, for this saga, and strike at ``blow``."""
        for file in self._folder.iterdir():
            file.unlink()
        if blow is not None:
            plan = f"{blow.actor} {blow.message} {blow.number} {blow.when} {blow.victim}"
            (self._folder / "plan").write_text(plan)
        (self._folder / "saga").write_text(saga_id)

    def close(self) -> None:
        """Count no more."""
        (self._folder / "saga").unlink(missing_ok=True)

    def counted(self) -> Counter[tuple[str, str]]:
        """How many messages of each type each kind of actor has got."""
        files = (file for file in self._folder.iterdir() if "+" in file.name)
        return Counter({(actor, kind): file.stat().st_size for file in files for actor, kind in [file.name.split("+")]})

    def fell(self) -> bool:
        return (self._folder / "fell").exists()

    def planned(self) -> Blow | None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            actor, message, number, when, victim = (self._folder / "plan").read_text().split()
            return Blow(actor, message, int(number), when, victim)
        return None

    def count(self, actor: str, message: Any) -> int | None:
        """Book a message; answers which one of its type it is, or None where it is not counted."""
        try:
            saga_id = (self._folder / "saga").read_text()
        except FileNotFoundError:
            return None
        about = getattr(message, "saga_id", None) or getattr(getattr(message, "spec", None), "id", None)
        if type(message) not in _TYPES or type(message).__name__ in _APART or about not in (None, saga_id):
            return None
        file = self._folder / f"{actor}+{type(message).__name__}"
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, b".")
        number = os.fstat(descriptor).st_size
        os.close(descriptor)
        return number

    def strike(self, victim: str) -> None:
        (self._folder / "plan").unlink(missing_ok=True)
        (self._folder / "fell").touch()
        me, home = os.getpid(), os.environ["ANTISTROPHE_HOME"]
        others = [pid for pid in processes_of_home(home) if pid != me]
        if victim == "launcher":
            others = [pid for pid in others if parent_of(pid) not in (*others, me)]
        for pid in [] if victim == "itself" else others:
            identity = identity_of(pid)
            if identity is not None:
                send_signal(identity, signal.SIGKILL)
        if victim != "launcher":
            os.kill(me, signal.SIGKILL)
        held_until = time.monotonic() + _HELD_S
        while time.monotonic() < held_until:  # the launcher's death is this one's, in a moment
            signal.pause()


def install(folder: str) -> None:
    """In every process of the system: look at each message before and after it is handled."""
    ring = Ring(folder)
    original = RuntimeActor.receiveMessage

    def handle(self: RuntimeActor, message: Any, sender: Any) -> None:
        actor = type(self).__name__
        number = ring.count(actor, message)
        blow = ring.planned() if number is not None else None
        due = blow is not None and (blow.actor, blow.message, blow.number) == (actor, type(message).__name__, number)
        if blow is not None and due and blow.when == "before":
            ring.strike(blow.victim)
        original(self, message, sender)
        if blow is not None and due and blow.when == "after":
            ring.strike(blow.victim)

    RuntimeActor.receiveMessage = handle  # type: ignore[method-assign]
