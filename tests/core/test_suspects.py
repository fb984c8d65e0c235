"""Attempts that ran while the actor system died: after a few times in a row they are suspects, and then given up."""

from __future__ import annotations

import pytest

from antistrophe.saga.effects import RequestLease
from antistrophe.saga.entries import Action, CompensationGivenUp, FailureKind, Verdict
from antistrophe.saga.inputs import CancelAsked, RetryAsked, Returned
from antistrophe.saga.step_state import ALONE_FROM, LOST_LIMIT
from antistrophe.saga.view import metadata_of
from tests.core.saga_kit import Told, attempts, step


def compensating(**options: object) -> Told:
    told = Told(step("pay", compensation_retry=attempts(9), **options), step("ship"))
    told.answer(Returned())
    told.raises()
    assert told.run().action is Action.COMPENSATE
    return told


def lose(told: Told, times: int = 1, *, began: bool | None = True) -> None:
    for _ in range(times):
        told.dies(began=began, by_system=True, lost=True)


def alone(told: Told) -> bool:
    request = next(each for each in told.effects if isinstance(each, RequestLease))
    return request.request.alone


def test_a_compensation_is_tried_alone_and_then_given_up() -> None:
    told = compensating()
    seen = []
    for _ in range(LOST_LIMIT - 1):
        lose(told)
        seen.append(alone(told))
        assert ("died" in str(metadata_of(told.saga).waiting)) is alone(told)
    assert seen == [times >= ALONE_FROM for times in range(1, LOST_LIMIT)]
    lose(told)
    assert told.saga.parked
    assert "the actor system died 3 times in a row" in told.last(CompensationGivenUp).failure.error
    assert told.at(0).undo_counted == 0, "nothing of it counts against the policy"


def test_an_operator_gives_it_all_its_tries_again() -> None:
    told = compensating()
    lose(told, LOST_LIMIT)
    told.tell(RetryAsked("eva"))
    assert told.at(0).undo_lost == 0
    lose(told, LOST_LIMIT - 1)
    assert not told.saga.parked
    told.answer(Returned())
    assert told.saga.compensated


@pytest.mark.parametrize("ends", ["raises", "times out", "crashes"])
def test_one_that_ends_by_itself_is_no_suspect_any_more(ends: str) -> None:
    told = compensating()
    lose(told, LOST_LIMIT - 1)
    if ends == "raises":
        told.raises()
    elif ends == "times out":
        told.times_out()
    else:
        told.dies(signal=11)
    assert told.at(0).undo_lost == 0
    lose(told)
    assert not alone(told)


def test_one_that_a_stop_ends_stays_what_it_was() -> None:
    told = compensating()
    lose(told)
    for _ in range(2 * LOST_LIMIT):
        told.dies(by_system=True)
    assert told.at(0).undo_lost == 1
    assert not told.saga.parked


def test_one_that_had_not_begun_was_not_it() -> None:
    told = compensating()
    lose(told, 2 * LOST_LIMIT, began=False)
    assert told.at(0).undo_lost == 0
    lose(told, began=None)
    assert told.at(0).undo_lost == 1, "nobody knows"


def test_an_outcome_that_it_left_says_that_it_was_not_it() -> None:
    told = compensating()
    lose(told)
    told.dies(by_system=True, lost=True, answer=Returned())
    assert told.saga.compensated


def test_an_execute_is_not_retried_for_ever() -> None:
    told = Told(step("pay", idempotent=True, retry=attempts(50)))
    lose(told, LOST_LIMIT)
    assert told.saga.backward
    assert told.trail == ["execute 0"] * LOST_LIMIT


def test_a_verify_that_was_lost_too_often_says_nothing() -> None:
    told = Told(step("pay", has_verify=True))
    told.dies(signal=9)
    lose(told, LOST_LIMIT)
    assert told.trail == ["execute 0"] + ["verify 0"] * LOST_LIMIT
    assert told.saga.backward
    assert told.owed == (0,)
    assert told.saga.verdict is not Verdict.NOT_APPLIED


def test_a_cancel_of_a_suspect_is_carried_out() -> None:
    told = Told(step("pay", idempotent=True, retry=attempts(50)))
    lose(told, ALONE_FROM)
    told.tell(CancelAsked(None, "eva"))
    assert told.run().action is Action.COMPENSATE
    told.raises(FailureKind.FATAL)
    assert told.saga.parked
