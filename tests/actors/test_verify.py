"""``verify`` is called when a step is in doubt: it decides whether the step is done, not done, or stays in doubt."""

from __future__ import annotations

from typing import Any

import pytest

from antistrophe import RetryPolicy, SagaOrchestrator, StepCrashedError, StepStatus, StepTimeoutError
from tests.actors.staging import Stage, outcome, seen
from tests.actors.steps_act import Played

SHORT: dict[str, Any] = {"timeout_s": 2.0, "kill_grace_s": 0.1}
"""A hang is ended soon, and a verify that answers is done by then on a machine that stands still for a moment."""


@pytest.mark.parametrize("doubt", ["hang", "exit-after:3", "doubt", "kill"])
def test_applied_is_as_if_it_had_returned(system: SagaOrchestrator, stage: Stage, doubt: str) -> None:
    saga = stage.saga(stage.act("a"), stage.verified("x", doubt, verdict="applied", **SHORT), stage.act("z", "context"))
    assert outcome(system, saga) == [Played("a", 1), Played("x", 0)]
    story = stage.log.story(saga.id, ("beat", "cancelled", "done"))
    assert story == ["begin a", "begin x", "verify x", "begin z", "context z"]
    assert "'x': 'verified'" in stage.log.find(saga.id, "context")[0].note, "its output is the step's"
    step = seen(system, saga.id).steps[1]
    assert (step.status, step.in_doubt, step.attempts) == (StepStatus.SUCCEEDED, False, 1)


def test_not_applied_is_as_if_it_had_raised(system: SagaOrchestrator, stage: Stage) -> None:
    once = stage.saga(stage.act("a"), stage.verified("x", "exit:3", verdict="not-applied"))
    assert isinstance(outcome(system, once), StepCrashedError)
    assert stage.log.story(once.id)[2:] == ["begin x", "verify x", "undo a", "undone a"]
    retried = stage.saga(
        stage.act("a"), stage.verified("x", "exit:3", "ok", verdict="not-applied", retry=RetryPolicy(2, 0.01))
    )
    assert outcome(system, retried) == [Played("a", 1), Played("x", 2)]


@pytest.mark.parametrize("verdict", ["unknown", "raise", "hang", "kill", "exit:0", "unencodable:object"])
def test_a_verify_that_does_not_say_leaves_the_doubt(system: SagaOrchestrator, stage: Stage, verdict: str) -> None:
    saga = stage.saga(stage.act("a"), stage.verified("x", "hang", verdict=verdict, **SHORT))
    error = outcome(system, saga)
    assert isinstance(error, StepTimeoutError), error
    story = stage.log.story(saga.id, ("beat", "cancelled", "verified"))
    assert story[2:] == ["begin x", "verify x", "undo x", "undone x", "undo a", "undone a"]
    assert seen(system, saga.id).steps[1].in_doubt


def test_a_hung_verify_is_dead_before_the_compensation(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.verified("x", "exit:3", verdict="stubborn", **SHORT))
    assert isinstance(outcome(system, saga), StepCrashedError)
    undo = stage.log.find(saga.id, "undo")[0]
    beats = stage.log.find(saga.id, "beat")
    assert beats
    assert max(each.at for each in beats) < undo.at


def test_it_is_not_asked_where_there_is_no_doubt(system: SagaOrchestrator, stage: Stage) -> None:
    for part in ("ok", "raise", "unencodable:object"):
        saga = stage.saga(stage.verified("x", part))
        outcome(system, saga)
        assert not stage.log.find(saga.id, "verify"), part


def test_a_late_outcome_counts_and_nobody_is_asked(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.verified("x", "late", timeout_s=1.0, kill_grace_s=20.0, verdict="not-applied"))
    assert outcome(system, saga) == [Played("x", 1)]
    assert not stage.log.find(saga.id, "verify")


def test_not_applied_takes_back_an_earlier_doubt(system: SagaOrchestrator, stage: Stage) -> None:
    """Each doubt calls ``verify``; a step that was not applied in the end is not undone."""
    saga = stage.saga(stage.verified("x", "exit:3", idempotent=True, verdict="not-applied", retry=RetryPolicy(2, 0.01)))
    assert isinstance(outcome(system, saga), StepCrashedError)
    assert stage.log.story(saga.id) == ["begin x", "verify x", "begin x", "verify x"]
