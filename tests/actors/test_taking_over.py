"""Sagas whose applications are gone: whoever runs them again with the same definition takes them over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antistrophe import AlreadyExecutingError, SagaDefinition, SagaExistsError, SagaOrchestrator, SagaStatus, Settings
from antistrophe.client import held_sagas
from tests.actors.staging import Stage, pid_of, seen
from tests.actors.steps_act import Played
from tests.killing import await_end, signal_to
from tests.waiting import until

SETTINGS = Settings(drain_s=0.2)

APPLICATION = """
import sys
from antistrophe import SagaDefinition, SagaOrchestrator, Settings
from tests.actors.steps_act import Act
if __name__ == "__main__":
    home, log, saga_id, back, *moves = sys.argv[1:]
    with SagaOrchestrator(home, settings=Settings(drain_s=0.2)) as orchestrator:
        saga = SagaDefinition(saga_id)
        for number, move in enumerate(moves):
            saga = saga.add_step(Act(log, f"s{number}", (move,), (back,), kill_grace_s=0.1))
        print(orchestrator.execute(saga))
"""


@pytest.fixture
def run(home: Path, stage: Stage, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Runs an application that executes one saga, with the default ``if_live``."""
    programs: list[subprocess.Popen[str]] = []
    file = tmp_path / "application.py"
    file.write_text(APPLICATION)

    def start(saga_id: str, *moves: str, back: str = "ok") -> subprocess.Popen[str]:
        arguments = [sys.executable, str(file), str(home), str(stage.log), saga_id, back, *moves]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        program = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.kill()
        program.communicate()
    await_end(home)


def same(stage: Stage, saga_id: str, *moves: str) -> SagaDefinition:
    """The definition that the application runs."""
    return stage.saga(*(stage.act(f"s{n}", move, kill_grace_s=0.1) for n, move in enumerate(moves)), saga_id=saga_id)


def begun(stage: Stage, saga_id: str) -> None:
    until(lambda: stage.log.find(saga_id, "begin"), f"the start of {saga_id}")


def once_nobody_holds_it(start: Callable[[], object]) -> object:
    """What ``start`` returns as soon as the launcher has noticed that an application is gone."""

    def tried() -> tuple[object] | None:
        try:
            return (start(),)
        except AlreadyExecutingError:
            return None

    return until(tried, "the end of the hold")[0]


def test_a_killed_script_that_is_run_again_goes_on(run: Callable[..., subprocess.Popen[str]], stage: Stage) -> None:
    for _ in range(3):  # the first time in its second step, then at its start
        first = run("again", "ok", "gate:later")
        until(lambda: stage.log.find("again", "begin", "s1"), "the second step")
        first.kill()
        first.communicate()
    stage.log.open_gate("later")
    output, errors = run("again", "ok", "gate:later").communicate(timeout=60)
    assert "AlreadyExecuting" not in errors
    assert "crashed" in errors or "Played" in output, errors


def test_the_undo_that_a_killed_script_owes_is_carried_out_when_it_is_run_again(
    home: Path, run: Callable[..., subprocess.Popen[str]], stage: Stage
) -> None:
    first = run("owed", "ok", "hang")
    until(lambda: stage.log.find("owed", "begin", "s1"), "the second step")
    first.kill()
    first.communicate()
    await_end(home)  # who comes before the end of the drain has it called off, and the step goes on
    _, errors = run("owed", "ok", "hang").communicate(timeout=60)
    assert "StepInterruptedError" in errors, errors
    assert stage.log.story("owed")[-2:] == ["undo s0", "undone s0"]


def test_beside_others_what_a_killed_application_ran_is_joined(
    home: Path, run: Callable[..., subprocess.Popen[str]], stage: Stage
) -> None:
    with SagaOrchestrator(home, settings=SETTINGS) as other:
        application = run("left", "gate:left")
        begun(stage, "left")
        saga = same(stage, "left", "gate:left")
        with pytest.raises(AlreadyExecutingError, match='if_live="join"'):
            other.start(saga)
        application.kill()
        handle = once_nobody_holds_it(lambda: other.start(saga))
        with pytest.raises(AlreadyExecutingError):
            other.start(saga)
        stage.log.open_gate("left")
        assert handle.result(30.0) == [Played("s0", 1)]  # type: ignore[attr-defined]
        assert len(stage.log.find("left", "begin")) == 1, "its attempt went on"


def test_one_that_was_closed_holds_nothing_and_another_definition_is_refused(home: Path, stage: Stage) -> None:
    saga = stage.saga(stage.act("x", "gate:closed"))
    with SagaOrchestrator(home, settings=SETTINGS) as stays:
        with SagaOrchestrator(home) as leaves:
            leaves.start(saga)
        other = stage.saga(stage.act("y", "gate:closed"), saga_id=saga.id)
        with pytest.raises(SagaExistsError, match="another definition"):
            once_nobody_holds_it(lambda: stays.start(other))
        assert stays.start(saga).id == saga.id
        stage.log.open_gate("closed")
        assert stays.handle(saga.id).result(30.0) == [Played("x", 1)]


def test_of_many_that_would_take_it_over_one_does(home: Path, stage: Stage) -> None:
    saga = stage.saga(stage.act("x", "gate:many", idempotent=True, kill_grace_s=0.1))
    with SagaOrchestrator(home, settings=SETTINGS) as first:
        first.start(saga)
        begun(stage, saga.id)
    ends: list[str] = []
    with SagaOrchestrator(home, settings=SETTINGS) as second, SagaOrchestrator(home) as third:
        barrier = threading.Barrier(20)

        def take(orchestrator: SagaOrchestrator) -> None:
            barrier.wait()
            try:
                orchestrator.start(saga)
                ends.append("won")
            except AlreadyExecutingError:
                ends.append("refused")

        threads = [threading.Thread(target=take, args=(each,)) for each in [second, third] * 10]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        second.cancel(saga.id)
        second.wait_idle(30.0)
    assert sorted(ends) == ["refused"] * 19 + ["won"]


@pytest.mark.parametrize("joined", [False, True], ids=["started", "joined"])
def test_what_a_living_application_holds_it_holds_after_a_restart_of_the_supervisor(
    home: Path, stage: Stage, joined: bool
) -> None:
    saga = stage.saga(stage.act("x", "gate:restart", idempotent=True, kill_grace_s=0.1))
    with SagaOrchestrator(home, settings=SETTINGS) as other:
        holder = SagaOrchestrator(home)
        if joined:
            with SagaOrchestrator(home) as starter:
                starter.start(saga)
                holder.start(saga, if_live="join")
        else:
            holder.start(saga)
        begun(stage, saga.id)
        before = pid_of(other, "supervisor")
        signal_to(before, signal.SIGKILL)
        for each in (other, holder):
            with pytest.raises(AlreadyExecutingError):
                each.start(saga)
        assert pid_of(other, "supervisor") != before
        holder.close()
        handle = once_nobody_holds_it(lambda: other.start(saga))
        stage.log.open_gate("restart")
        assert handle.result(30.0)  # type: ignore[attr-defined]
        assert seen(other, saga.id).status is SagaStatus.COMPLETED


def test_who_waits_for_a_saga_has_joined_it(home: Path, stage: Stage) -> None:
    saga = stage.saga(stage.act("x", "gate:waits"))
    with SagaOrchestrator(home, settings=SETTINGS) as other, SagaOrchestrator(home) as waits:
        with SagaOrchestrator(home) as leaves:
            leaves.start(saga)
            with pytest.raises(TimeoutError):
                waits.handle(saga.id).result(0.0)
        with pytest.raises(AlreadyExecutingError):
            other.start(saga)
        stage.log.open_gate("waits")
        assert other.start(saga, if_live="join").result(30.0) == [Played("x", 1)]


def test_a_session_that_starts_many_forgets_those_that_have_ended(
    home: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_sagas, "_FIRST_LOOK", 8)
    with SagaOrchestrator(home, settings=SETTINGS) as orchestrator:
        held = orchestrator._session.requests._held
        live = stage.saga(stage.act("x", "gate:forgets"))
        orchestrator.start(live)
        most = 0
        for _ in range(40):
            orchestrator.start(stage.saga())
            until(lambda: orchestrator.running_count() == 1, "the end of the others")
            most = max(most, sum(len(ids) for ids, _ in held.chunks()))
        assert most <= 16
        with pytest.raises(AlreadyExecutingError):
            orchestrator.start(live)
        stage.log.open_gate("forgets")
        orchestrator.wait_idle(30.0)
