"""Attempts that hang: the system ends each, and proves it dead with all that it started, before the saga goes on."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import pytest

from antistrophe import (
    ResourceLimits,
    RetryPolicy,
    SagaCancelledError,
    SagaOrchestrator,
    SagaStatus,
    StepCrashedError,
    StepFailedError,
    StepTimeoutError,
)
from antistrophe.linux.process import identity_of
from tests.actors.staging import Stage, outcome, seen
from tests.killing import signal_to
from tests.waiting import until

DECIDED_WITHIN_S = 1.5
"""The limit and the grace take 0.5 s each; the system may take the rest. The fastest of ``RUNS`` counts, because the
machine may do other work, or stand still."""

RUNS = 5

SHORT: dict[str, Any] = {"timeout_s": 0.5, "kill_grace_s": 0.5}


def turn_took_s(orchestrator: SagaOrchestrator, saga_id: str) -> float:
    """Seconds from the start of the second step to the entry that turns the saga back, by the journal's clock."""
    times = {entry.kind: entry.at for entry in reversed(orchestrator.get_timeline(saga_id))}
    began = next(entry.at for entry in orchestrator.get_timeline(saga_id) if entry.data.get("step") == 1)
    return (times["TurnedBack"] - began).total_seconds()


def check_fenced(stage: Stage, saga_id: str, step: str) -> None:
    """The last beat of the attempt, and of what it had started, comes before the first line of its compensation."""
    effects = stage.log.read(saga_id)
    undo = next(each for each in effects if each.what == "undo" and each.step == step)
    before = [each for each in effects if each.step == step and each.what in ("begin", "beat", "cancelled", "done")]
    assert before
    last = max(before, key=lambda each: each.at)
    assert last.at < undo.at, f"{last} is after {undo}"
    assert all(each.at < undo.at for each in effects if each.what == "beat")
    for pid in {each.pid for each in before}:
        assert identity_of(pid) is None, f"{pid} lives"


REUSED_OR_FRESH = pytest.mark.parametrize("isolation", ["process", "fresh"])
HANGS = ["hang", "spin:deque", "spin:pow", "spin:regex", "stubborn", "crowd:hang", "stop"]


@REUSED_OR_FRESH
@pytest.mark.parametrize("part", HANGS)
def test_a_hung_attempt_is_decided_in_time_and_dead_before_it_is_compensated(
    system: SagaOrchestrator, stage: Stage, part: str, isolation: str
) -> None:
    system.execute(stage.saga(stage.act("warm")))
    decided_s = [decide(system, stage, part, isolation)]
    while min(decided_s) >= DECIDED_WITHIN_S and len(decided_s) < RUNS:
        decided_s.append(decide(system, stage, part, isolation))
    assert min(decided_s) < DECIDED_WITHIN_S, decided_s


def decide(system: SagaOrchestrator, stage: Stage, part: str, isolation: str) -> float:
    """Run a saga whose second step hangs in this way to its end; answer with the seconds until it turned back."""
    saga = stage.saga(stage.act("first"), stage.act("hung", part, isolation=isolation, **SHORT), stage.act("never"))
    began = time.monotonic()
    error = outcome(system, saga)
    took_s = time.monotonic() - began
    assert isinstance(error, StepTimeoutError), error
    assert (error.step_index, error.step_name, error.duration_s) == (1, "hung", 0.5)
    assert stage.log.story(saga.id, ("beat", "cancelled")) == [
        "begin first", "done first", "begin hung", "undo hung", "undone hung", "undo first", "undone first",
    ]  # fmt: skip
    check_fenced(stage, saga.id, "hung")
    decided_s = turn_took_s(system, saga.id)
    sys.stdout.write(f"{part}: decided after {decided_s:.3f} s, told after {took_s:.3f} s\n")
    assert decided_s >= 0.5
    assert seen(system, saga.id).status is SagaStatus.COMPENSATED
    return decided_s


@REUSED_OR_FRESH
@pytest.mark.parametrize("part", ["stray:hang", "daemon:hang"])
def test_what_has_left_the_group_of_an_attempt_is_dead_before_it_is_compensated(
    system: SagaOrchestrator, stage: Stage, part: str, isolation: str
) -> None:
    saga = stage.saga(stage.act("first"), stage.act("left", part, isolation=isolation, kill_grace_s=0.2))
    handle = system.start(saga)
    until(lambda: stage.log.find(saga.id, "beat"), "a sign of life of what has left")
    handle.cancel()
    with pytest.raises(SagaCancelledError):
        handle.result(30.0)
    check_fenced(stage, saga.id, "left")
    assert {each.note for each in stage.log.find(saga.id, "beat")} == {"own"}


@REUSED_OR_FRESH
@pytest.mark.parametrize(("part", "timeout_s"), [("spin:deque", 1.0), ("daemon:exit", 20.0)])
def test_a_compensation_is_dead_before_it_is_tried_again(
    system: SagaOrchestrator, stage: Stage, part: str, timeout_s: float, isolation: str
) -> None:
    """One hangs until its time is over, and one ends by itself once what it has started is at work."""
    undo: dict[str, Any] = {"compensation_timeout_s": timeout_s, "kill_grace_s": 0.2, "isolation": isolation}
    saga = stage.saga(stage.act("undone", back=(part, "ok"), **undo), stage.act("fails", "raise"))
    assert isinstance(outcome(system, saga), StepFailedError)
    undos = stage.log.find(saga.id, "undo")
    assert [each.attempt for each in undos] == [1, 2]
    beats = stage.log.find(saga.id, "beat")
    assert beats
    assert max(each.at for each in beats) < undos[1].at
    assert len(stage.log.find(saga.id, "undone")) == 1


@REUSED_OR_FRESH
@pytest.mark.parametrize(("part", "notes"), [("crowd:exit", {"child", "own"}), ("stray:exit", {"own"})])
def test_a_crashed_attempt_takes_what_it_had_started_along(
    system: SagaOrchestrator, stage: Stage, part: str, notes: set[str], isolation: str
) -> None:
    saga = stage.saga(stage.act("first"), stage.act("crowd", part, isolation=isolation))
    error = outcome(system, saga)
    assert isinstance(error, StepCrashedError)
    assert error.exit_code == 9
    check_fenced(stage, saga.id, "crowd")
    assert {each.note for each in stage.log.find(saga.id, "beat")} == notes


@pytest.mark.parametrize(("part", "processes"), [("crowd", 2), ("stray", 1)])
def test_what_a_finished_step_left_running_ends_with_its_process(
    system: SagaOrchestrator, stage: Stage, part: str, processes: int
) -> None:
    saga = stage.saga(stage.act("leaves", part, isolation="fresh"), stage.act("next"))
    assert isinstance(outcome(system, saga), list)
    pids = {each.pid for each in stage.log.find(saga.id, "beat")}
    assert len(pids) == processes
    until(lambda: not any(identity_of(pid) for pid in pids), "the end of what the step had started")


def test_a_process_in_which_somebody_took_sigterm_away_can_be_told_to_end(
    system: SagaOrchestrator, stage: Stage
) -> None:
    saga = stage.saga(stage.act("deaf", "deaf"), stage.act("tidy", "tidy", timeout_s=1.0))
    assert isinstance(outcome(system, saga), StepTimeoutError)
    begun = {each.step: each.pid for each in stage.log.find(saga.id, "begin")}
    assert begun["deaf"] == begun["tidy"], "the process was used again"
    assert stage.log.find(saga.id, "cancelled", "tidy")


@REUSED_OR_FRESH
def test_an_attempt_that_was_stopped_by_somebody_else_is_ended(
    system: SagaOrchestrator, stage: Stage, isolation: str
) -> None:
    saga = stage.saga(stage.act("stopped", "gate:never", isolation=isolation, timeout_s=3.0, kill_grace_s=0.2))
    handle = system.start(saga)
    (begun,) = until(lambda: stage.log.find(saga.id, "begin"), "the call, from which its time counts")
    signal_to(begun.pid, signal.SIGSTOP)
    with pytest.raises(StepTimeoutError):
        handle.result(30.0)
    check_fenced(stage, saga.id, "stopped")


# --- limits of an attempt -----------------------------------------------------------------------------------------


def test_memory_without_end_is_an_error_of_the_step(system: SagaOrchestrator, stage: Stage) -> None:
    limits = ResourceLimits(memory_bytes=64 << 20)
    saga = stage.saga(stage.act("eats", "memory", limits=limits), stage.act("never"))
    error = outcome(system, saga)
    assert isinstance(error, StepFailedError)
    assert error.error_type == "MemoryError"
    assert error.error.endswith(f"(limits.memory_bytes={64 << 20})")
    assert stage.log.story(saga.id) == ["begin eats"], "it did nothing, and is not compensated"
    again = stage.saga(stage.act("hoards", "pause:0"), stage.act("next"))
    assert isinstance(outcome(system, again), list), "the limit does not stay"


def test_processor_time_without_end_is_cut_off(system: SagaOrchestrator, stage: Stage) -> None:
    began = time.monotonic()
    saga = stage.saga(stage.act("burns", "burn", limits=ResourceLimits(cpu_s=1)))
    error = outcome(system, saga)
    assert isinstance(error, StepCrashedError)
    assert error.signal == signal.SIGXCPU
    assert "it used more processor time than limits.cpu_s=1 allows" in str(error)
    assert time.monotonic() - began < 25.0, "not at its time limit, which is 30 s"
    assert stage.log.story(saga.id) == ["begin burns", "undo burns", "undone burns"]
    spin = stage.saga(stage.act("spins", "spin:deque", limits=ResourceLimits(cpu_s=1)))
    error = outcome(system, spin)
    assert isinstance(error, StepCrashedError)
    check_fenced(stage, spin.id, "spins")


def test_open_files_without_end_are_an_error_of_the_step(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.act("opens", "files", limits=ResourceLimits(open_files=64)), stage.act("never"))
    error = outcome(system, saga)
    assert isinstance(error, StepFailedError)
    assert error.error_type == "OSError"
    assert "Too many open files" in error.error
    assert error.error.endswith("(limits.open_files=64)")
    assert isinstance(outcome(system, stage.saga(stage.act("next"))), list)


def test_neighbours_keep_their_pace_beside_one_that_hangs(system: SagaOrchestrator, stage: Stage) -> None:
    hung = [
        system.start(stage.saga(stage.act("hung", "spin:deque", timeout_s=300.0, kill_grace_s=0.1))) for _ in range(2)
    ]
    for handle in hung:
        until(lambda handle=handle: stage.log.find(handle.id, "beat"), "the one that hangs")  # type: ignore[misc]
    for number in range(20):
        saga = stage.saga(stage.act("quick"), saga_id=f"neighbour-{os.getpid()}-{number}")
        assert isinstance(outcome(system, saga, 20.0), list)
    for handle in hung:
        assert handle.cancel(), "all that time it has hung"
        with pytest.raises(SagaCancelledError):
            handle.result(30.0)


def test_many_attempts_end_at_once(system: SagaOrchestrator, stage: Stage) -> None:
    """The timers that look after processes that are being ended must not multiply."""
    handles = [
        system.start(stage.saga(stage.act("hung", "stubborn", timeout_s=0.5, kill_grace_s=0.3, retry=RetryPolicy(1))))
        for _ in range(8)
    ]
    for handle in handles:
        with pytest.raises(StepTimeoutError):
            handle.result(40.0)
        check_fenced(stage, handle.id, "hung")
