"""How an ``execute`` can end, and what follows: the first column of the table, on real processes."""

from __future__ import annotations

import itertools
import signal
from datetime import datetime
from typing import Any

import pytest

from antistrophe import (
    RetryPolicy,
    SagaCancelledError,
    SagaOrchestrator,
    SagaStatus,
    StepCrashedError,
    StepFailedError,
    StepStatus,
    StepTimeoutError,
)
from tests.actors.staging import Stage, outcome, seen
from tests.actors.steps_act import Played
from tests.waiting import until

THRICE = RetryPolicy(max_attempts=3, initial_s=0.05, multiplier=2.0, jitter=False)
NOT_UNDONE = ["begin x", "undo a", "undone a"]
UNDONE = ["begin x", "undo x", "undone x", "undo a", "undone a"]


def played(system: SagaOrchestrator, stage: Stage, *forward: str, **options: Any) -> tuple[str, object, list[str]]:
    """The id, the end and the story of a saga of three steps whose second plays these parts."""
    saga = stage.saga(stage.act("a"), stage.act("x", *forward, **options), stage.act("z"))
    error = outcome(system, saga)
    return saga.id, error, stage.log.story(saga.id, ("beat", "cancelled"))[2:]


def test_returned_events_and_outputs_are_stored_in_step_order(system: SagaOrchestrator, stage: Stage) -> None:
    saga_id, events, story = played(system, stage)
    assert events == [Played("a", 1), Played("x", 1), Played("z", 1)]
    assert story == ["begin x", "done x", "begin z", "done z"]
    stored = system.event_store.read_stream(saga_id)
    assert system.event_store.get_events(saga_id) == [recorded.event for recorded in stored] == events
    assert [(each.metadata["step"], each.metadata["action"], each.metadata["attempt"]) for each in stored] == [
        ("a", "execute", 1), ("x", "execute", 1), ("z", "execute", 1),
    ]  # fmt: skip
    found = seen(system, saga_id)
    assert (found.status, found.steps_executed, found.error, found.waiting) == (SagaStatus.COMPLETED, 3, None, None)
    assert [step.status for step in found.steps] == [StepStatus.SUCCEEDED] * 3


def test_an_exception_means_that_nothing_happened(system: SagaOrchestrator, stage: Stage) -> None:
    saga_id, error, story = played(system, stage, "raise:no such account")
    assert isinstance(error, StepFailedError)
    assert (error.saga_id, error.step_index, error.step_name) == (saga_id, 1, "x")
    assert (error.error, error.error_type) == ("no such account", "ValueError")
    assert story == NOT_UNDONE
    assert [step.status for step in seen(system, saga_id).steps] == [
        StepStatus.COMPENSATED, StepStatus.FAILED, StepStatus.SKIPPED,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("part", "options", "error_type"),
    [("raise-after", {"atomic": False}, "ValueError"), ("doubt", {}, "InDoubtError"), ("fatal", {"atomic": False}, "")],
)
def test_an_exception_that_leaves_doubt_is_undone(
    system: SagaOrchestrator, stage: Stage, part: str, options: dict[str, Any], error_type: str
) -> None:
    saga_id, error, story = played(system, stage, part, retry=THRICE, **options)
    assert isinstance(error, StepFailedError)
    assert error.error_type == (error_type or "FatalError")
    assert [each for each in story if each != "done x"] == UNDONE, "doubt is not retried"
    assert seen(system, saga_id).steps[1].in_doubt


def test_a_process_that_sees_its_deadline_pass_is_in_doubt(system: SagaOrchestrator, stage: Stage) -> None:
    saga_id, error, story = played(system, stage, "tidy", timeout_s=1.0, retry=THRICE)
    assert isinstance(error, StepTimeoutError)
    assert error.duration_s == 1.0
    assert story == UNDONE
    assert stage.log.find(saga_id, "cancelled", "x"), "it could clean up"


@pytest.mark.parametrize("part", ["late", "shy"])
def test_what_an_attempt_says_when_it_is_told_to_end(system: SagaOrchestrator, stage: Stage, part: str) -> None:
    """One returns within its grace and has succeeded; one raises, and nobody knows what it had done."""
    saga_id, end, story = played(system, stage, part, timeout_s=1.0, kill_grace_s=20.0)
    if part == "late":
        assert end == [Played("a", 1), Played("x", 1), Played("z", 1)]
        assert story == ["begin x", "done x", "begin z", "done z"]
        assert seen(system, saga_id).steps[1].status is StepStatus.SUCCEEDED
    else:
        assert isinstance(end, StepTimeoutError)
        assert story == UNDONE


@pytest.mark.parametrize(
    ("part", "exit_code", "number"),
    [
        ("exit:0", 0, None),
        ("exit:3", 3, None),
        ("exit-after:3", 3, None),
        ("sysexit:0", 0, None),
        ("sysexit:7", 7, None),
        ("kill", None, signal.SIGKILL),
        ("kill-after", None, signal.SIGKILL),
        ("segv", None, signal.SIGSEGV),
        ("abort", None, signal.SIGABRT),
    ],
)
def test_a_process_that_dies_leaves_doubt_and_says_how(
    system: SagaOrchestrator, stage: Stage, part: str, exit_code: int | None, number: int | None
) -> None:
    saga_id, error, story = played(system, stage, part, retry=THRICE)
    assert isinstance(error, StepCrashedError), error
    assert (error.step_index, error.exit_code, error.signal) == (1, exit_code, number)
    assert [each for each in story if each != "done x"] == UNDONE, "found out at once, and not retried"
    assert seen(system, saga_id).steps[1].attempts == 1


@pytest.mark.parametrize("what", ["object", "large", "loop", "awkward", "no-event", "number", "events"])
def test_a_result_that_can_not_travel_is_undone(system: SagaOrchestrator, stage: Stage, what: str) -> None:
    saga_id, error, story = played(system, stage, f"unencodable:{what}", retry=THRICE, idempotent=True)
    assert isinstance(error, StepFailedError), error
    assert story == ["begin x", "done x", "undo x", "undone x", "undo a", "undone a"], "it did run, and runs no more"
    assert seen(system, saga_id).steps[1].in_doubt


# --- retries ------------------------------------------------------------------------------------------------------


def test_a_clean_failure_is_retried_by_policy_with_growing_waits(system: SagaOrchestrator, stage: Stage) -> None:
    policy = RetryPolicy(max_attempts=4, initial_s=0.2, multiplier=2.0, max_s=0.5, jitter=False)
    saga_id, events, _ = played(system, stage, "raise", "raise", "raise", "ok", retry=policy)
    assert events == [Played("a", 1), Played("x", 4), Played("z", 1)]
    begun = stage.log.find(saga_id, "begin", "x")
    assert [each.attempt for each in begun] == [1, 2, 3, 4]
    assert planned_waits_s(system, saga_id) == pytest.approx([0.2, 0.4, 0.5], abs=0.001)
    waits = [after.at - before.at for before, after in itertools.pairwise(begun)]
    assert all(wait >= least for wait, least in zip(waits, (0.2, 0.4, 0.5), strict=True)), waits


def planned_waits_s(system: SagaOrchestrator, saga_id: str) -> list[float]:
    """The waits before further attempts, as they were journaled: a machine may make them longer."""
    waits = []
    for entry in system.get_timeline(saga_id):
        if entry.kind == "RetryScheduled":
            due = entry.data["not_before"]
            assert isinstance(due, datetime)
            waits.append((due - entry.at).total_seconds())
    return waits


def test_a_policy_that_is_used_up_ends_in_failure(system: SagaOrchestrator, stage: Stage) -> None:
    saga_id, error, story = played(system, stage, "raise:1", "raise:2", "raise:3", "ok", retry=THRICE)
    assert isinstance(error, StepFailedError)
    assert error.error == "3"
    assert story == ["begin x"] * 3 + ["undo a", "undone a"]
    assert seen(system, saga_id).steps[1].attempts == 3


@pytest.mark.parametrize("part", ["hang", "exit:3", "doubt"])
def test_doubt_is_retried_for_an_idempotent_step(system: SagaOrchestrator, stage: Stage, part: str) -> None:
    _, events, story = played(system, stage, part, "ok", idempotent=True, timeout_s=1.0, kill_grace_s=0.1, retry=THRICE)
    assert events == [Played("a", 1), Played("x", 2), Played("z", 1)]
    assert story[-4:] == ["begin x", "done x", "begin z", "done z"]


def test_doubt_is_sticky(system: SagaOrchestrator, stage: Stage) -> None:
    """One attempt may have had its effect, the others had none: the step is undone."""
    _, error, story = played(system, stage, "exit-after:3", "raise", "raise", idempotent=True, retry=THRICE)
    assert isinstance(error, StepFailedError)
    assert story == ["begin x", "done x", "begin x", "begin x", "undo x", "undone x", "undo a", "undone a"]


def test_an_idempotent_step_has_three_attempts_where_nothing_is_said(system: SagaOrchestrator, stage: Stage) -> None:
    _, error, story = played(system, stage, "exit:3", idempotent=True)
    assert isinstance(error, StepCrashedError)
    assert story.count("begin x") == 3


def test_retryable_error_waits_as_it_says(system: SagaOrchestrator, stage: Stage) -> None:
    saga_id, events, _ = played(system, stage, "retryable:0.6", "ok")
    assert events == [Played("a", 1), Played("x", 2), Played("z", 1)]
    first, second = stage.log.find(saga_id, "begin", "x")
    assert second.at - first.at >= 0.6
    assert planned_waits_s(system, saga_id) == pytest.approx([0.6], abs=0.001)


def test_retryable_error_counts_within_the_policy(system: SagaOrchestrator, stage: Stage) -> None:
    _, error, story = played(system, stage, "retryable:0.01", retry=RetryPolicy(max_attempts=2))
    assert isinstance(error, StepFailedError)
    assert error.error_type == "RetryableError"
    assert story == ["begin x"] * 2 + ["undo a", "undone a"]
    _, error, story = played(system, stage, "retryable:0.01")
    assert isinstance(error, StepFailedError)
    assert story == ["begin x"] * 3 + ["undo a", "undone a"], "three where no policy is set"


@pytest.mark.parametrize("wait", ["nan", "inf", "-5"])
def test_a_wait_that_is_none_does_not_stop_the_saga(system: SagaOrchestrator, stage: Stage, wait: str) -> None:
    saga = stage.saga(stage.act("x", f"retryable:{wait}", "ok"))
    handle = system.start(saga)
    if wait != "inf":
        assert handle.result(20.0) == [Played("x", 2)]
        return
    until(lambda: "next attempt" in (seen(system, saga.id).waiting or ""), "a wait of years, which can be seen")
    assert handle.cancel("it takes too long") is True
    with pytest.raises(SagaCancelledError):
        handle.result(20.0)
    assert stage.log.story(saga.id) == ["begin x"]


def test_fatal_error_is_not_retried(system: SagaOrchestrator, stage: Stage) -> None:
    _, error, story = played(system, stage, "fatal", retry=THRICE)
    assert isinstance(error, StepFailedError)
    assert error.error_type == "FatalError"
    assert story == NOT_UNDONE


def test_a_long_wait_gives_everything_back_until_it_is_due(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.act("x", "retryable:2.5", "ok"))
    handle = system.start(saga)
    assert handle.result(20.0) == [Played("x", 2)]
    first, second = stage.log.find(saga.id, "begin", "x")
    assert 2.5 <= second.at - first.at < 15.0


# --- what is special ----------------------------------------------------------------------------------------------


def test_a_step_that_needs_no_compensation_gets_none(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(
        stage.act("a"), stage.act("x", requires_compensation=False), stage.act("y", "hang", timeout_s=0.3)
    )
    assert isinstance(outcome(system, saga), StepTimeoutError)
    assert [each for each in stage.log.story(saga.id) if each.startswith("und")] == [
        "undo y", "undone y", "undo a", "undone a",
    ]  # fmt: skip


def test_fresh_isolation_never_meets_another_attempt(system: SagaOrchestrator, stage: Stage) -> None:
    fresh = stage.saga(*(stage.act(f"x{n}", "raise", "ok", isolation="fresh", retry=THRICE) for n in range(3)))
    assert isinstance(outcome(system, fresh), list)
    pids = [each.pid for each in stage.log.find(fresh.id, "begin")]
    assert len(pids) == len(set(pids)) == 6
    reused = stage.saga(*(stage.act(f"x{n}") for n in range(3)))
    assert isinstance(outcome(system, reused), list)
    assert len({each.pid for each in stage.log.find(reused.id, "begin")}) == 1


def test_a_fork_that_comes_back_from_a_step_is_not_the_attempt(system: SagaOrchestrator, stage: Stage) -> None:
    saga_id, events, story = played(system, stage, "fork")
    assert events == [Played("a", 1), Played("x", 1), Played("z", 1)]
    assert story == ["begin x", "done x", "done x", "begin z", "done z"], "both say so, one is heard"
    assert len(system.event_store.get_events(saga_id)) == 3
