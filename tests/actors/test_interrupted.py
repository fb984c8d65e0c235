"""A step that the system has ended is told as that, and not as a crash of its own."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, cast

import pytest

from antistrophe import SagaOrchestrator, SagaStatus, Settings, StepCrashedError, StepInterruptedError
from antistrophe.actors.supervisor.ports import SupervisorPort, Wakeups
from antistrophe.actors.supervisor.running_attempts import RunningAttempts
from antistrophe.messages import ProcessDead
from antistrophe.saga.entries import Lease
from antistrophe.scheduling.process_pool import ProcessPool
from tests.actors.staging import Stage, pid_of, seen
from tests.killing import signal_to
from tests.waiting import until

SETTINGS = Settings(drain_s=0.2)


def test_a_step_that_a_stop_has_ended_says_so_and_is_undone(tmp_path: Path, stage: Stage) -> None:
    saga = stage.saga(stage.act("long", "gate:never", kill_grace_s=0.1))
    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as orchestrator:
        orchestrator.start(saga)
        until(lambda: stage.log.find(saga.id, "begin"), "the step")
    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as orchestrator:
        with pytest.raises(StepInterruptedError, match="was interrupted: the actor system"):
            orchestrator.execute(saga, timeout_s=60.0)
        assert seen(orchestrator, saga.id).status is SagaStatus.COMPENSATED
    assert stage.log.story(saga.id)[-2:] == ["undo long", "undone long"]


def test_a_step_that_died_with_its_system_says_so_and_no_other_does(tmp_path: Path, stage: Stage) -> None:
    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as orchestrator:
        lost, crashed = stage.saga(stage.act("x", "gate:never")), stage.saga(stage.act("x", "exit:3"))
        handle = orchestrator.start(lost)
        until(lambda: stage.log.find(lost.id, "begin"), "the step")
        signal_to(pid_of(orchestrator, "supervisor"), signal.SIGKILL)
        with pytest.raises(StepInterruptedError, match="the actor system that ran it died"):
            handle.result(60.0)
        with pytest.raises(StepCrashedError, match="crashed") as alone:
            orchestrator.execute(crashed, timeout_s=60.0)
        assert not isinstance(alone.value, StepInterruptedError)


class Deaf:
    """A supervisor whose first word of a death gets lost."""

    def __init__(self) -> None:
        self.told: list[ProcessDead] = []

    def died(self, dead: ProcessDead) -> None:
        self.told.append(dead)


def test_a_death_whose_word_was_lost_is_told_again_though_another_lease_is_given_back(tmp_path: Path) -> None:
    supervisor = Deaf()
    port = cast("SupervisorPort", supervisor)
    attempts = RunningAttempts(port, str(tmp_path), ProcessPool(1, "p"), {}, Wakeups(port))
    lease = Lease("p-1", 4711, 99, "boot")
    dead = ProcessDead("saga", lease, None, 11, by_system=False)
    cast("Any", attempts)._report(dead)
    attempts.settled("saga", "p-2")
    attempts.adopt("saga", lease)
    assert supervisor.told == [dead, dead]
    attempts.settled("saga", "p-1")
    attempts.adopt("saga", lease)
    assert supervisor.told[-1].by_system, "nothing is known of it any more"
