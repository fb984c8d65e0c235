"""kill -9 of one process of the system, found by its role, while sagas of every kind run."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from antistrophe import RetryPolicy, SagaOrchestrator, Settings
from tests.actors.staging import Stage
from tests.chaos.killing import ROLES, kill_role, settle, wait_for_lines
from tests.chaos.rounds import LONG, SAGAS
from tests.chaos.sample_sagas import sagas_of
from tests.waiting import until


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.timeout(150)  # the system may have to be started anew, on a busy machine
def test_one_of_that_role_is_killed(role: str, tmp_path: Path, run_seed: int, chaos_round: int) -> None:
    draw = random.Random(f"{run_seed}-{role}-{chaos_round}")
    stage = Stage(tmp_path)
    # One is at work until the kill: else there might be no step to kill any more.
    sagas = [*sagas_of(stage, SAGAS, draw), stage.saga(stage.act("a", "gate:go", idempotent=True), saga_id="at-work")]
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as orchestrator:
        for saga in sagas:
            orchestrator.start(saga)
        wait_for_lines(stage, draw.randrange(SAGAS * 5), draw)
        kill_role(orchestrator, role, draw)
        stage.log.open_gate("go")
        tally = settle(orchestrator, stage, sagas)
    sys.stdout.write(f"{role}: {tally}\n")


@pytest.mark.timeout(240)  # the system is started anew again and again
def test_one_after_another_is_killed(tmp_path: Path, run_seed: int, chaos_round: int) -> None:
    """With one step process and few sagas at a time, so that whatever a death leaves behind stands in the way."""
    draw = random.Random(f"{run_seed}-storm-{chaos_round}")
    stage = Stage(tmp_path)
    sagas = sagas_of(stage, SAGAS, draw)
    settings = Settings(
        drain_s=0.5, max_step_processes=draw.choice((1, 2)), max_running_sagas=3, max_restarts=100, restart_window_s=1.0
    )
    killed = []
    with SagaOrchestrator(tmp_path / "home", settings=settings) as orchestrator:
        for saga in sagas:
            orchestrator.start(saga)
        for turn in range(8 if LONG else 5):
            wait_for_lines(stage, turn * 3, draw)
            killed.append(draw.choice(ROLES))
            kill_role(orchestrator, killed[-1], draw)
        tally = settle(orchestrator, stage, sagas)
    sys.stdout.write(f"{', '.join(killed)}: {tally}\n")


@pytest.mark.parametrize("role", ["registry", "saga", "step"] if LONG else ["registry"])
@pytest.mark.timeout(120)  # what dies too often is started again after a while
def test_one_that_is_killed_too_often_is_back_after_a_while(role: str, tmp_path: Path, run_seed: int) -> None:
    draw = random.Random(f"{run_seed}-{role}")
    stage = Stage(tmp_path)
    settings = Settings(drain_s=0.2, max_restarts=2, restart_window_s=1.0)
    with SagaOrchestrator(tmp_path / "home", settings=settings) as orchestrator:
        saga = stage.saga(stage.act("a", "gate:go", retry=RetryPolicy(99, 0.01), idempotent=True), stage.act("b"))
        orchestrator.start(saga)
        for _ in range(6):
            kill_role(orchestrator, role, draw)
        stage.log.open_gate("go")
        tally = settle(orchestrator, stage, [saga])
        assert tally.completed == 1
        until(lambda: role in {each.role for each in orchestrator.processes()} | {"step"}, f"the {role} is back")
