"""kill -9 of everything, the application included, at any moment; and what a saga makes of what was left behind."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, SagaStatus, Settings
from tests.actors.staging import Stage, pid_of, seen
from tests.chaos.killing import settle, spin, written_outcomes
from tests.chaos.rounds import LONG, SAGAS
from tests.chaos.sample_sagas import sagas_of
from tests.killing import kill, kill_all, signal_to
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


class Application:
    """The program, and the ids of the sagas that were acknowledged to it."""

    def __init__(self, folder: Path, seed: str) -> None:
        arguments = [sys.executable, "-m", "tests.chaos.application", str(folder), seed, str(SAGAS)]
        self._program = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.acknowledged: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._program.stdout is not None
        self.acknowledged += [line.strip() for line in self._program.stdout if line.endswith("\n")]

    @property
    def ended(self) -> bool:
        return self._program.poll() is not None

    def kill(self) -> None:
        """A second time it does nothing."""
        self._program.kill()
        self._program.wait()
        self._reader.join()
        assert self._program.stdout is not None
        self._program.stdout.close()


@pytest.mark.timeout(240)  # everything is started anew, several times
def test_everything_is_killed_at_once(tmp_path: Path, run_seed: int, chaos_round: int) -> None:
    seed = f"{run_seed}-all-{chaos_round}"
    draw = random.Random(seed)
    stage = Stage(tmp_path)
    sagas = sagas_of(stage, SAGAS, random.Random(seed))
    acknowledged: set[str] = set()
    for _ in range(3 if LONG else 2):
        application = Application(tmp_path, seed)
        try:
            lines = draw.randrange(1, SAGAS * 2) + len(stage.log.read())
            until(lambda: len(stage.log.read()) >= lines or application.ended, f"{lines} effects", 60.0)  # noqa: B023
            spin(draw)
        finally:
            application_first = draw.random() < 0.5
            if application_first:
                application.kill()
            kill_all(tmp_path / "home")
            application.kill()
            kill_all(tmp_path / "home")
            acknowledged.update(application.acknowledged)
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.3)) as orchestrator:
        known = [saga for saga in sagas if orchestrator.get_saga(saga.id) is not None]
        assert acknowledged <= {saga.id for saga in known}, "acknowledged is durable"
        tally = settle(orchestrator, stage, known)
    sys.stdout.write(f"{len(acknowledged)} acknowledged; {tally}\n")


# --- what an attempt leaves behind --------------------------------------------------------------------------------


def one_at_its_outcome(orchestrator: SagaOrchestrator, stage: Stage, part: str) -> str:
    """A saga whose second step has marked its outcome, while its saga actor is stopped and can't journal it."""
    saga = stage.saga(stage.act("first"), stage.act("second", part), stage.act("third"), saga_id="adopted")
    orchestrator.start(saga)
    until(lambda: stage.log.find(saga.id, "begin", "second"), "the second step")
    signal_to(pid_of(orchestrator, "saga"), signal.SIGSTOP)
    stage.log.open_gate("second")
    until(lambda: written_outcomes(orchestrator.home, saga.id), "the outcome to be marked")
    return saga.id


@pytest.mark.parametrize("targets", ["saga", "supervisor", "all"])
def test_an_outcome_that_was_marked_and_not_journaled_is_adopted(targets: str, tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    home = tmp_path / "home"
    with SagaOrchestrator(home, settings=Settings(drain_s=0.3)) as orchestrator:
        saga_id = one_at_its_outcome(orchestrator, stage, "gate:second")
        if targets == "all":
            kill_all(home)
        else:
            kill(pid_of(orchestrator, targets))
        orchestrator.wait_idle(60.0)
        assert seen(orchestrator, saga_id).status is SagaStatus.COMPLETED
        events = orchestrator.event_store.get_events(saga_id)
        assert len(events) == 3
        adopted = [entry for entry in orchestrator.get_timeline(saga_id) if entry.data.get("adopted")]
        assert len(adopted) == (0 if targets == "saga" else 1), "the process lived on beside the dead saga actor"
    assert stage.log.story(saga_id) == [
        "begin first", "done first", "begin second", "done second", "begin third", "done third",
    ]  # fmt: skip


def test_an_attempt_lives_on_when_its_saga_actor_dies(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.3)) as orchestrator:
        saga = stage.saga(stage.act("first", "gate:first"), stage.act("second"), saga_id="lives-on")
        handle = orchestrator.start(saga)
        until(lambda: stage.log.story(saga.id), "the start of the step")
        for _ in range(3):
            pid = pid_of(orchestrator, "saga", saga.id)
            kill(pid)
            until(lambda pid=pid: pid_of(orchestrator, "saga", saga.id) != pid, "another host")  # type: ignore[misc]
        stage.log.open_gate("first")
        assert len(handle.result(30.0)) == 2
        found = seen(orchestrator, saga.id)
        assert [step.attempts for step in found.steps] == [1, 1]
    assert stage.log.story(saga.id) == ["begin first", "done first", "begin second", "done second"]


def test_a_limit_counts_on_when_the_saga_actor_dies(tmp_path: Path) -> None:
    """The successor ends the attempt at the deadline of the first."""
    stage = Stage(tmp_path)
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.3)) as orchestrator:
        saga = stage.saga(stage.act("hung", "hang", timeout_s=1.5, kill_grace_s=0.2), saga_id="limited")
        orchestrator.start(saga)
        until(lambda: stage.log.story(saga.id), "the start of the step")
        kill(pid_of(orchestrator, "saga", saga.id))
        orchestrator.wait_idle(30.0)
        assert "timed out after 1.5 s" in str(seen(orchestrator, saga.id).error)
    begin, undo = stage.log.find(saga.id, "begin")[0], stage.log.find(saga.id, "undo")[0]
    assert 1.4 <= undo.at - begin.at < 30.0  # its time began with the call, a little before it wrote


def test_an_intent_whose_call_was_never_made_is_not_held_against_the_step(tmp_path: Path) -> None:
    """Killed between the intent and the call: the step has one attempt, and gets it."""
    stage = Stage(tmp_path)
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.3)) as orchestrator:
        orchestrator.execute(stage.saga(stage.act("warm")))
        step = pid_of(orchestrator, "idle")
        signal_to(step, signal.SIGSTOP)  # it takes its order only when it is too late
        saga = stage.saga(stage.act("first"), stage.act("second"), saga_id="never-ran")
        handle = orchestrator.start(saga)
        until(lambda: any(e.kind == "AttemptStarted" for e in orchestrator.get_timeline(saga.id)), "the intent")
        kill(step)
        assert len(handle.result(30.0)) == 2
        assert [each.attempts for each in seen(orchestrator, saga.id).steps] == [1, 1]
        assert [each.attempt for each in stage.log.find(saga.id, "begin")] == [1, 1]
