"""The rules of the machine beside the table, for what people and the system say: cancels, parked sagas, stops."""

from __future__ import annotations

import pytest

from antistrophe.errors import (
    CompensationFailedError,
    SagaCancelledError,
    StepFailedError,
)
from antistrophe.saga.entries import (
    Action,
    AttemptFailed,
    CancelRequested,
    CompensationRetried,
    FailureKind,
    RetryScheduled,
    SagaCompensated,
    SagaCompleted,
    SagaParked,
    StepResolved,
    TurnedBack,
    TurnReason,
)
from antistrophe.saga.inputs import (
    Answered,
    CancelAsked,
    Fenced,
    ProcessGranted,
    ProcessRefused,
    ResolveAsked,
    Resumed,
    RetryAsked,
    Returned,
    TimePassed,
)
from antistrophe.saga.machine import decide, transition
from antistrophe.saga.retries import NEVER_RAN_LIMIT
from tests.core.saga_kit import Told, attempts, parked, step

DONE = Returned(b"\xa2ok")


# --- cancel ----------------------------------------------------------------------------------------------------


def test_a_cancel_ends_what_runs_and_compensates_from_there() -> None:
    told = Told(step("pay"), step("ship"))
    told.answer(DONE)
    assert told.tell(CancelAsked("too dear", "me")) == (CancelRequested(1000.0, "too dear", "me"),)
    assert told.answer(DONE) == ()
    told.dies(signal=15)
    assert told.owed == (1, 0)
    told.answer(DONE)
    told.answer(DONE)
    assert isinstance(told.error, SagaCancelledError)


def test_a_cancel_wins_over_the_success_of_the_last_step() -> None:
    told = Told(step())
    told.run()
    told.tell(CancelAsked(None, "me"))
    told.dies(answer=DONE)
    assert told.last(TurnedBack).cause.reason is TurnReason.CANCELLED
    assert told.owed == (0,)


def test_a_cancel_of_what_never_began_undoes_nothing() -> None:
    told = Told(step())
    told.run()
    told.tell(CancelAsked(None, "me"))
    told.dies(began=False)
    assert isinstance(told.journal[-1], SagaCompensated)
    assert told.trail == ["execute 0"]


def test_a_cancel_of_a_saga_that_waits_takes_effect_at_once() -> None:
    told = Told(step("pay"), step("ship", retry=attempts(2, 60.0)))
    told.answer(DONE)
    told.raises()
    told.tell(ProcessRefused("no module named shop"))
    told.tell(CancelAsked(None, "me"))
    assert told.saga.backward
    assert told.saga.waiting is None, "why it waited going forward is of no interest any more"
    assert told.effects == (told.asks(fresh=False, urgent=True, not_before=None),)


@pytest.mark.parametrize("again", [CancelAsked(None, "me"), CancelAsked("other", "you")])
def test_a_second_cancel_changes_nothing(again: CancelAsked) -> None:
    told = Told(step())
    told.run()
    told.tell(CancelAsked("first", "me"))
    assert told.tell(again) == ()


def test_a_cancel_on_the_way_back_or_after_the_end_changes_nothing() -> None:
    told = parked()
    assert told.tell(CancelAsked(None, "me")) == ()
    told.tell(RetryAsked("me"))
    assert told.tell(CancelAsked(None, "me")) == ()
    ended = Told(step())
    ended.answer(DONE)
    assert ended.tell(CancelAsked(None, "me")) == ()


# --- parked sagas ----------------------------------------------------------------------------------------------


def test_a_parked_saga_tells_what_failed_and_why_it_turned_back() -> None:
    told = parked()
    assert isinstance(told.error, CompensationFailedError)
    assert (told.error.step_index, told.error.step_name) == (1, "ship")
    assert isinstance(told.error.__cause__, StepFailedError)
    assert told.error.__cause__.step_name == "mail"


def test_an_operators_retry_gives_the_whole_policy_again() -> None:
    told = parked(policy=attempts(2))
    assert told.trail.count("compensate 1") == 2
    (retried,) = told.tell(RetryAsked("me", "repaired"))
    assert retried == CompensationRetried(told.now, "me", "repaired")
    for _ in range(NEVER_RAN_LIMIT):
        told.dies(began=False)
    told.raises()
    assert not told.saga.parked
    told.raises()
    assert told.saga.parked


def test_processes_that_died_before_the_call_do_not_count_into_an_operators_retry() -> None:
    told = Told(step("pay"), step("ship"))
    told.answer(DONE)
    told.raises()
    for _ in range(NEVER_RAN_LIMIT + 1):
        told.dies(began=False)
    assert told.saga.parked
    told.tell(RetryAsked("me"))
    told.dies(began=False)
    assert not told.saga.parked


def test_a_resolve_settles_the_step_and_the_walk_goes_on() -> None:
    told = parked()
    (resolved,) = told.tell(ResolveAsked(1, "by hand", "me"))
    assert resolved == StepResolved(told.now, 1, "by hand", "me")
    assert told.owed == (0,)
    told.answer(DONE)
    assert isinstance(told.journal[-1], SagaCompensated)
    assert isinstance(told.error, StepFailedError)


def test_the_last_resolve_ends_the_saga() -> None:
    told = parked(park=False)
    told.answer(DONE)
    assert told.saga.parked
    resolved, end = told.tell(ResolveAsked(1, "by hand", "me"))
    assert isinstance(resolved, StepResolved)
    assert isinstance(end, SagaCompensated)


def test_with_two_failures_one_resolve_parks_it_again() -> None:
    told = parked(park=False)
    told.raises()
    assert told.saga.parked
    _, again = told.tell(ResolveAsked(0, "by hand", "me"))
    assert isinstance(again, SagaParked)


@pytest.mark.parametrize("index", [-1, 0, 2, 3])
def test_only_what_failed_for_good_can_be_resolved(index: int) -> None:
    assert parked().tell(ResolveAsked(index, "by hand", "me")) == ()


def test_an_operator_has_nothing_to_say_to_a_saga_that_runs() -> None:
    told = Told(step())
    assert told.tell(RetryAsked("me")) == ()
    assert told.tell(ResolveAsked(0, "by hand", "me")) == ()


# --- what the system itself ends -------------------------------------------------------------------------------


def test_a_compensation_that_the_system_ended_is_repeated_and_does_not_count() -> None:
    told = Told(step("pay"), step("ship"))
    told.answer(DONE)
    told.raises()
    for began in (True, False, None) * 10:
        failed, again = told.dies(began=began, by_system=True)
        assert isinstance(failed, AttemptFailed)
        assert not failed.counts
        assert isinstance(again, RetryScheduled)
        assert again.not_before == told.now
    told.answer(DONE)
    assert isinstance(told.journal[-1], SagaCompensated)


def test_what_the_system_ended_has_not_timed_out_even_if_it_has_expired_since() -> None:
    told = Told(step("pay"), step("ship"))
    told.answer(DONE)
    told.raises()
    told.expires()
    told.dies(by_system=True)
    assert told.last(AttemptFailed).failure.kind is FailureKind.INTERRUPTED
    assert not told.saga.parked


def test_a_forward_attempt_that_the_system_ended_counts() -> None:
    told = Told(step(idempotent=True, retry=attempts(2)))
    told.dies(by_system=True)
    assert told.run().attempt == 2
    told.dies(by_system=True)
    assert told.owed == (0,)


def test_a_system_that_stops_starts_nothing() -> None:
    told = Told(step("pay"), step("ship"))
    current = told.run()
    (result,) = told.tell(Answered(0, Action.EXECUTE, 1, DONE), dispatch=False)
    assert told.saga.current is None
    assert told.tell(ProcessGranted(current.lease), dispatch=False) == ()
    assert result.at == told.now


# --- echoes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stale",
    [
        Answered(0, Action.EXECUTE, 1, DONE),
        Answered(0, Action.EXECUTE, 3, DONE),
        Answered(1, Action.EXECUTE, 2, DONE),
        Answered(0, Action.COMPENSATE, 2, DONE),
        Fenced(0, Action.EXECUTE, 1, True),
        Fenced(0, Action.VERIFY, 2, True),
    ],
)
def test_what_echoes_another_attempt_changes_nothing(stale: Answered | Fenced) -> None:
    told = Told(step("pay", retry=attempts(3)), step("ship"))
    told.raises()
    assert told.run().attempt == 2
    assert told.tell(stale) == ()


def test_the_end_is_the_end() -> None:
    told = Told(step())
    current = told.run()
    told.answer(DONE)
    for said in (
        ProcessGranted(current.lease),
        Answered(0, Action.EXECUTE, 1, DONE),
        Fenced(0, Action.EXECUTE, 1, True),
        TimePassed(),
        Resumed(),
        RetryAsked("me"),
    ):
        assert told.tell(said) == ()


def test_a_saga_without_steps_completes_at_once() -> None:
    told = Told()
    assert isinstance(told.journal[-1], SagaCompleted)


def test_the_state_of_a_transition_is_the_fold_of_its_entries() -> None:
    told = Told(step("pay"), step("ship"))
    current = told.run()
    before = told.saga
    said = Answered(current.step, current.action, current.attempt, DONE)
    entries, after = transition(before, said, told.now)
    assert entries == decide(before, said, told.now)
    told.tell(said)
    assert told.saga == after
