"""kill -9 at every message of a saga between the actors: enumerated by a dry run, judged by what the steps wrote."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, SagaStatus, Settings
from antistrophe.linux.termination import processes_of_home
from tests.actors.staging import Stage, seen
from tests.chaos.message_kill_points import FOLDER, VICTIMS, KillPoint, Ring
from tests.chaos.oracle import Tally, judge
from tests.chaos.rounds import LIMIT_S, LONG
from tests.chaos.sample_sagas import ONCE, saga_of
from tests.waiting import until

KINDS = ("completes", "compensates", "parks", "hangs")
ANSWERED_KINDS = ("completes", "compensates", "parks", "verifies")
PARTS = VICTIMS if LONG else ("any",)
GROUPS = [(kind,) for kind in KINDS] if LONG else [KINDS]
SAMPLE = 10
ANSWERS_SAMPLE = 6
"""How many of all points are struck where there is no time for all."""

DRY_RUNS = 3
TRIES = 5
"""Sagas may differ in a message (of two reports, one may do). A point is what each dry run of its kind has, and is
tried again where it was not reached."""


@pytest.fixture
def ring(injected: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ring:
    folder = tmp_path / "kill_points"
    folder.mkdir()
    monkeypatch.setenv(FOLDER, str(folder))
    return Ring(folder)


@pytest.fixture
def system(ring: Ring, tmp_path: Path) -> Iterator[SagaOrchestrator]:
    settings = Settings(drain_s=0.3, max_restarts=1000, restart_window_s=0.1, max_step_processes=2, report_s=0.0)
    with SagaOrchestrator(tmp_path / "home", settings=settings) as orchestrator:
        yield orchestrator
    assert processes_of_home(tmp_path / "home") == []


class Run:
    """Sagas one after another, each under at most one point. Their steps may begin once, forward."""

    def __init__(self, system: SagaOrchestrator, stage: Stage, ring: Ring) -> None:
        self.system, self.stage, self.ring = system, stage, ring
        self.tally, self.ends = Tally(), Counter[str]()
        self.acknowledged: list[str] = []
        self.in_vain = 0
        self.stories: dict[str, tuple[SagaStatus, list[str]]] = {}
        """Of each kind, what is told of one that nobody struck."""

    def saga(self, kind: str, point: KillPoint | None) -> tuple[SagaStatus, list[str]]:
        """One saga of that kind, to its end: where it came to rest, and what its steps wrote."""
        saga = saga_of(self.stage, kind, f"{kind}-{len(self.acknowledged)}-{point}", pause_s=0.0, retry=ONCE)
        self.ring.open(saga.id, point)
        self.system.start(saga)
        self.acknowledged.append(saga.id)
        self.system.wait_idle(60.0)
        status = seen(self.system, saga.id).status
        self.ring.close()
        judge(saga, status, self.stage.log.read(saga.id), self.tally)
        self.ends[f"{point.victim if point else 'nobody'}: {status.value}"] += 1
        return status, self.stage.log.story(saga.id)

    def struck(self, kind: str, point: KillPoint) -> tuple[SagaStatus, list[str]] | None:
        """A saga of that kind under that point; None where it never fell."""
        for _ in range(TRIES):
            self.warm_up()
            told = self.saga(kind, point)
            if self.ring.fell() or self.ring.in_vain():
                self.in_vain += self.ring.in_vain()
                return told
        return None

    def warm_up(self) -> None:
        """What the last point left is started again, and a step process waits for work, as in the dry run."""
        self.saga("completes", None)
        until(lambda: any(each.role == "idle" for each in self.system.processes()), "an idle step process", 60.0)

    def points(self, kinds: Sequence[str], victims: Sequence[str]) -> list[tuple[str, KillPoint]]:
        """All points of these kinds, by runs of each in which nobody is struck."""
        points = []
        for kind in kinds:
            met = self._dry_run(kind)
            for _ in range(DRY_RUNS - 1):
                met &= self._dry_run(kind)
            assert {actor for actor, *_ in met} == {"SupervisorActor", "SagaHost", "StepActor", "RegistryActor"}
            points += [
                (kind, KillPoint(actor, message, number, when, victim))
                for actor, message, number, when in sorted(met)
                for victim in victims
            ]
        return points

    def _dry_run(self, kind: str) -> set[tuple[str, str, int, str]]:
        self.warm_up()
        self.stories[kind] = self.saga(kind, None)
        return self.ring.moments()

    def report(self, what: str) -> None:
        """Print what was done; fail where a promise was broken, or a saga that was acknowledged is missing."""
        sys.stdout.write(f"{what}, {self.in_vain} when the victim had ended: {self.tally}; {dict(self.ends)}\n")
        assert not self.tally.faults, "\n".join(self.tally.faults)
        logs = [file.read_text() for file in (self.system.home / "log").glob("system.log")]
        assert not any("can't handle" in log for log in logs), (
            "an actor has ended itself, or a saga's, with nobody striking it"
        )
        assert {each.id for each in self.system.get_history(limit=100_000)} == set(self.acknowledged)


@pytest.mark.parametrize("victim", PARTS)
@pytest.mark.parametrize("kinds", GROUPS, ids="+".join)
@pytest.mark.timeout(LIMIT_S)
def test_a_kill_at_any_message(
    victim: str, kinds: tuple[str, ...], system: SagaOrchestrator, ring: Ring, tmp_path: Path, run_seed: int
) -> None:
    run = Run(system, Stage(tmp_path), ring)
    points = run.points(kinds, VICTIMS if victim == "any" else (victim,))
    chosen = points if LONG else random.Random(run_seed).sample(points, SAMPLE)
    missed = [f"{kind} {point}" for kind, point in chosen if run.struck(kind, point) is None]
    what = f"seed {run_seed}, {victim}, {'+'.join(kinds)}"
    run.report(f"{what}: {len(chosen) - len(missed)} of {len(points)} points struck")
    assert not missed, f"not struck: {missed}"


@pytest.mark.parametrize("victim", PARTS)
@pytest.mark.timeout(LIMIT_S)
def test_an_outcome_is_adopted_whoever_dies_before_it_is_journaled(
    victim: str, system: SagaOrchestrator, ring: Ring, tmp_path: Path, run_seed: int
) -> None:
    """Of every call of every step, forward, back and to verify: the step has marked it, and nobody has journaled it.
    It is as if nobody had died: nothing is run again, and no saga ends in another way."""
    run = Run(system, Stage(tmp_path), ring)
    points = run.points(ANSWERED_KINDS, VICTIMS if victim == "any" else (victim,))
    points = [(kind, point) for kind, point in points if point.message == "StepAnswer" and point.when != "after"]
    chosen = points if LONG else random.Random(run_seed).sample(points, ANSWERS_SAMPLE)
    wrong = []
    for kind, point in chosen:
        told = run.struck(kind, point)
        if told != run.stories[kind]:
            wrong.append(f"{kind} {point}: {told or 'not struck'}")
    run.report(f"seed {run_seed}, {victim}: {len(chosen)} of {len(points)} outcomes to adopt")
    assert not wrong, "\n".join(wrong)
