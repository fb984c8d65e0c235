"""kill -9 at every message of a saga between the actors: enumerated by a dry run, judged by what the steps wrote."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, SagaStatus, Settings
from antistrophe.process import processes_of_home
from tests.actors.staging import Stage, seen
from tests.chaos.blows import FOLDER, VICTIMS, Blow, Ring
from tests.chaos.oracle import Tally, judge
from tests.chaos.rounds import LONG
from tests.chaos.troupe import saga_of

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("completes", "compensates", "parks", "hangs")
SAMPLE = 14
"""How many of all points are struck where there is no time for all."""

TRIES = 3
"""A saga may go another way than in the dry run (a process is not ready yet); then its point is tried again."""

ENDS = {SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.FAILED}


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ring:
    folder = tmp_path / "blows"
    folder.mkdir()
    monkeypatch.setenv(FOLDER, str(folder))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests' / 'chaos' / 'injected'}:{ROOT}")
    return Ring(folder)


@pytest.fixture
def system(ring: Ring, tmp_path: Path) -> Iterator[SagaOrchestrator]:
    settings = Settings(drain_s=0.3, max_restarts=1000, restart_window_s=0.1, max_step_processes=2, report_s=0.0)
    with SagaOrchestrator(tmp_path / "home", settings=settings) as orchestrator:
        yield orchestrator
    assert processes_of_home(tmp_path / "home") == []


class Run:
    """Sagas one after another, each under at most one blow."""

    def __init__(self, system: SagaOrchestrator, stage: Stage, ring: Ring) -> None:
        self.system, self.stage, self.ring = system, stage, ring
        self.tally, self.ends, self.sagas = Tally(), Counter[str](), 0

    def saga(self, kind: str, blow: Blow | None) -> bool:
        """One saga of that kind, to its end; True where the blow fell."""
        self.sagas += 1
        saga = saga_of(self.stage, kind, f"{kind}-{self.sagas}-{blow}", pause_s=0.0)
        self.ring.open(saga.id, blow)
        self.system.start(saga)
        self.system.wait_idle(60.0)
        status = seen(self.system, saga.id).status
        fell = self.ring.fell()
        self.ring.close()
        judge(saga, status, self.stage.log.read(saga.id), self.tally)
        if status not in ENDS:
            self.tally.faults.append(f"{saga.id} has come to rest {status.value}")
        self.ends[f"{blow.victim if blow else 'nobody'}: {status.value}"] += 1
        return fell

    def points(self) -> list[tuple[str, Blow]]:
        """All points of all kinds, by a run of each kind in which nobody is struck."""
        points = []
        self.saga("completes", None)
        for kind in KINDS:
            self.saga(kind, None)
            counted = self.ring.counted()
            assert {actor for actor, _ in counted} >= {"SupervisorActor", "SagaHost", "StepActor", "RegistryActor"}
            points += [
                (kind, Blow(actor, message, number, when, victim))
                for (actor, message), most in sorted(counted.items())
                for number in range(1, most + 1)
                for when in ("before", "after")
                for victim in VICTIMS
            ]
        return points


@pytest.mark.timeout(7200 if LONG else 240)  # the system is started anew at almost every second point
def test_a_kill_at_any_message(system: SagaOrchestrator, ring: Ring, tmp_path: Path, run_seed: int) -> None:
    run = Run(system, Stage(tmp_path), ring)
    points = run.points()
    chosen = points if LONG else random.Random(run_seed).sample(points, SAMPLE)
    missed = []
    for kind, blow in chosen:
        for _ in range(TRIES):
            run.saga("completes", None)  # what the last blow left is started again, as it was in the dry run
            if run.saga(kind, blow):
                break
        else:
            missed.append(f"{kind} {blow}")
    struck = len(chosen) - len(missed)
    sys.stdout.write(f"seed {run_seed}: {struck} of {len(points)} points struck: {run.tally}; {dict(run.ends)}\n")
    assert not run.tally.faults, "\n".join(run.tally.faults)
    assert not missed, f"not struck: {missed}"
    assert system.history_count() == run.sagas
