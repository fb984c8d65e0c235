"""The keeper of the step processes against processes that do what real ones can't be made to do at will."""

from __future__ import annotations

import os
from typing import Any

import pytest

from antistrophe.actors.supervisor import child_process
from antistrophe.actors.supervisor.process_keeper import ProcessKeeper
from antistrophe.definition.spec import LeaseRequest, Origin
from antistrophe.linux.process import boot_id
from antistrophe.messages import Configuration, ProcessDead, ProcessGrant, StepReady
from antistrophe.saga.entries import Lease
from antistrophe.settings import Settings

HERE = Origin(None, (), "/")


class Immortal:
    """A process in uninterruptible sleep: it was killed, and lives."""

    pid = os.getpid()
    exitcode = None

    def is_alive(self) -> bool:
        return True


class Owner:
    """A supervisor that writes down what it is asked for."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.wakes: list[float] = []
        self.grants: list[ProcessGrant] = []
        self.deaths: list[ProcessDead] = []
        self.refusals: list[str] = []
        self.made = 0

    def createActor(self, actor_class: type) -> object:  # noqa: N802 - Thespian's name
        self.made += 1
        return self.made

    def send(self, to: Any, message: Any) -> None:
        return

    def now(self) -> float:
        return self.clock

    def wake_in(self, seconds: float, payload: Any = None) -> None:
        self.wakes.append(seconds)

    def granted(self, grant: ProcessGrant) -> None:
        self.grants.append(grant)

    def refused(self, saga_id: str, reason: str, *, unguarded: bool = False, found: Origin | None = None) -> None:
        self.refusals.append(reason)

    def died(self, dead: ProcessDead) -> None:
        self.deaths.append(dead)


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> Owner:
    monkeypatch.setattr(child_process, "child_process", lambda parent, address: Immortal())
    monkeypatch.setattr(child_process.ChildProcess, "terminate", lambda self: None)
    monkeypatch.setattr(child_process, "kill_child", lambda pid, group: None)
    return Owner()


def test_looking_after_many_that_do_not_die_does_not_multiply(owner: Owner, tmp_path: Any) -> None:
    base = Configuration(str(tmp_path), Settings(max_step_processes=10), 0.0, os.getpid())
    steps = ProcessKeeper(owner, base, "p")
    for number in range(8):
        steps.ask(f"s{number}", "me", LeaseRequest(HERE, ()), "trip")
        lease = Lease(f"p-{number + 1}", 10_000_000 + number, 1, boot_id())
        steps.on_ready(StepReady(lease), sender=number)
    assert len(owner.grants) == 8
    for grant in owner.grants:
        steps.attempts.end(grant.saga_id, grant.lease, 0.5)
    owner.clock = 1.0
    owner.wakes.clear()
    for looks in range(1, 20):
        steps.look()
        assert len(owner.wakes) == looks, "each look asks for one more, however many there are"
    assert not owner.deaths, "nobody is reported dead who lives"


def test_a_saga_that_lost_its_grant_is_told_again_but_never_of_a_process_that_is_to_end(
    owner: Owner, tmp_path: Any
) -> None:
    base = Configuration(str(tmp_path), Settings(max_step_processes=1), 0.0, os.getpid())
    steps = ProcessKeeper(owner, base, "p")
    steps.ask("s", "me", LeaseRequest(HERE, ()), "trip")
    steps.on_ready(StepReady(Lease("p-1", 10_000_000, 1, boot_id())), sender=1)
    steps.ask("s", "me", LeaseRequest(HERE, ()), "trip")
    assert [grant.lease.name for grant in owner.grants] == ["p-1", "p-1"]
    steps.attempts.end("s", owner.grants[0].lease, 0.5)
    steps.ask("s", "me", LeaseRequest(HERE, ()), "trip")
    assert len(owner.grants) == 2
