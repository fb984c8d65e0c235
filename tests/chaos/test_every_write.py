"""kill -9 at every journal write of a saga: enumerated by a dry run, and checked by what the steps wrote."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from antistrophe import SagaDefinition, SagaOrchestrator, SagaStatus, Settings
from tests.actors.staging import Stage, pid_of, running, seen
from tests.chaos.oracle import Tally, check
from tests.chaos.rounds import LIMIT_S, LONG
from tests.chaos.sample_sagas import ONCE, saga_of
from tests.chaos.write_kill_points import FOLDER, TARGETS, KillPlan, KillPoint
from tests.waiting import until

KINDS = ("completes", "compensates", "parks", "hangs")
PARTS = TARGETS if LONG else ("any",)
SAMPLE = 10
"""How many of all points are tried where there is no time for all."""

UNHARMED = {
    "completes": SagaStatus.COMPLETED,
    "compensates": SagaStatus.COMPENSATED,
    "parks": SagaStatus.FAILED,
    "hangs": SagaStatus.COMPENSATED,
}


@pytest.fixture
def plan(injected: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KillPlan:
    folder = tmp_path / "kill_points"
    folder.mkdir()
    monkeypatch.setenv(FOLDER, str(folder))
    return KillPlan(folder)


@pytest.fixture
def system(plan: KillPlan, tmp_path: Path) -> Iterator[SagaOrchestrator]:
    settings = Settings(drain_s=0.3, max_restarts=1000, restart_window_s=0.1, max_step_processes=4)
    yield from running(tmp_path / "home", settings)


def run(system: SagaOrchestrator, saga: SagaDefinition) -> SagaStatus:
    system.start(saga)
    system.wait_idle(60.0)
    return seen(system, saga.id).status


def registry_of(system: SagaOrchestrator) -> int:
    return pid_of(system, "registry")


def every_point(
    system: SagaOrchestrator, stage: Stage, plan: KillPlan, targets: Sequence[str]
) -> list[tuple[str, KillPoint]]:
    """All points of all kinds, by a run of each kind in which nobody is killed. A process is warm then, which saves a
    write: where there is none, a saga is accepted first and begun later."""
    points = []
    run(system, stage.saga(stage.act("warm")))
    for kind in KINDS:
        saga = saga_of(stage, kind, f"dry-{kind}", pause_s=0.0, retry=ONCE)
        assert run(system, saga) is UNHARMED[kind]
        writes = plan.writes(saga.id)
        assert writes >= 4
        points += [
            (kind, KillPoint(number, when, target))
            for number in range(1, writes + 1)
            for when in ("before", "after")
            for target in targets
            if not (target == "step" and number == 1 and when == "before")  # there is none yet
        ]
    return points


@pytest.mark.parametrize("target", PARTS)
@pytest.mark.timeout(LIMIT_S)
def test_a_kill_at_any_journal_write(
    target: str, system: SagaOrchestrator, plan: KillPlan, tmp_path: Path, run_seed: int
) -> None:
    stage = Stage(tmp_path)
    points = every_point(system, stage, plan, TARGETS if target == "any" else (target,))
    chosen = points if LONG else random.Random(run_seed).sample(points, SAMPLE)
    tally, ends, nobody_to_kill = Tally(), Counter[str](), 0
    for kind, point in chosen:
        saga = saga_of(stage, kind, f"{kind}-{point}", pause_s=0.0, retry=ONCE)
        plan.plan(saga.id, point)
        registry = registry_of(system)
        status = run(system, saga)
        until(lambda it=saga.id: plan.killed(it) or plan.nobody_to_kill(it), f"the write {saga.id}")  # type: ignore[misc]
        assert point.target == "step" or plan.killed(saga.id), f"there was nobody to kill: {saga.id}"
        if point.target == "registry":  # the next saga is to find another one to kill
            until(lambda before=registry: registry_of(system) != before, "another registry")  # type: ignore[misc]
        nobody_to_kill += plan.nobody_to_kill(saga.id)
        check(saga, status, stage.log.read(saga.id), tally)
        ends[f"{point.target}: {status.value}"] += 1
        if point.target in ("saga", "registry") and status is not UNHARMED[kind]:
            tally.faults.append(f"{saga.id} ends {status.value}, though no step was touched")
    late = f"{nobody_to_kill} when the target had already ended"
    told = f"seed {run_seed}, {target}: {len(chosen)} of {len(points)} points, {late}"
    sys.stdout.write(f"{told}: {tally}; {dict(ends)}\n")
    assert not tally.faults, "\n".join(tally.faults)
    assert system.history_count() == 1 + len(KINDS) + len(chosen)
