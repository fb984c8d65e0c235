"""Outcomes: the events or the error that a caller gets."""

from __future__ import annotations

from antistrophe.errors import (
    CompensationFailedError,
    SagaCancelledError,
    StepCrashedError,
    StepInterruptedError,
    StepTimeoutError,
)
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import FailureKind, Verdict
from antistrophe.saga.inputs import CancelAsked, Returned
from antistrophe.saga.outcome import outcome_of, status_of
from tests.core.saga_kit import Told, event_of, step


def returned(name: str) -> Returned:
    return Returned(None, (event_of(name),))


def test_a_saga_that_runs_has_no_outcome() -> None:
    told = Told(step("pay"), step("ship"))
    assert outcome_of(told.saga) is None
    assert status_of(told.saga) is SagaStatus.EXECUTING
    told.answer(returned("paid"))
    told.raises()
    assert outcome_of(told.saga) is None
    assert status_of(told.saga) is SagaStatus.COMPENSATING


def test_events_come_in_the_order_of_the_steps() -> None:
    told = Told(step("pay", has_verify=True), step("ship"))
    told.times_out()
    told.says(Verdict.APPLIED)
    told.answer(returned("shipped"))
    outcome = outcome_of(told.saga)
    assert outcome is not None
    assert outcome.status is SagaStatus.COMPLETED
    assert [event.type for event in outcome.events] == ["seen", "shipped"]
    assert told.error is None


def test_events_of_what_was_undone_are_not_told() -> None:
    told = Told(step("pay"), step("ship"))
    told.answer(returned("paid"))
    told.raises()
    told.answer(returned("refunded"))
    outcome = outcome_of(told.saga)
    assert outcome is not None
    assert (outcome.status, outcome.events) == (SagaStatus.COMPENSATED, ())


def test_a_timeout_says_which_step_and_which_limit() -> None:
    told = Told(step("pay", timeout_s=2.5, requires_compensation=False))
    told.times_out()
    assert isinstance(told.error, StepTimeoutError)
    assert (told.error.step_index, told.error.step_name, told.error.duration_s) == (0, "pay", 2.5)
    assert told.error.saga_id == "saga-1"


def test_a_crash_says_how_the_process_ended() -> None:
    told = Told(step("pay", requires_compensation=False))
    told.dies(signal=11)
    assert isinstance(told.error, StepCrashedError)
    assert (told.error.exit_code, told.error.signal) == (None, 11)


def test_what_the_system_has_ended_is_no_crash_of_its_own() -> None:
    told = Told(step("pay", requires_compensation=False))
    told.dies(by_system=True, signal=15)
    assert isinstance(told.error, StepInterruptedError)
    assert isinstance(told.error, StepCrashedError), "who catches crashes catches it as before"
    assert str(told.error).startswith("step 0 (pay) was interrupted: the actor system stopped")
    assert told.error.signal == 15


def test_a_cancel_says_why() -> None:
    told = Told(step("pay"))
    told.tell(CancelAsked("too dear", "me"))
    assert isinstance(told.error, SagaCancelledError)
    assert "too dear" in str(told.error)


def test_of_several_compensations_that_failed_the_first_of_the_walk_is_told() -> None:
    told = Told(step("pay"), step("ship"), step("mail"), park=False)
    told.answer(returned("paid"))
    told.answer(returned("shipped"))
    told.raises(FailureKind.FATAL)
    told.raises(FailureKind.FATAL)
    told.raises(FailureKind.FATAL)
    assert status_of(told.saga) is SagaStatus.FAILED
    assert isinstance(told.error, CompensationFailedError)
    assert told.error.step_name == "ship"
