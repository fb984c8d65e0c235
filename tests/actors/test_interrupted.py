"""A step that the system has ended is told as that, and not as a crash of its own."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, cast

import pytest

from antistrophe import SagaOrchestrator, SagaStatus, Settings, StepCrashedError, StepInterruptedError
from antistrophe.actors.supervisor.child_process import ChildProcess
from antistrophe.actors.supervisor.ports import SupervisorPort, Wakeups
from antistrophe.actors.supervisor.running_attempts import RunningAttempts
from antistrophe.definition.spec import LeaseRequest, Origin
from antistrophe.messages import CallEnded, ProcessDead
from antistrophe.saga.entries import Lease
from antistrophe.scheduling.leases import StartProcess
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

    def now(self) -> float:
        return 0.0

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


def test_a_worker_keeps_nothing_of_the_calls_that_were_ended_in_it(tmp_path: Path) -> None:
    """It may have had a million of them."""
    supervisor, pool = Deaf(), ProcessPool(0, "p", async_limit=1, slots=2)
    port, worker = cast("SupervisorPort", supervisor), ChildProcess("p-a1", str(tmp_path), None, None, shared=True)
    worker.lease = Lease(worker.name, 4711, 99, "boot")
    attempts = RunningAttempts(port, str(tmp_path), pool, {worker.name: worker}, Wakeups(port))
    request = LeaseRequest(Origin(None, (), ""), ("m:S",), shared=True)
    pool.ask("saga", "client", request)
    assert pool.plan(0.0) == [StartProcess(worker.name, shared=True)]
    pool.ready(worker.name, 0.0)
    pool.plan(0.0)
    pool.loaded(worker.name, request.class_refs, 0.0)
    for count in (1, 2, 3):
        pool.ask("saga", "client", request)
        pool.plan(0.0)
        (lease_name,) = pool.processes.leased_to("saga")
        lease = worker.lease_named(lease_name)
        attempts.call_ended(CallEnded(lease_name))
        assert [each.lease for each in supervisor.told][count - 1 :] == [lease]
        assert (worker.slots, pool.processes.slot_names(worker.name)) == ({}, [])
