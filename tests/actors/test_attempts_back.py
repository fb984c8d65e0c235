"""How a ``compensate`` can end, parking, and what operators do: the second column of the table, on real processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from antistrophe import (
    CompensationFailedError,
    RequestError,
    RetryPolicy,
    SagaDefinition,
    SagaNotFoundError,
    SagaOrchestrator,
    SagaStatus,
    StepFailedError,
    StepStatus,
)
from tests.actors.staging import Stage, outcome, seen, wait_for_status
from tests.waiting import until

ONCE = RetryPolicy(max_attempts=1)


def fails_after(stage: Stage, *parts: str, **options: Any) -> SagaDefinition:
    """Two steps and one that fails; the compensation of the second plays these parts."""
    return stage.saga(stage.act("a"), stage.act("x", back=parts, **options), stage.act("fails", "raise"))


@pytest.mark.parametrize("part", ["raise", "retryable:0.05", "doubt", "exit:3", "sysexit:0", "kill", "segv"])
def test_a_compensation_that_ends_badly_is_made_again(system: SagaOrchestrator, stage: Stage, part: str) -> None:
    saga = fails_after(stage, part, "ok")
    assert isinstance(outcome(system, saga), StepFailedError)
    undos = stage.log.find(saga.id, "undo")
    assert [(each.step, each.attempt) for each in undos] == [("x", 1), ("x", 2), ("a", 1)]
    assert stage.log.story(saga.id)[-3:] == ["undone x", "undo a", "undone a"]
    found = seen(system, saga.id)
    assert found.status is SagaStatus.COMPENSATED
    assert [step.status for step in found.steps] == [
        StepStatus.COMPENSATED, StepStatus.COMPENSATED, StepStatus.FAILED,
    ]  # fmt: skip


def test_a_compensation_that_takes_too_long_is_made_again(system: SagaOrchestrator, stage: Stage) -> None:
    saga = fails_after(stage, "tidy", "ok", compensation_timeout_s=1.0)
    assert isinstance(outcome(system, saga), StepFailedError)
    first, second = stage.log.find(saga.id, "undo", "x")
    assert stage.log.find(saga.id, "cancelled", "x")[0].at < second.at
    assert second.at - first.at >= 0.9  # its time began with the call, a little before it wrote


@pytest.mark.parametrize("what", ["object", "large", "number"])
def test_an_undo_whose_result_can_not_travel_is_done(system: SagaOrchestrator, stage: Stage, what: str) -> None:
    saga = fails_after(stage, f"unencodable:{what}")
    assert isinstance(outcome(system, saga), StepFailedError)
    assert len(stage.log.find(saga.id, "undo", "x")) == 1
    warnings = [entry.data["warning"] for entry in system.get_timeline(saga.id) if entry.data.get("warning")]
    assert len(warnings) == 1, "and it is written down what was wrong"


def test_the_events_of_a_compensation_are_stored(system: SagaOrchestrator, stage: Stage) -> None:
    saga = fails_after(stage, "ok")
    outcome(system, saga)
    told = [(each.metadata["step"], each.metadata["action"]) for each in system.event_store.read_stream(saga.id)]
    assert told == [("a", "execute"), ("x", "execute"), ("x", "compensate"), ("a", "compensate")]


def test_the_order_is_the_reverse_of_the_first_starts(system: SagaOrchestrator, stage: Stage) -> None:
    steps = [stage.act(f"s{number}", "raise", "ok", retry=RetryPolicy(2, 0.0)) for number in range(5)]
    saga = stage.saga(*steps, stage.act("fails", "exit:1"))
    outcome(system, saga)
    assert [each.step for each in stage.log.find(saga.id, "undo")] == ["fails", "s4", "s3", "s2", "s1", "s0"]


# --- parked -------------------------------------------------------------------------------------------------------


def parked(system: SagaOrchestrator, stage: Stage, *parts: str, **options: Any) -> SagaDefinition:
    saga = fails_after(stage, *parts, compensation_retry=options.pop("policy", ONCE), **options)
    error = outcome(system, saga)
    assert isinstance(error, CompensationFailedError), error
    assert (error.step_index, error.step_name) == (1, "x")
    assert isinstance(error.__cause__, StepFailedError), "what made it turn back"
    return saga


def test_a_compensation_that_fails_for_good_parks_the_saga(system: SagaOrchestrator, stage: Stage) -> None:
    before = system.history_count()
    saga = parked(system, stage, "raise", policy=RetryPolicy(max_attempts=3, initial_s=0.01))
    assert len(stage.log.find(saga.id, "undo", "x")) == 3
    assert not stage.log.find(saga.id, "undo", "a"), "nothing is undone behind what could not be"
    found = seen(system, saga.id)
    assert found.status is SagaStatus.FAILED
    assert "operator" in (found.waiting or "")
    assert [step.status for step in found.steps] == [
        StepStatus.SUCCEEDED, StepStatus.COMPENSATION_FAILED, StepStatus.FAILED,
    ]  # fmt: skip
    assert system.history_count() == before + 1
    system.wait_idle(20.0)
    assert saga.id not in {each.id for each in system.get_running_sagas()}
    again = outcome(system, saga)
    assert isinstance(again, CompensationFailedError), "who asks again is told again"
    assert len(stage.log.find(saga.id, "undo", "x")) == 3
    assert system.cancel(saga.id) is False


def test_a_fatal_error_parks_at_once(system: SagaOrchestrator, stage: Stage) -> None:
    saga = parked(system, stage, "fatal", policy=RetryPolicy(max_attempts=9, initial_s=0.01))
    assert len(stage.log.find(saga.id, "undo", "x")) == 1


def test_an_operator_has_it_tried_again(system: SagaOrchestrator, stage: Stage) -> None:
    saga = parked(system, stage, "raise", "raise", "ok")
    assert system.retry_compensation(saga.id) is True
    error = system_error(system, saga.id)
    assert isinstance(error, CompensationFailedError), "it failed once more, and is parked once more"
    assert system.retry_compensation(saga.id, note="repaired") is True
    assert isinstance(system_error(system, saga.id), StepFailedError)
    assert [each.attempt for each in stage.log.find(saga.id, "undo", "x")] == [1, 2, 3]
    assert stage.log.story(saga.id)[-3:] == ["undone x", "undo a", "undone a"]
    orders = [entry.data for entry in system.get_timeline(saga.id) if entry.kind == "CompensationRetried"]
    assert [order["note"] for order in orders] == [None, "repaired"]
    assert all(order["by"] for order in orders)


def system_error(system: SagaOrchestrator, saga_id: str) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is what the caller asks
        system.handle(saga_id).result(20.0)
    return caught.value


def test_an_operator_settles_it_with_a_note(system: SagaOrchestrator, stage: Stage) -> None:
    saga = parked(system, stage, "raise")
    assert system.resolve(saga.id, "x", note="paid back by hand, ticket 7") is True
    wait_for_status(system, saga.id, SagaStatus.COMPENSATED)
    assert stage.log.story(saga.id)[-3:] == ["undo x", "undo a", "undone a"]
    resolved = next(entry for entry in system.get_timeline(saga.id) if entry.kind == "StepResolved")
    assert resolved.data["note"] == "paid back by hand, ticket 7"
    assert resolved.data["by"]
    assert [step.status for step in seen(system, saga.id).steps] == [
        StepStatus.COMPENSATED, StepStatus.RESOLVED, StepStatus.FAILED,
    ]  # fmt: skip
    with pytest.raises(RequestError):
        system.retry_compensation(saga.id)
    with pytest.raises(RequestError):
        system.resolve(saga.id, "x", note="again")


def test_orders_that_make_no_sense_change_nothing(system: SagaOrchestrator, stage: Stage) -> None:
    saga = parked(system, stage, "raise")
    before = len(system.get_timeline(saga.id))
    with pytest.raises(RequestError):
        system.resolve(saga.id, "a", note="it has not failed")
    with pytest.raises(RequestError):
        system.resolve(saga.id, "nothing", note="there is none")
    with pytest.raises(SagaNotFoundError):
        system.resolve("nobody", "x", note="?")
    no_words: list[Any] = ["", " \n", "\ud800", 5, None, "x" * 10_001]
    for strange in no_words:
        with pytest.raises(RequestError, match="note"):
            system.resolve(saga.id, "x", note=strange)
    for strange in [*no_words[2:4], b"x", object, "x" * 10_001]:
        with pytest.raises(RequestError, match="note"):
            system.retry_compensation(saga.id, note=strange)
    with pytest.raises(SagaNotFoundError):
        system.retry_compensation("nobody")
    assert len(system.get_timeline(saga.id)) == before
    assert seen(system, saga.id).status is SagaStatus.FAILED


def test_continue_walks_past_it_and_parks_in_the_end(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(
        stage.act("a", back=("raise",), compensation_retry=ONCE),
        stage.act("b"),
        stage.act("c", back=("raise", "ok"), compensation_retry=ONCE),
        stage.act("fails", "raise"),
        on_compensation_failure="continue",
    )
    error = outcome(system, saga)
    assert isinstance(error, CompensationFailedError)
    assert error.step_name == "c", "the first one that failed"
    assert [each.step for each in stage.log.find(saga.id, "undo")] == ["c", "b", "a"]
    assert system.retry_compensation(saga.id) is True
    assert isinstance(system_error(system, saga.id), CompensationFailedError)
    assert system.resolve(saga.id, "a", note="settled") is True
    wait_for_status(system, saga.id, SagaStatus.COMPENSATED)
    assert [each.step for each in stage.log.find(saga.id, "undone")] == ["b", "c"]


def test_several_that_failed_are_resolved_one_by_one(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(
        stage.act("a", back=("raise",), compensation_retry=ONCE),
        stage.act("b", back=("raise",), compensation_retry=ONCE),
        stage.act("fails", "raise"),
        on_compensation_failure="continue",
    )
    assert isinstance(outcome(system, saga), CompensationFailedError)
    assert system.resolve(saga.id, "b", note="one") is True
    assert seen(system, saga.id).status is SagaStatus.FAILED, "the other still waits"
    assert system.resolve(saga.id, "a", note="two") is True
    wait_for_status(system, saga.id, SagaStatus.COMPENSATED)


def test_operators_that_give_orders_at_once_do_not_get_into_each_others_way(
    system: SagaOrchestrator, stage: Stage
) -> None:
    saga = parked(system, stage, "raise", "raise", "ok")

    def order(number: int) -> bool | RequestError:
        try:
            if number % 2:
                return system.resolve(saga.id, "x", note=f"settled by {number}")
            return system.retry_compensation(saga.id, note=f"repaired by {number}")
        except RequestError as error:  # too late: it is not parked any more
            return error

    with ThreadPoolExecutor(8) as operators:
        answers = list(operators.map(order, range(8)))
    assert True in answers
    until(lambda: not seen(system, saga.id).status.running, "its end, or that it is parked again")
    timeline = system.get_timeline(saga.id)
    said = [entry.data["note"] for entry in timeline if entry.kind in ("StepResolved", "CompensationRetried")]
    assert len(said) == len(set(said)) == answers.count(True)
    assert len([entry for entry in timeline if entry.kind == "StepResolved"]) <= 1
    undone = [each.step for each in stage.log.find(saga.id, "undone")]
    assert len(undone) == len(set(undone)), "nothing is undone twice"
