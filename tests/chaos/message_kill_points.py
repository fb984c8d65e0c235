"""kill -9 at an exact message between the actors: once it is sent, before it is handled, or after that."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antistrophe import messages
from antistrophe.actors.base import RuntimeActor
from antistrophe.actors.registry import RegistryActor
from antistrophe.actors.saga.host import SagaHost
from antistrophe.actors.step.step import StepActor
from antistrophe.actors.supervisor.supervisor import SupervisorActor
from antistrophe.linux.process import ProcessIdentity, identity_of, is_alive, parent_of, send_signal
from antistrophe.linux.termination import processes_of_home
from tests.killing import kill

FOLDER = "ANTISTROPHE_TEST_KILL_AT_MESSAGE"
TARGETS = ("launcher", "supervisor", "saga", "registry", "step", "everything")
_ACTORS = {"supervisor": "SupervisorActor", "saga": "SagaHost", "registry": "RegistryActor", "step": "StepActor"}
_TYPES = frozenset(getattr(messages, name) for name in messages.__all__ if isinstance(getattr(messages, name), type))
_QUERIES = frozenset(cls.__name__ for cls in messages.QUERIES)
_ANSWERS = frozenset(cls.__name__ for cls in messages.ANSWERS)
# Messages that come by themselves, or once for each process, are not part of the run of a saga.
_APART = _QUERIES | {"Configuration", "HostConfiguration", "StepConfiguration", "StepReady", "RegistryQuery"}
_APART_WHEN_SENT = _APART | _ANSWERS | {"Processes"}
_HELD_S = 20.0


@dataclass(frozen=True, slots=True)
class KillPoint:
    """At the ``number``-th message (from 1) of that type that this kind of actor has ``sent``, or that it is to handle
    (``before``) or has handled (``after``), kill the target."""

    actor: str
    message: str
    number: int
    when: str
    target: str

    def __str__(self) -> str:
        return f"{self.actor}-{self.message}-{self.number}-{self.when}-{self.target}"


class KillPlan:
    """The plan of a test, in a folder that all processes see: whose messages are counted, the next kill point, and
    whether the kill took place. A second folder names the process of each actor."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._actors = self._folder.with_name(f"{self._folder.name}-actors")
        self._actors.mkdir(exist_ok=True)

    def open(self, saga_id: str, point: KillPoint | None) -> None:
        """Count the messages of this saga from now on, and kill at ``point``."""
        for file in self._folder.iterdir():
            file.unlink()
        if point is not None:
            plan = f"{point.actor} {point.message} {point.number} {point.when} {point.target}"
            (self._folder / "plan").write_text(plan)
        (self._folder / "saga").write_text(saga_id)

    def close(self) -> None:
        """Count no more."""
        (self._folder / "saga").unlink(missing_ok=True)

    def moments(self) -> set[tuple[str, str, int, str]]:
        """Actor, message, number and when: every moment at which a process could have been killed. A call that its
        process did not survive has a moment before it and none after it."""
        found: set[tuple[str, str, int, str]] = set()
        for file in self._folder.iterdir():
            actor, _, kind = file.name.partition("+")
            message, _, when = kind.partition("@")
            if when == "after":
                found |= {(actor, message, int(number), when) for number in file.read_text().split()}
            elif when:
                found |= {(actor, message, number, when) for number in range(1, file.stat().st_size + 1)}
        # The message of an earlier saga may be handled only now, under a number of its own.
        return {each for each in found if each[3] != "after" or (*each[:3], "before") in found}

    def killed(self) -> bool:
        return (self._folder / "killed").exists()

    def nobody_to_kill(self) -> bool:
        """Whether the step process had already ended, by itself or by its time limit, when the point was reached."""
        return (self._folder / "nobody-to-kill").exists()

    def planned(self) -> KillPoint | None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            actor, message, number, when, target = (self._folder / "plan").read_text().split()
            return KillPoint(actor, message, int(number), when, target)
        return None

    def count(self, actor: str, message: Any, *, sent: bool) -> int | None:
        """Count a message. Returns its number among those of its type, or None if it is not counted."""
        try:
            saga_id = (self._folder / "saga").read_text()
        except FileNotFoundError:
            return None
        about = getattr(message, "saga_id", None) or getattr(getattr(message, "spec", None), "id", None)
        name = type(message).__name__
        apart = name in (_APART_WHEN_SENT if sent else _APART)
        if type(message) not in _TYPES or apart or about not in (None, saga_id):
            return None
        return _append(self._folder / f"{actor}+{name}@{'sent' if sent else 'before'}", b".")

    def handled(self, actor: str, message: Any, number: int) -> None:
        """Note that the actor has handled that message."""
        _append(self._folder / f"{actor}+{type(message).__name__}@after", b"%d " % number)

    def introduce(self, actor: str) -> None:
        """Note that this process runs that actor."""
        me = identity_of(os.getpid())
        assert me is not None, "this process lives"
        (self._actors / f"{actor}.{me.pid}").write_text(f"{me.pid} {me.start_ticks} {me.boot_id}")
        (self._actors / f"{actor}.{me.pid}").replace(self._actors / actor)

    def _living(self, actor: str) -> ProcessIdentity | None:
        with contextlib.suppress(FileNotFoundError):
            pid, ticks, boot = (self._actors / actor).read_text().split()
            identity = ProcessIdentity(int(pid), int(ticks), boot)
            return identity if is_alive(identity) else None
        return None

    def kill(self, target: str) -> None:
        """Kill the target and see it dead. Returns only if this process does not die with it."""
        process = self._living(_ACTORS[target]) if target in _ACTORS else None
        (self._folder / "plan").unlink(missing_ok=True)
        if target in _ACTORS and process is None:
            if target == "step":
                (self._folder / "nobody-to-kill").touch()
            return
        (self._folder / "killed").touch()
        me, home = os.getpid(), os.environ["ANTISTROPHE_HOME"]
        if process is not None and process.pid == me:
            os.kill(me, signal.SIGKILL)
        if process is not None:
            send_signal(process, signal.SIGKILL)
            until = time.monotonic() + _HELD_S
            while is_alive(process) and time.monotonic() < until:
                pass
            if target == "supervisor":
                _die_of_it()
            return
        others = [pid for pid in processes_of_home(home) if pid != me]
        if target == "launcher":
            others = [pid for pid in others if parent_of(pid) not in (*others, me)]
        for pid in others:
            kill(pid)
        if target == "everything":
            os.kill(me, signal.SIGKILL)
        _die_of_it()


def _append(file: Path, note: bytes) -> int:
    """Append with one write. Returns the size of the file."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, note)
    size = os.fstat(descriptor).st_size
    os.close(descriptor)
    return size


def _die_of_it() -> None:
    """Do nothing until the death of the parents ends this process, too."""
    held_until = time.monotonic() + _HELD_S
    while time.monotonic() < held_until:
        signal.pause()


def install(folder: str) -> None:
    """In every process of the system: look at each message when it is sent, and before and after it is handled."""
    plan = KillPlan(folder)
    send = RuntimeActor.send
    known: set[int] = set()

    def kill_if_due(actor: str, message: Any, number: int, when: str) -> None:
        point = plan.planned()
        if point is not None and point == KillPoint(actor, type(message).__name__, number, when, point.target):
            plan.kill(point.target)

    def handling(original: Callable[..., None]) -> Callable[..., None]:
        def handle(self: RuntimeActor, message: Any, sender: Any) -> None:
            actor = type(self).__name__
            if os.getpid() not in known or actor == "StepActor":  # of several, the one that was spoken to last
                known.add(os.getpid())
                plan.introduce(actor)
            number = plan.count(actor, message, sent=False)
            if number is not None:
                kill_if_due(actor, message, number, "before")
            original(self, message, sender)
            if number is not None:
                plan.handled(actor, message, number)
                kill_if_due(actor, message, number, "after")

        return handle

    def tell(self: RuntimeActor, to: Any, message: Any) -> None:
        send(self, to, message)
        number = plan.count(type(self).__name__, message, sent=True)
        if number is not None:
            kill_if_due(type(self).__name__, message, number, "sent")

    for cls in (SupervisorActor, SagaHost, RegistryActor, StepActor):
        cls.receiveMessage = handling(cls.receiveMessage)  # type: ignore[method-assign]
    RuntimeActor.send = tell  # type: ignore[method-assign, assignment]
