"""kill -9 at an exact journal write: before its commit, or after it and before anything is done about it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antistrophe.journal import GroupCommit, SqliteJournal
from antistrophe.linux.process import children_of, identity_of, parent_of, send_signal
from antistrophe.linux.termination import processes_of_home
from antistrophe.saga.entries import AttemptStarted

FOLDER = "ANTISTROPHE_TEST_KILL_AT_WRITE"
TARGETS = ("saga", "supervisor", "launcher", "registry", "step", "everything")
_HELD_S = 20.0


@dataclass(frozen=True, slots=True)
class KillPoint:
    """At the ``number``-th write (from 1) of a saga, ``before`` its commit or ``after`` it, kill the target."""

    number: int
    when: str
    target: str

    def __str__(self) -> str:
        return f"{self.number}-{self.when}-{self.target}"


class KillPlan:
    """The plan of a test, in a folder that all processes see: for each saga its kill point, the number of writes that
    were begun, and whether the kill took place."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def plan(self, saga_id: str, point: KillPoint) -> None:
        (self._folder / f"{saga_id}.plan").write_text(f"{point.number} {point.when} {point.target}")

    def writes(self, saga_id: str) -> int:
        """How many writes of this saga were begun."""
        with contextlib.suppress(FileNotFoundError):
            return (self._folder / f"{saga_id}.writes").stat().st_size
        return 0

    def killed(self, saga_id: str) -> bool:
        return (self._folder / f"{saga_id}.killed").exists()

    def count(self, saga_id: str) -> int:
        """Count a write. Returns its number among those of the saga."""
        descriptor = os.open(self._folder / f"{saga_id}.writes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, b".")
        number = os.fstat(descriptor).st_size
        os.close(descriptor)
        return number

    def planned(self, saga_id: str) -> KillPoint | None:
        with contextlib.suppress(FileNotFoundError):
            number, when, target = (self._folder / f"{saga_id}.plan").read_text().split()
            return KillPoint(int(number), when, target)
        return None

    def nobody_to_kill(self, saga_id: str) -> bool:
        """Whether no target was alive when the write was reached."""
        return (self._folder / f"{saga_id}.nobody-to-kill").exists()

    def note(self, saga_id: str, what: str) -> None:
        (self._folder / f"{saga_id}.{what}").touch()


def install(folder: str) -> None:
    """In every process of the system: look at each write before and after it."""
    plan = KillPlan(folder)
    original, commit = SqliteJournal.append, GroupCommit.commit
    leases: dict[str, int] = {}
    shared: list[tuple[str, KillPoint]] = []

    def append(self: SqliteJournal, saga_id: str, **arguments: Any) -> int:
        point, number = plan.planned(saga_id), plan.count(saga_id)
        due = point is not None and point.number == number
        if point is not None and due and point.when == "before":
            _kill(plan, saga_id, point, leases)
        position = original(self, saga_id, **arguments)
        started = [entry for entry in arguments["entries"] if isinstance(entry, AttemptStarted)]
        if started:
            leases[saga_id] = started[-1].lease.pid
        if point is not None and due and point.when == "after":
            if isinstance(self._database.transaction(), GroupCommit):
                shared.append((saga_id, point))  # durable only with the commit that it shares
            else:
                _kill(plan, saga_id, point, leases)
        return position

    def commit_shared(self: GroupCommit) -> None:
        commit(self)
        while shared:
            saga_id, point = shared.pop()
            _kill(plan, saga_id, point, leases)

    SqliteJournal.append = append  # type: ignore[method-assign]
    GroupCommit.commit = commit_shared  # type: ignore[method-assign]


def _kill(plan: KillPlan, saga_id: str, point: KillPoint, leases: dict[str, int]) -> None:
    me, home = os.getpid(), os.environ["ANTISTROPHE_HOME"]
    above = [parent_of(me) or 0]
    while len(above) < 3:
        above.append(parent_of(above[-1]) or 0)
    supervisor, _, launcher = above
    pids = {
        "saga": [me],
        "supervisor": [supervisor],
        "launcher": [launcher],
        # Beside the host that writes; a step process leads a group of its own.
        "registry": [pid for pid in children_of(supervisor) if pid != me and os.getpgid(pid) != pid],
        "step": [leases[saga_id]] if saga_id in leases else [],
        "everything": [pid for pid in processes_of_home(home) if pid != me],
    }[point.target]
    processes = [each for each in map(identity_of, pids) if each is not None]
    plan.note(saga_id, "killed" if processes else "nobody-to-kill")
    for process in processes:
        send_signal(process, signal.SIGKILL)
    if point.target in ("registry", "step"):
        return  # the saga host lives on
    if point.target == "everything":
        os.kill(me, signal.SIGKILL)
    held_until = time.monotonic() + _HELD_S
    while time.monotonic() < held_until:  # the death of the parents ends this process, too
        signal.pause()
