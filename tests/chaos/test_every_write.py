"""kill -9 at every journal write of a saga: enumerated by a dry run, and judged by what the steps wrote."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from antistrophe import SagaDefinition, SagaOrchestrator, SagaStatus, Settings
from antistrophe.linux.termination import processes_of_home
from tests.actors.staging import Stage, seen
from tests.chaos.oracle import Tally, judge
from tests.chaos.rounds import LIMIT_S, LONG
from tests.chaos.sample_sagas import ONCE, saga_of
from tests.chaos.write_kill_points import FOLDER, VICTIMS, KillPoint, Plan
from tests.waiting import until

KINDS = ("completes", "compensates", "parks", "hangs")
PARTS = VICTIMS if LONG else ("any",)
SAMPLE = 10
"""How many of all points are struck where there is no time for all."""

UNHARMED = {
    "completes": SagaStatus.COMPLETED,
    "compensates": SagaStatus.COMPENSATED,
    "parks": SagaStatus.FAILED,
    "hangs": SagaStatus.COMPENSATED,
}


@pytest.fixture
def plan(injected: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    folder = tmp_path / "kill_points"
    folder.mkdir()
    monkeypatch.setenv(FOLDER, str(folder))
    return Plan(folder)


@pytest.fixture
def system(plan: Plan, tmp_path: Path) -> Iterator[SagaOrchestrator]:
    settings = Settings(drain_s=0.3, max_restarts=1000, restart_window_s=0.1, max_step_processes=4)
    with SagaOrchestrator(tmp_path / "home", settings=settings) as orchestrator:
        yield orchestrator
    assert processes_of_home(tmp_path / "home") == []


def run(system: SagaOrchestrator, saga: SagaDefinition) -> SagaStatus:
    system.start(saga)
    system.wait_idle(60.0)
    return seen(system, saga.id).status


def registry_of(system: SagaOrchestrator) -> int:
    return next(each.pid for each in system.processes() if each.role == "registry")


def every_point(
    system: SagaOrchestrator, stage: Stage, plan: Plan, victims: Sequence[str]
) -> list[tuple[str, KillPoint]]:
    """All points of all kinds, by a run of each kind in which nobody is struck. A process is warm then, which saves a
    write: where there is none, a saga is accepted first and begun later."""
    points = []
    run(system, stage.saga(stage.act("warm")))
    for kind in KINDS:
        saga = saga_of(stage, kind, f"dry-{kind}", pause_s=0.0, retry=ONCE)
        assert run(system, saga) is UNHARMED[kind]
        writes = plan.writes(saga.id)
        assert writes >= 4
        points += [
            (kind, KillPoint(number, when, victim))
            for number in range(1, writes + 1)
            for when in ("before", "after")
            for victim in victims
            if not (victim == "step" and number == 1 and when == "before")  # there is none yet
        ]
    return points


@pytest.mark.parametrize("victim", PARTS)
@pytest.mark.timeout(LIMIT_S)
def test_a_kill_at_any_journal_write(
    victim: str, system: SagaOrchestrator, plan: Plan, tmp_path: Path, run_seed: int
) -> None:
    stage = Stage(tmp_path)
    points = every_point(system, stage, plan, VICTIMS if victim == "any" else (victim,))
    chosen = points if LONG else random.Random(run_seed).sample(points, SAMPLE)
    tally, ends, in_vain = Tally(), Counter[str](), 0
    for kind, point in chosen:
        saga = saga_of(stage, kind, f"{kind}-{point}", pause_s=0.0, retry=ONCE)
        plan.aim(saga.id, point)
        registry = registry_of(system)
        status = run(system, saga)
        until(lambda it=saga.id: plan.struck(it) or plan.in_vain(it), f"the write {saga.id}", 5.0)  # type: ignore[misc]
        assert point.victim == "step" or plan.struck(saga.id), f"there was nobody to kill: {saga.id}"
        if point.victim == "registry":  # the next saga is to find another one to kill
            until(lambda before=registry: registry_of(system) != before, "another registry")  # type: ignore[misc]
        in_vain += plan.in_vain(saga.id)
        judge(saga, status, stage.log.read(saga.id), tally)
        ends[f"{point.victim}: {status.value}"] += 1
        if point.victim in ("saga", "registry") and status is not UNHARMED[kind]:
            tally.faults.append(f"{saga.id} ends {status.value}, though no step was touched")
    told = f"seed {run_seed}, {victim}: {len(chosen)} of {len(points)} points, {in_vain} when the victim had ended"
    sys.stdout.write(f"{told}: {tally}; {dict(ends)}\n")
    assert not tally.faults, "\n".join(tally.faults)
    assert system.history_count() == 1 + len(KINDS) + len(chosen)
