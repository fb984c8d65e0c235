"""After a restore of the journal: what a saga may have done since is in doubt, step by step, until one was not done."""

from __future__ import annotations

from typing import Any

import pytest

from antistrophe.errors import CompensationFailedError
from antistrophe.saga.entries import (
    Action,
    AttemptStarted,
    CompensationGivenUp,
    RestoreAcknowledged,
    SagaCompensated,
    SagaCompleted,
    SagaParked,
    Verdict,
)
from antistrophe.saga.inputs import (
    Answered,
    CancelAsked,
    ResolveAsked,
    Resumed,
    RetryAsked,
    Returned,
    TimePassed,
    Verified,
)
from antistrophe.saga.state import evolve
from tests.core.saga_kit import Told, step

DONE = Returned(b"\xa2ok")
APPLIED = Verified(Verdict.APPLIED, b"\xa2ok")


def acknowledge(told: Told) -> None:
    """The restore of the journal is acknowledged for this saga."""
    entry = RestoreAcknowledged(told.now, "restore", "eva")
    told.saga = evolve(told.saga, entry)
    told.journal.append(entry)


def ran(told: Told) -> list[str]:
    """Every attempt that got a process, like ``execute 0``."""
    started = [each for each in told.journal if isinstance(each, AttemptStarted) and each.lease.pid]
    return [f"{each.action.value} {each.step}" for each in started]


def end_step(told: Told) -> None:
    """The current step is done, and the system stops before the next one begins."""
    current = told.run()
    told.tell(Answered(current.step, current.action, current.attempt, DONE), dispatch=False)


def restored(*steps: Any, done: int = 1, **options: Any) -> Told:
    """A saga whose first steps are journaled as done; then the journal was restored, and the saga is read again."""
    told = Told(*steps, **options)
    for _ in range(done):
        end_step(told)
    acknowledge(told)
    told.tell(Resumed())
    return told


def test_a_step_with_verify_is_asked_and_so_is_the_next_one_until_one_was_not_done() -> None:
    told = restored(step("a"), *(step(name, has_verify=True) for name in "bcd"))
    assert told.run().action is Action.VERIFY
    told.answer(APPLIED)
    assert told.run().action is Action.VERIFY, "what comes behind may have been done, too"
    told.answer(Verified(Verdict.NOT_APPLIED))
    assert told.run().action is Action.EXECUTE
    told.answer(DONE)
    assert told.run().action is Action.EXECUTE, "what comes behind a step that was not done was not done either"
    told.answer(DONE)
    assert isinstance(told.journal[-1], SagaCompleted)
    assert ran(told) == ["execute 0", "verify 1", "verify 2", "execute 2", "execute 3"]


def test_an_idempotent_step_is_run_and_the_next_one_is_in_doubt_again() -> None:
    told = restored(step("a"), step("b", idempotent=True), step("c", idempotent=True))
    for _ in range(2):
        assert told.run().action is Action.EXECUTE
        told.answer(DONE)
    assert isinstance(told.journal[-1], SagaCompleted)
    assert ran(told) == ["execute 0", "execute 1", "execute 2"]


@pytest.mark.parametrize("options", [{}, {"requires_compensation": False}], ids=["owed", "not owed"])
def test_any_other_step_parks_the_saga_before_anything_is_undone(options: dict[str, Any]) -> None:
    told = restored(step("a"), step("b", **options), step("c"))
    assert isinstance(told.journal[-1], SagaParked)
    assert ran(told) == ["execute 0"], "nothing ran, neither forward nor back"
    assert "the journal was put back to an earlier state" in told.last(CompensationGivenUp).failure.error
    assert isinstance(told.error, CompensationFailedError)
    told.tell(RetryAsked("eva") if options else ResolveAsked(1, "looked at it", "eva"))
    told.answer(DONE)
    assert isinstance(told.journal[-1], SagaCompensated)
    assert ran(told) == ["execute 0", "compensate 0"]


def test_a_person_may_have_the_step_in_doubt_undone() -> None:
    told = restored(step("a"), step("b"))
    told.tell(RetryAsked("eva"))
    for _ in range(2):
        told.answer(DONE)
    assert isinstance(told.journal[-1], SagaCompensated)
    assert ran(told) == ["execute 0", "compensate 1", "compensate 0"]


@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.APPLIED])
def test_verify_that_can_not_tell_parks_and_so_does_the_step_behind_one_that_was_done(verdict: Verdict) -> None:
    told = restored(step("a"), step("b", has_verify=True), step("c"))
    told.answer(Verified(verdict, b"\xa2ok" if verdict is Verdict.APPLIED else None))
    assert isinstance(told.journal[-1], SagaParked)
    assert told.last(CompensationGivenUp).step == (1 if verdict is Verdict.UNKNOWN else 2)


@pytest.mark.parametrize("began", [True, None, False])
def test_an_attempt_that_ran_at_that_moment_parks_where_it_stays_in_doubt(began: bool | None) -> None:
    told = Told(step("a"), step("b"))
    told.run()
    acknowledge(told)
    told.dies(began=began)  # "not begun" is told by the file of a process, which is ahead of the journal
    assert isinstance(told.journal[-1], SagaParked), "what comes behind it may have been done"


def test_a_deadline_or_a_cancel_undoes_nothing_before_the_doubt_is_known() -> None:
    late = restored(step("a"), step("b"), done=1, deadline_s=5.0)
    assert isinstance(late.journal[-1], SagaParked)
    told = Told(step("a"), step("b"))
    end_step(told)
    acknowledge(told)
    told.tell(CancelAsked("no more", "eva"))
    assert isinstance(told.journal[-1], SagaParked)
    timed = Told(step("a"), step("b"), deadline_s=5.0)
    end_step(timed)
    acknowledge(timed)
    timed.now += 100.0
    timed.tell(TimePassed())
    assert isinstance(timed.journal[-1], SagaParked)


def test_a_saga_that_goes_back_goes_on_because_an_undo_may_be_repeated() -> None:
    told = Told(step("a"), step("b"))
    told.answer(DONE)
    told.raises()
    acknowledge(told)
    told.tell(Resumed())
    told.answer(DONE)
    assert isinstance(told.journal[-1], SagaCompensated)


def test_the_first_step_is_in_doubt_as_well() -> None:
    assert isinstance(restored(step("a"), done=0).journal[-1], SagaParked)
