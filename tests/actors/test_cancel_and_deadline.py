"""Cancel and the deadline of a saga: the forward phase ends, what runs is fenced, what was done is undone."""

from __future__ import annotations

import time

import pytest

from antistrophe import (
    RetryPolicy,
    SagaCancelledError,
    SagaError,
    SagaHandle,
    SagaOrchestrator,
    SagaStatus,
    StepTimeoutError,
)
from tests.actors.staging import Stage, outcome, seen
from tests.waiting import until


def test_cancel_ends_what_runs_and_undoes_it(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.act("a"), stage.act("x", "stubborn", kill_grace_s=0.3), stage.act("z"))
    handle = system.start(saga)
    until(lambda: stage.log.find(saga.id, "beat"), "the step to cancel")
    assert handle.cancel("changed my mind") is True
    with pytest.raises(SagaCancelledError, match="changed my mind"):
        handle.result(20.0)
    assert stage.log.story(saga.id, ("beat", "cancelled"))[2:] == [
        "begin x",
        "undo x",
        "undone x",
        "undo a",
        "undone a",
    ]
    undo = stage.log.find(saga.id, "undo", "x")[0]
    assert max(each.at for each in stage.log.find(saga.id, "beat")) < undo.at
    assert handle.cancel() is False
    order = next(entry for entry in system.get_timeline(saga.id) if entry.kind == "CancelRequested")
    assert order.data["reason"] == "changed my mind"
    assert order.data["by"]


def test_an_attempt_that_returns_in_its_grace_is_undone_as_done(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.act("x", "late", back=("context",), kill_grace_s=30.0), stage.act("z"))
    handle = system.start(saga)
    until(lambda: stage.log.find(saga.id, "done", "x"), "the step to cancel")
    began = time.monotonic()
    assert handle.cancel() is True
    with pytest.raises(SagaCancelledError):
        handle.result(20.0)
    assert time.monotonic() - began < 15.0, "nobody waits for the rest of the grace"
    assert stage.log.story(saga.id, ("cancelled",)) == ["begin x", "done x", "undo x", "context x", "undone x"]
    assert "'output': 'x-1'" in stage.log.find(saga.id, "context")[0].note


def test_cancel_between_two_attempts(system: SagaOrchestrator, stage: Stage) -> None:
    for wait in (1.0, 30.0):  # with a saga actor that waits, and with one that has left
        policy = RetryPolicy(max_attempts=5, initial_s=wait, max_s=wait, jitter=False)
        saga = stage.saga(stage.act("a"), stage.act("x", "raise", retry=policy))
        handle = system.start(saga)
        until(lambda: "next attempt" in (seen(system, handle.id).waiting or ""), "the wait")  # noqa: B023
        assert handle.cancel() is True
        with pytest.raises(SagaCancelledError):
            handle.result(20.0)
        assert stage.log.story(saga.id)[2:] == ["begin x", "undo a", "undone a"]


def test_cancel_of_a_saga_that_goes_back_or_has_ended_has_no_effect(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.act("a", back=("gate:undo",)), stage.act("x", "raise"))
    handle = system.start(saga)
    until(lambda: stage.log.find(saga.id, "undo"), "the way back")
    assert handle.cancel() is False
    stage.log.open_gate("undo")
    system.wait_idle(20.0)
    assert handle.status() is SagaStatus.COMPENSATED
    assert handle.cancel() is False
    assert not [entry for entry in system.get_timeline(saga.id) if entry.kind == "CancelRequested"]


def end_of(handle: SagaHandle) -> object:
    try:
        return handle.result(20.0)
    except SagaError as error:
        return error


def test_cancel_as_soon_as_it_is_started(system: SagaOrchestrator, stage: Stage) -> None:
    """Wherever it is met, the saga ends; what has begun is undone, and what has not is left alone."""
    for _ in range(15):
        saga = stage.saga(stage.act("a"), stage.act("b", "pause:0.005"), stage.act("c"))
        handle = system.start(saga)
        cancelled = handle.cancel()
        end = end_of(handle)
        assert isinstance(end, SagaCancelledError) if cancelled else isinstance(end, list)
        begun = {each.step for each in stage.log.find(saga.id, "begin")}
        undone = {each.step for each in stage.log.find(saga.id, "undone")}
        assert begun <= undone if cancelled else not undone
        system.wait_idle(20.0)


def test_the_deadline_ends_the_forward_phase_and_nothing_else(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.act("a", back=("pause:2.5",)), stage.act("x", "tidy"), stage.act("z"), deadline_s=4.0)
    began = time.monotonic()
    error = outcome(system, saga)
    assert isinstance(error, StepTimeoutError)
    assert (error.step_name, error.duration_s) == ("x", 4.0)
    assert "deadline" in str(error)
    assert stage.log.story(saga.id, ("cancelled",))[2:] == ["begin x", "undo x", "undone x", "undo a", "undone a"]
    assert 4.0 <= stage.log.find(saga.id, "undo", "x")[0].at - began < 25.0


def test_a_deadline_that_passes_between_attempts(system: SagaOrchestrator, stage: Stage) -> None:
    policy = RetryPolicy(max_attempts=9, initial_s=60.0, max_s=60.0, jitter=False)
    saga = stage.saga(stage.act("a"), stage.act("x", "raise", retry=policy), deadline_s=4.0)
    began = time.monotonic()
    assert isinstance(outcome(system, saga), StepTimeoutError)
    assert time.monotonic() - began < 20.0, "nobody waits for the attempt that would come after it"
    assert stage.log.story(saga.id)[2:] == ["begin x", "undo a", "undone a"]


def test_a_deadline_is_the_last_moment_that_an_attempt_sees(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.act("x", "context"), deadline_s=20.0)
    assert isinstance(outcome(system, saga), list)
    left = stage.log.find(saga.id, "context")[0].note.partition("'left_s': ")[2].partition(",")[0]
    assert float(left) <= 20.0, "the step itself would have 30 s"
