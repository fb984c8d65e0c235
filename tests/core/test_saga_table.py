"""The table "what happens when", one test per cell, and the rules below it that say what a cell means."""

from __future__ import annotations

from collections.abc import Callable

from antistrophe.errors import StepCrashedError, StepFailedError, StepTimeoutError
from antistrophe.saga.effects import EndProcess
from antistrophe.saga.entries import (
    Action,
    AttemptExpired,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CompensationGivenUp,
    FailureKind,
    RetryScheduled,
    SagaCompensated,
    SagaCompleted,
    SagaParked,
    TurnedBack,
    Verdict,
    VerdictGiven,
)
from antistrophe.saga.inputs import Raised, Returned, Unencodable
from tests.core.saga_kit import Told, attempts, event_of, step

DONE = Returned(b"\xa2ok", (event_of("paid"),))
TOO_LARGE = Unencodable("2 MiB", "PayloadTooLargeError")


def going_back(**changes: object) -> Told:
    """A saga whose first step succeeded, whose second failed, and whose first is being compensated."""
    told = Told(step("pay", **changes), step("ship"))
    told.answer(DONE)
    told.raises()
    assert told.run().action is Action.COMPENSATE
    return told


# --- the attempt returns ---------------------------------------------------------------------------------------


def test_forward_returns_the_step_succeeded_with_its_events_and_output_in_one_entry() -> None:
    told = Told(step())
    result, end = told.answer(DONE)
    assert result == AttemptSucceeded(1000.0, 0, Action.EXECUTE, 1, DONE.output, DONE.events)
    assert isinstance(end, SagaCompleted)


def test_forward_returns_the_next_intent_is_in_the_same_append() -> None:
    told = Told(step("pay"), step("ship"))
    entries = told.answer(DONE)
    assert [type(entry) for entry in entries] == [AttemptSucceeded, AttemptStarted]


def test_backward_returns_the_step_is_compensated_with_its_events() -> None:
    told = going_back()
    result, end = told.answer(Returned(None, (event_of("refunded"),)))
    assert isinstance(result, AttemptSucceeded)
    assert (result.action, result.events) == (Action.COMPENSATE, (event_of("refunded"),))
    assert isinstance(end, SagaCompensated)


# --- the attempt raises ----------------------------------------------------------------------------------------


def test_forward_raises_by_contract_it_did_nothing_and_the_steps_before_it_are_compensated() -> None:
    told = Told(step("pay"), step("ship"))
    told.answer(DONE)
    told.raises()
    assert told.owed == (0,)
    assert not told.at(1).in_doubt


def test_forward_raises_it_is_retried_by_policy() -> None:
    told = Told(step(retry=attempts(3, 1.0)))
    told.raises()
    assert told.last(RetryScheduled).not_before == 1001.0
    told.raises()
    assert told.last(RetryScheduled).not_before == 1003.0
    told.raises()
    assert told.trail == ["execute 0"] * 3
    assert isinstance(told.error, StepFailedError)


def test_forward_raises_where_the_step_is_not_atomic_it_is_owed_too() -> None:
    told = Told(step("pay"), step("ship", atomic=False))
    told.answer(DONE)
    told.raises()
    assert told.owed == (1, 0)


def test_forward_raises_fatal_or_retryable_where_the_step_is_not_atomic_it_is_owed_too() -> None:
    for kind in (FailureKind.FATAL, FailureKind.RETRYABLE):
        told = Told(step(atomic=False))
        told.raises(kind)
        assert told.owed == (0,)


def test_forward_raises_in_doubt_it_is_owed_too() -> None:
    told = Told(step("pay"), step("ship"))
    told.answer(DONE)
    told.raises(FailureKind.IN_DOUBT)
    assert told.owed == (1, 0)


def test_backward_raises_it_is_retried_by_policy() -> None:
    told = going_back(compensation_retry=attempts(3, 1.0))
    told.raises()
    assert told.last(RetryScheduled).action is Action.COMPENSATE
    told.raises()
    told.raises()
    assert told.trail.count("compensate 0") == 3
    assert isinstance(told.journal[-1], SagaParked)


# --- the attempt exceeds its limit -----------------------------------------------------------------------------


def test_forward_too_long_its_process_is_ended_and_nothing_else_happens_until_it_is_dead() -> None:
    told = Told(step("pay", kill_grace_s=1.5))
    (expired,) = told.expires()
    assert isinstance(expired, AttemptExpired)
    assert told.effects == (EndProcess(told.run(), 1.5),)
    assert told.answer(DONE) == (), "an answer settles nothing while the process is being ended"
    assert told.grant() == ()


def test_forward_too_long_the_step_is_in_doubt_and_compensated_itself_included() -> None:
    told = Told(step("pay"), step("ship"))
    told.answer(DONE)
    told.times_out()
    assert told.at(1).in_doubt
    assert told.owed == (1, 0)
    told.answer(DONE)
    told.answer(DONE)
    assert told.trail == ["execute 0", "execute 1", "compensate 1", "compensate 0"]
    assert isinstance(told.error, StepTimeoutError)


def test_backward_too_long_it_is_ended_seen_dead_and_retried() -> None:
    told = going_back(compensation_retry=attempts(2), compensation_timeout_s=7.0)
    assert told.run().limit_s == 7.0
    (expired,) = told.expires()
    assert isinstance(expired, AttemptExpired)
    failed, again = told.dies(signal=9)
    assert isinstance(failed, AttemptFailed)
    assert (failed.failure.kind, failed.counts) == (FailureKind.TIMEOUT, True)
    assert isinstance(again, RetryScheduled)


# --- the attempt dies ------------------------------------------------------------------------------------------


def test_forward_dies_it_is_in_doubt_at_once_and_not_at_the_deadline() -> None:
    told = Told(step("pay"), step("ship"))
    told.answer(DONE)
    failed, turned = told.dies(exit_code=1)
    assert isinstance(failed, AttemptFailed)
    assert failed.at == 1000.0
    assert failed.failure.kind is FailureKind.CRASH
    assert isinstance(turned, TurnedBack)
    assert told.owed == (1, 0)
    told.answer(DONE)
    told.answer(DONE)
    assert isinstance(told.error, StepCrashedError)
    assert told.error.exit_code == 1


def test_backward_dies_it_is_retried() -> None:
    told = going_back(compensation_retry=attempts(2))
    failed, again = told.dies(signal=11)
    assert isinstance(failed, AttemptFailed)
    assert failed.counts
    assert isinstance(again, RetryScheduled)


# --- the attempt returns what can't travel ---------------------------------------------------------------------


def test_forward_unencodable_it_did_run_and_is_in_doubt_and_never_retried() -> None:
    told = Told(step(retry=attempts(5), idempotent=True, has_verify=True))
    failed, turned, _ = told.answer(TOO_LARGE)
    assert isinstance(failed, AttemptFailed)
    assert failed.failure.kind is FailureKind.UNENCODABLE
    assert isinstance(turned, TurnedBack)
    assert told.owed == (0,)


def test_backward_unencodable_it_counts_as_done_with_a_recorded_warning() -> None:
    told = going_back()
    result, end = told.answer(TOO_LARGE)
    assert isinstance(result, AttemptSucceeded)
    assert result.warning == "PayloadTooLargeError: 2 MiB"
    assert isinstance(end, SagaCompensated)


# --- after the fence: the outcome, verify, doubt ---------------------------------------------------------------


def test_the_outcome_that_the_process_wrote_counts_even_if_late() -> None:
    told = Told(step("pay"), step("ship"))
    told.expires()
    (result,) = told.dies(answer=DONE, signal=9)
    assert isinstance(result, AttemptSucceeded)
    assert result.adopted
    assert told.saga.cause is None


def test_an_exception_that_the_process_wrote_counts_as_one() -> None:
    told = Told(step())
    told.expires()
    told.dies(answer=Raised(FailureKind.RAISED, "no money", "BankError"), signal=9)
    assert told.last(AttemptFailed).failure.kind is FailureKind.RAISED
    assert told.owed == ()


def test_without_an_outcome_verify_is_asked() -> None:
    told = Told(step("pay", has_verify=True), step("ship"))
    told.dies(signal=9)
    assert told.effects[-1] == told.asks(fresh=False, urgent=False, not_before=None)
    assert told.run().action is Action.VERIFY
    assert told.run().limit_s == 10.0


def test_applied_is_as_if_it_had_returned_and_the_saga_goes_on() -> None:
    told = Told(step("pay", has_verify=True), step("ship"))
    told.times_out()
    told.says(Verdict.APPLIED)
    assert (told.at(0).succeeded, told.at(0).in_doubt, told.at(0).output) == (True, False, b"\x01")
    told.answer(DONE)
    assert isinstance(told.journal[-1], SagaCompleted)


def test_not_applied_is_as_if_it_had_raised() -> None:
    told = Told(step("pay"), step("ship", has_verify=True, retry=attempts(2)))
    told.answer(DONE)
    told.dies(signal=9)
    told.says(Verdict.NOT_APPLIED)
    assert told.run().attempt == 2, "it is retried by policy, although it is not idempotent"
    told.raises()
    assert told.owed == (0,)


def test_unknown_is_doubt() -> None:
    told = Told(step("pay", has_verify=True, retry=attempts(5)))
    told.dies(signal=9)
    told.says(Verdict.UNKNOWN)
    assert told.owed == (0,)
    assert told.run().action is Action.COMPENSATE


def test_a_verify_that_raises_hangs_or_dies_says_unknown() -> None:
    ways: tuple[Callable[[Told], object], ...] = (Told.raises, Told.times_out, Told.dies)
    for ends in ways:
        told = Told(step("pay", has_verify=True))
        told.dies(signal=9)
        assert told.run().action is Action.VERIFY
        ends(told)
        assert told.last(VerdictGiven).verdict is Verdict.UNKNOWN
        assert told.owed == (0,)


# --- doubt is retried only where the step is idempotent --------------------------------------------------------


def test_doubt_is_retried_where_the_step_is_idempotent() -> None:
    ways: tuple[Callable[[Told], object], ...] = (
        lambda told: told.times_out(),
        lambda told: told.dies(signal=9),
        lambda told: told.raises(FailureKind.IN_DOUBT),
    )
    for ends in ways:
        again, never = (Told(step(idempotent=each, retry=attempts(2))) for each in (True, False))
        for told in (again, never):
            ends(told)
        assert again.run().attempt == 2
        assert never.run().action is Action.COMPENSATE


def test_an_exception_of_a_step_that_is_not_atomic_is_retried_where_it_is_idempotent() -> None:
    told = Told(step(atomic=False, idempotent=True, retry=attempts(2)))
    told.raises()
    assert told.run().attempt == 2
    told = Told(step(atomic=False, retry=attempts(2)))
    told.raises()
    assert told.run().action is Action.COMPENSATE


def test_doubt_is_sticky() -> None:
    told = Told(step(idempotent=True, retry=attempts(2)))
    told.times_out()
    told.raises()
    assert told.owed == (0,), "attempt 1 may have taken effect, whatever attempt 2 did"


def test_sticky_doubt_is_settled_by_a_later_verify() -> None:
    told = Told(step(idempotent=True, retry=attempts(2), has_verify=True))
    told.times_out()
    told.says(Verdict.UNKNOWN)
    told.dies(signal=9)
    told.says(Verdict.NOT_APPLIED)
    assert told.owed == ()
    assert isinstance(told.journal[-1], SagaCompensated)


# --- compensations that fail for good --------------------------------------------------------------------------


def test_a_compensation_that_fails_for_good_parks_the_saga_there() -> None:
    told = Told(step("pay"), step("ship"), step("mail"))
    told.answer(DONE)
    told.answer(DONE)
    told.raises()
    told.raises()
    assert [type(entry) for entry in told.journal[-3:]] == [AttemptFailed, CompensationGivenUp, SagaParked]
    assert told.grant() == ()
    assert told.owed == (1, 0)


def test_continue_walks_past_it_to_the_end_then_parks() -> None:
    told = Told(step("pay"), step("ship"), step("mail"), park=False)
    told.answer(DONE)
    told.answer(DONE)
    told.raises()
    told.raises()
    assert not told.saga.parked
    told.answer(DONE)
    assert isinstance(told.journal[-1], SagaParked)
    assert told.owed == (1,)
