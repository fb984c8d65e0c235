"""The rules of retries, doubt, verify, cancel, deadlines and undoing hold when everything dies, or stops, in between.

Each saga is brought to a point of its own; then every process of the system is killed at once, and the application that
is attached starts it anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from antistrophe import (
    CompensationFailedError,
    RetryPolicy,
    SagaCancelledError,
    SagaDefinition,
    SagaError,
    SagaOrchestrator,
    SagaStatus,
    Settings,
    StepCrashedError,
    StepFailedError,
    StepStatus,
    StepTimeoutError,
)
from antistrophe.linux.process import identity_of, is_alive
from antistrophe.linux.termination import processes_of_home
from tests.actors.staging import Stage, pid_of, seen
from tests.actors.steps_act import Played
from tests.killing import kill_all
from tests.waiting import until

ONCE = RetryPolicy(max_attempts=1)
WAIT_S = 3.0
DEADLINE_S = 6.0
"""A saga begins, and its system is stopped, before it is over."""

PATIENT = RetryPolicy(max_attempts=3, initial_s=WAIT_S, multiplier=1.0, jitter=False)


def end_of(system: SagaOrchestrator, saga_id: str) -> object:
    try:
        return system.handle(saga_id).result(30.0)
    except SagaError as error:
        return error


@dataclass
class Crash:
    """A system that has been killed as a whole, and the sagas that it ran then, by what they are about."""

    system: SagaOrchestrator
    stage: Stage
    sagas: dict[str, SagaDefinition] = field(default_factory=dict)

    def add(self, name: str, *steps: object, **options: object) -> None:
        self.sagas[name] = self.stage.saga(*steps, saga_id=name, **options)  # type: ignore[arg-type]

    def end(self, name: str) -> object:
        return end_of(self.system, name)

    def journaled(self, name: str, kind: str) -> bool:
        return any(entry.kind == kind for entry in self.system.get_timeline(name))

    def attempts(self, name: str, what: str, step: str) -> list[int]:
        return [each.attempt for each in self.stage.log.find(name, what, step)]


def cast(crash: Crash) -> None:
    """Write the sagas."""
    act, verified = crash.stage.act, crash.stage.verified
    crash.add("retries", act("a"), act("x", "raise", retry=PATIENT))
    crash.add("doubts", act("a"), act("x", "exit-after:3", "raise", idempotent=True, retry=PATIENT))
    crash.add("asks", act("a"), verified("x", "hang", verdict="applied"), act("z"))
    crash.add("is undone", act("a"), act("x", "hang"), act("z"))
    crash.add("is made again", act("a"), act("x", "hang", "ok", idempotent=True, retry=RetryPolicy(2)))
    crash.add("is cancelled", act("a"), act("x", "stubborn", kill_grace_s=20.0), act("z"))
    crash.add("runs late", act("a"), act("x", "stubborn", kill_grace_s=20.0, timeout_s=2.0), act("z"))
    crash.add("undoes", act("a", back=("hang", "ok"), compensation_retry=ONCE), act("x", "raise"))
    crash.add("fails to undo", act("a", back=("exit:3", "ok"), compensation_retry=ONCE), act("x", "raise"))
    both = {"on_compensation_failure": "continue"}
    crash.add("walks on", act("a", back="gate:on"), act("b", back="fatal"), act("x", "raise"), **both)


def come_to_the_points(crash: Crash) -> None:
    """Bring each saga to the point at which its process is killed."""
    log = crash.stage.log
    for saga in crash.sagas.values():
        crash.system.start(saga)
    for name in ("asks", "is undone", "is made again", "is cancelled"):
        until(lambda name=name: log.find(name, "beat", "x"), name)  # type: ignore[misc]
    assert crash.system.cancel("is cancelled", reason="changed my mind")
    for name, entry in (("retries", "RetryScheduled"), ("doubts", "RetryScheduled"), ("runs late", "AttemptExpired")):
        until(lambda name=name, entry=entry: crash.journaled(name, entry), name)  # type: ignore[misc]
    for name in ("undoes", "walks on"):
        until(lambda name=name: log.find(name, "undo", "a"), name)  # type: ignore[misc]
    until(lambda: seen(crash.system, "fails to undo").status is SagaStatus.FAILED, "the one that is parked")


@pytest.fixture(scope="module")
def crash(shared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crash]:
    settings = Settings(drain_s=0.3, max_step_processes=12)
    with SagaOrchestrator(shared_home, settings=settings) as system:
        crash = Crash(system, Stage(tmp_path_factory.mktemp("stage")))
        cast(crash)
        come_to_the_points(crash)
        living = [who for pid in processes_of_home(shared_home) if (who := identity_of(pid)) is not None]
        launcher = pid_of(system, "launcher")
        assert launcher in {each.pid for each in living}
        kill_all(shared_home)
        # Some of them die of the death of others before they are hit themselves.
        until(lambda: not any(is_alive(each) for each in living), "the death of everyone")
        crash.stage.log.open_gate("on")
        yield crash
    assert processes_of_home(shared_home) == []


def test_a_retry_keeps_its_count_and_its_wait(crash: Crash) -> None:
    assert isinstance(crash.end("retries"), StepFailedError)
    assert crash.attempts("retries", "begin", "x") == [1, 2, 3]
    first, second, _ = (each.at for each in crash.stage.log.find("retries", "begin", "x"))
    assert second - first >= WAIT_S
    assert crash.stage.log.story("retries")[-2:] == ["undo a", "undone a"]


def test_doubt_is_sticky(crash: Crash) -> None:
    """The first attempt took effect, and died; that those after the crash failed cleanly takes nothing back."""
    assert isinstance(crash.end("doubts"), StepFailedError)
    assert crash.attempts("doubts", "begin", "x") == [1, 2, 3]
    assert crash.stage.log.story("doubts")[-4:] == ["undo x", "undone x", "undo a", "undone a"]
    assert seen(crash.system, "doubts").steps[1].in_doubt


def test_verify_decides_about_an_attempt_that_died_with_the_system(crash: Crash) -> None:
    assert crash.end("asks") == [Played("a", 1), Played("x", 0), Played("z", 1)]
    story = crash.stage.log.story("asks")
    assert story == ["begin a", "done a", "begin x", "verify x", "begin z", "done z"]


def test_an_attempt_that_died_with_the_system_is_undone(crash: Crash) -> None:
    assert isinstance(crash.end("is undone"), StepCrashedError)
    story = crash.stage.log.story("is undone")
    assert story[2:] == ["begin x", "undo x", "undone x", "undo a", "undone a"]


def test_or_made_again_where_the_step_says_that_it_may_be(crash: Crash) -> None:
    assert crash.end("is made again") == [Played("a", 1), Played("x", 2)]
    assert crash.stage.log.story("is made again")[2:] == ["begin x", "begin x", "done x"]


def test_a_cancel_that_was_acknowledged_is_kept(crash: Crash) -> None:
    error = crash.end("is cancelled")
    assert isinstance(error, SagaCancelledError)
    assert "changed my mind" in str(error)
    story = crash.stage.log.story("is cancelled", ("beat", "cancelled"))
    assert story[2:] == ["begin x", "undo x", "undone x", "undo a", "undone a"]


def test_an_attempt_that_was_over_its_limit_is_not_taken_up_again(crash: Crash) -> None:
    """What ended it in the end was the crash, and is told."""
    assert isinstance(crash.end("runs late"), StepCrashedError)
    story = crash.stage.log.story("runs late", ("beat", "cancelled"))
    assert story[2:] == ["begin x", "undo x", "undone x", "undo a", "undone a"]


def test_a_compensation_that_died_with_the_system_is_made_again_and_does_not_count(crash: Crash) -> None:
    assert isinstance(crash.end("undoes"), StepFailedError)
    assert crash.attempts("undoes", "undo", "a") == [1, 2]
    assert crash.stage.log.story("undoes")[-1] == "undone a"
    assert seen(crash.system, "undoes").status is SagaStatus.COMPENSATED


def test_one_that_died_by_itself_stays_parked_until_somebody_retries_it(crash: Crash) -> None:
    assert isinstance(crash.end("fails to undo"), CompensationFailedError)
    assert crash.attempts("fails to undo", "undo", "a") == [1]
    crash.system.retry_compensation("fails to undo")
    until(lambda: seen(crash.system, "fails to undo").status is SagaStatus.COMPENSATED, "the retry")
    assert isinstance(crash.end("fails to undo"), StepFailedError)
    assert crash.attempts("fails to undo", "undo", "a") == [1, 2]


def test_continue_walks_on_to_the_end_and_parks_with_what_failed(crash: Crash) -> None:
    error = crash.end("walks on")
    assert isinstance(error, CompensationFailedError)
    assert error.step_name == "b"
    assert crash.attempts("walks on", "undo", "b") == [1], "what was given up is not tried again by a restart"
    steps = {step.name: step.status for step in seen(crash.system, "walks on").steps}
    assert (steps["a"], steps["b"]) == (StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED)


def test_a_deadline_that_passes_while_the_system_is_stopped(tmp_path: Path) -> None:
    """What a stop ended would be made again, if there were time."""
    stage = Stage(tmp_path)
    again = stage.act("x", "hang", "ok", idempotent=True, retry=RetryPolicy(3), kill_grace_s=0.1)
    saga = stage.saga(stage.act("a"), again, stage.act("z"), deadline_s=DEADLINE_S)
    settings = Settings(drain_s=0.1)
    with SagaOrchestrator(tmp_path / "home", settings=settings) as system:
        system.start(saga)
        late = time.monotonic() + DEADLINE_S
        until(lambda: stage.log.find(saga.id, "beat"), "the step that hangs")
    assert time.monotonic() < late, "it was stopped in time"
    until(lambda: time.monotonic() > late, "the deadline")
    with SagaOrchestrator(tmp_path / "home", settings=settings) as system:
        error = end_of(system, saga.id)
    assert isinstance(error, StepTimeoutError), error
    assert "deadline" in str(error)
    assert stage.log.story(saga.id)[2:] == ["begin x", "undo x", "undone x", "undo a", "undone a"]
