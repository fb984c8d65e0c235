"""What an operator can end: sagas that wait for code, for an input that fits again, or for anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from antistrophe.actors.saga.commands import input_of
from antistrophe.errors import RequestError
from antistrophe.messages import ResolveStep, SagaOrder, Waiter
from antistrophe.saga.effects import RequestLease
from antistrophe.saga.entries import FailureKind, SagaCompensated, SagaParked, SagaWaits, StepResolved, TurnedBack
from antistrophe.saga.inputs import (
    Answered,
    CancelAsked,
    ProcessRefused,
    Raised,
    Refused,
    ResolveAsked,
    RetryAsked,
    Returned,
)
from antistrophe.saga.resolving import resolvable
from antistrophe.saga.state import replay
from tests.core.saga_kit import Told, attempts, step

DONE = Returned(b"\xa2ok")
GONE = "no module named shop"


def resolve(told: Told, name: str) -> tuple[Any, ...]:
    """An operator resolves the step of that name, as an actor hears it."""
    order = SagaOrder(told.saga.id, ResolveStep(name, "by hand", "me"), Waiter("client", "1"))
    return told.tell(input_of(order, told.saga))


def goes_back(**options: Any) -> Told:
    """A saga of three steps: the third has failed, the others are owed, and no process is there for their undo."""
    told = Told(step("pay"), step("ship", compensation_retry=attempts(3)), step("mail"), **options)
    told.answer(DONE)
    told.answer(DONE)
    third = told.run()
    failed = Raised(FailureKind.RAISED, "no money", "BankError")
    told.tell(Answered(third.step, third.action, third.attempt, failed), dispatch=False)
    assert told.owed == (1, 0)
    return told


REASONS: dict[str, Callable[[Told], object]] = {
    "no process can be had": lambda told: told.tell(ProcessRefused(GONE)),
    "the call could not be made": lambda told: told.answer(Refused(GONE)),
    "the undo fails again and again": lambda told: told.raises(FailureKind.RETRYABLE, after_s=60.0),
    "its process dies": lambda told: told.dies(signal=9),
    "its process dies before the call": lambda told: told.dies(began=False),
    "it only waits for its turn": lambda told: None,
}


@pytest.mark.parametrize("reason", REASONS)
def test_the_undo_that_comes_next_is_resolved_whatever_it_waits_for(reason: str) -> None:
    told = goes_back()
    REASONS[reason](told)
    assert resolve(told, "ship") == (StepResolved(told.now, 1, "by hand", "me"),)
    assert (told.saga.waiting, told.saga.not_before, told.owed) == (None, None, (0,))
    if reason != "it only waits for its turn":
        assert told.effects == (told.asks(fresh=False, urgent=True, not_before=None),), "the next one waits for nothing"
    REASONS[reason](told)
    assert [type(entry) for entry in resolve(told, "pay")] == [StepResolved, SagaCompensated]
    assert replay(told.journal) == told.saga


def test_what_is_not_resolved_is_undone_as_ever() -> None:
    told = goes_back()
    told.answer(Refused(GONE))
    resolve(told, "ship")
    told.answer(DONE)
    assert isinstance(told.journal[-1], SagaCompensated)
    assert told.at(0).undone
    assert not told.at(1).undone
    assert told.trail[-2:] == ["compensate 1", "compensate 0"]


def test_the_order_of_compensation_holds_and_the_error_says_which_one_comes_first() -> None:
    told = goes_back()
    told.tell(ProcessRefused(GONE))
    with pytest.raises(RequestError, match="'ship' comes first"):
        resolve(told, "pay")
    assert told.tell(ResolveAsked(0, "by hand", "me")) == ()
    with pytest.raises(RequestError, match=r"'mail' .* owes no compensation"):
        resolve(told, "mail")
    with pytest.raises(RequestError, match="no step 'post'"):
        resolve(told, "post")


@pytest.mark.parametrize("park", [True, False])
def test_nothing_is_resolved_while_an_attempt_may_run(park: bool) -> None:
    told = goes_back(park=park)
    told.run()
    with pytest.raises(RequestError, match="while an attempt to compensate 'ship' may run"):
        resolve(told, "ship")
    assert told.tell(ResolveAsked(1, "by hand", "me")) == ()
    told.expires()
    assert told.tell(ResolveAsked(1, "by hand", "me")) == (), "its process is not seen dead yet"
    told.dies(signal=9)
    assert resolve(told, "ship")


def test_where_a_saga_walks_on_past_a_failure_both_can_be_resolved() -> None:
    told = Told(step("pay"), step("ship", compensation_retry=attempts(1)), step("mail"), park=False)
    told.answer(DONE)
    told.answer(DONE)
    told.raises()
    told.raises()
    told.answer(Refused(GONE))
    assert resolvable(told.saga) == (0, 1)
    waits = (told.saga.waiting, told.saga.not_before)
    resolve(told, "ship")
    assert (told.saga.waiting, told.saga.not_before) == waits, "the other one waits as before"
    assert [type(entry) for entry in resolve(told, "pay")] == [StepResolved, SagaCompensated]


def test_a_parked_saga_goes_on_with_what_failed_and_with_nothing_before_it() -> None:
    told = Told(step("pay"), step("ship", compensation_retry=attempts(1)), step("mail"))
    told.answer(DONE)
    told.answer(DONE)
    told.raises()
    told.raises()
    assert isinstance(told.journal[-1], SagaParked)
    with pytest.raises(RequestError, match="'ship' comes first"):
        resolve(told, "pay")
    told.tell(RetryAsked("me"))
    assert resolvable(told.saga) == (1,), "it is owed again, and comes next"


def test_a_saga_that_goes_forward_has_to_be_cancelled_first() -> None:
    told = Told(step("pay"), step("ship"))
    told.answer(DONE)
    told.answer(Refused(GONE))
    with pytest.raises(RequestError, match="cancel the saga first"):
        resolve(told, "pay")
    assert told.tell(ResolveAsked(0, "by hand", "me")) == ()
    assert [type(entry) for entry in told.tell(CancelAsked("gone for good", "me"))][-1] is TurnedBack
    assert [type(entry) for entry in resolve(told, "pay")] == [StepResolved, SagaCompensated]


@pytest.mark.parametrize("waits", ["no process can be had", "the call could not be made"])
def test_a_cancel_of_a_saga_that_waits_for_code_runs_nothing(waits: str) -> None:
    told = Told(step("pay"))
    REASONS[waits](told)
    told.tell(CancelAsked("gone for good", "me"))
    assert isinstance(told.journal[-1], SagaCompensated)
    assert not any(isinstance(effect, RequestLease) for effect in told.effects)


def test_a_verify_that_can_not_be_loaded_does_not_hold_a_cancel_back() -> None:
    told = Told(step("pay", has_verify=True), step("ship"))
    told.dies(signal=9)
    told.answer(Refused(GONE))
    told.tell(CancelAsked("gone for good", "me"))
    assert told.saga.backward
    assert told.owed == (0,), "what is in doubt is owed"
    assert [type(entry) for entry in resolve(told, "pay")] == [StepResolved, SagaCompensated]


def test_a_refusal_that_comes_late_is_not_taken_for_the_next_step_for_ever() -> None:
    told = goes_back()
    told.tell(ProcessRefused(GONE))
    resolve(told, "ship")
    assert told.tell(ProcessRefused(GONE)) == (SagaWaits(told.now, GONE),)
    told.answer(DONE)
    assert isinstance(told.journal[-1], SagaCompensated)
