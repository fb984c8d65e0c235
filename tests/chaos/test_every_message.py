"""kill -9 at every message of a saga between the actors: enumerated by a dry run, checked by what the steps wrote."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, SagaStatus, Settings
from tests.actors.staging import Stage, running, seen
from tests.chaos.message_kill_points import FOLDER, TARGETS, KillPlan, KillPoint
from tests.chaos.oracle import Tally, check
from tests.chaos.rounds import LIMIT_S, LONG
from tests.chaos.sample_sagas import ONCE, saga_of
from tests.waiting import until

KINDS = ("completes", "compensates", "parks", "hangs")
ANSWERED_KINDS = ("completes", "compensates", "parks", "verifies")
PARTS = TARGETS if LONG else ("any",)
GROUPS = [(kind,) for kind in KINDS] if LONG else [KINDS]
SAMPLE = 10
ANSWERS_SAMPLE = 6
"""How many of all points are tried where there is no time for all."""

DRY_RUNS = 3
TRIES = 5
"""Sagas may differ in a message (of two reports, one may do). A point is what each dry run of its kind has, and is
tried again where it was not reached."""


@pytest.fixture
def plan(injected: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KillPlan:
    folder = tmp_path / "kill_points"
    folder.mkdir()
    monkeypatch.setenv(FOLDER, str(folder))
    return KillPlan(folder)


@pytest.fixture
def system(plan: KillPlan, tmp_path: Path) -> Iterator[SagaOrchestrator]:
    settings = Settings(drain_s=0.3, max_restarts=1000, restart_window_s=0.1, max_step_processes=2, report_s=0.0)
    yield from running(tmp_path / "home", settings)


class Run:
    """Sagas one after another, each under at most one point. Their steps may begin once, forward."""

    def __init__(self, system: SagaOrchestrator, stage: Stage, plan: KillPlan) -> None:
        self.system, self.stage, self.plan = system, stage, plan
        self.tally, self.ends = Tally(), Counter[str]()
        self.acknowledged: list[str] = []
        self.nobody_to_kill = 0
        self.stories: dict[str, tuple[SagaStatus, list[str]]] = {}
        """Of each kind, what is told of one that nobody killed."""

    def saga(self, kind: str, point: KillPoint | None) -> tuple[SagaStatus, list[str]]:
        """One saga of that kind, to its end: where it came to rest, and what its steps wrote."""
        saga = saga_of(self.stage, kind, f"{kind}-{len(self.acknowledged)}-{point}", pause_s=0.0, retry=ONCE)
        self.plan.open(saga.id, point)
        self.system.start(saga)
        self.acknowledged.append(saga.id)
        self.system.wait_idle(60.0)
        status = seen(self.system, saga.id).status
        self.plan.close()
        check(saga, status, self.stage.log.read(saga.id), self.tally)
        self.ends[f"{point.target if point else 'nobody'}: {status.value}"] += 1
        return status, self.stage.log.story(saga.id)

    def killed(self, kind: str, point: KillPoint) -> tuple[SagaStatus, list[str]] | None:
        """A saga of that kind under that point; None if it was never reached."""
        for _ in range(TRIES):
            self.warm_up()
            told = self.saga(kind, point)
            if self.plan.killed() or self.plan.nobody_to_kill():
                self.nobody_to_kill += self.plan.nobody_to_kill()
                return told
        return None

    def warm_up(self) -> None:
        """What the last point left is started again, and a step process waits for work, as in the dry run."""
        self.saga("completes", None)
        until(lambda: any(each.role == "idle" for each in self.system.processes()), "an idle step process", 60.0)

    def points(self, kinds: Sequence[str], targets: Sequence[str]) -> list[tuple[str, KillPoint]]:
        """All points of these kinds, by runs of each in which nobody is killed."""
        points = []
        for kind in kinds:
            met = self._dry_run(kind)
            for _ in range(DRY_RUNS - 1):
                met &= self._dry_run(kind)
            assert {actor for actor, *_ in met} == {"SupervisorActor", "SagaHost", "StepActor", "RegistryActor"}
            points += [
                (kind, KillPoint(actor, message, number, when, target))
                for actor, message, number, when in sorted(met)
                for target in targets
            ]
        return points

    def _dry_run(self, kind: str) -> set[tuple[str, str, int, str]]:
        self.warm_up()
        self.stories[kind] = self.saga(kind, None)
        return self.plan.moments()

    def report(self, what: str) -> None:
        """Print what was done; fail where a promise was broken, or a saga that was acknowledged is missing."""
        late = f"{self.nobody_to_kill} when the target had already ended"
        sys.stdout.write(f"{what}, {late}: {self.tally}; {dict(self.ends)}\n")
        assert not self.tally.faults, "\n".join(self.tally.faults)
        logs = [file.read_text() for file in (self.system.home / "log").glob("system.log")]
        assert not any("can't handle" in log for log in logs), (
            "an actor has ended itself, or a saga's, though nobody has killed it"
        )
        assert {each.id for each in self.system.get_history(limit=100_000)} == set(self.acknowledged)


@pytest.mark.parametrize("target", PARTS)
@pytest.mark.parametrize("kinds", GROUPS, ids="+".join)
@pytest.mark.timeout(LIMIT_S)
def test_a_kill_at_any_message(
    target: str, kinds: tuple[str, ...], system: SagaOrchestrator, plan: KillPlan, tmp_path: Path, run_seed: int
) -> None:
    run = Run(system, Stage(tmp_path), plan)
    points = run.points(kinds, TARGETS if target == "any" else (target,))
    chosen = points if LONG else random.Random(run_seed).sample(points, SAMPLE)
    missed = [f"{kind} {point}" for kind, point in chosen if run.killed(kind, point) is None]
    what = f"seed {run_seed}, {target}, {'+'.join(kinds)}"
    run.report(f"{what}: {len(chosen) - len(missed)} of {len(points)} points reached")
    assert not missed, f"not reached: {missed}"


@pytest.mark.parametrize("target", PARTS)
@pytest.mark.timeout(LIMIT_S)
def test_an_outcome_is_adopted_whoever_dies_before_it_is_journaled(
    target: str, system: SagaOrchestrator, plan: KillPlan, tmp_path: Path, run_seed: int
) -> None:
    """Of every call of every step, forward, back and to verify: the step has marked it, and nobody has journaled it.
    It is as if nobody had died: nothing is run again, and no saga ends in another way."""
    run = Run(system, Stage(tmp_path), plan)
    points = run.points(ANSWERED_KINDS, TARGETS if target == "any" else (target,))
    points = [(kind, point) for kind, point in points if point.message == "StepAnswer" and point.when != "after"]
    chosen = points if LONG else random.Random(run_seed).sample(points, ANSWERS_SAMPLE)
    wrong = []
    for kind, point in chosen:
        told = run.killed(kind, point)
        if told != run.stories[kind]:
            wrong.append(f"{kind} {point}: {told or 'not reached'}")
    run.report(f"seed {run_seed}, {target}: {len(chosen)} of {len(points)} outcomes to adopt")
    assert not wrong, "\n".join(wrong)
