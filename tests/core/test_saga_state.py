"""The fold: what a journal can't be, and what a state never does."""

from __future__ import annotations

import pytest
from msgspec.structs import fields

from antistrophe.saga import state
from antistrophe.saga.entries import (
    ENTRY_TYPES,
    Action,
    AttemptStarted,
    AttemptSucceeded,
    Entry,
    FailureKind,
    Lease,
    SagaAccepted,
    SagaCompleted,
    StepResolved,
)
from antistrophe.saga.inputs import Returned
from antistrophe.saga.state import evolve, replay
from tests.core.saga_kit import Told, step

LEASE = Lease("process-9", 9, 1, "boot")
STARTED = AttemptStarted(1001.0, 0, Action.EXECUTE, 1, 10.0, 1011.0, LEASE)


def test_a_journal_begins_with_the_acceptance() -> None:
    with pytest.raises(ValueError, match="first entry of a saga must be SagaAccepted, not SagaCompleted"):
        evolve(None, SagaCompleted(1000.0))
    with pytest.raises(ValueError, match="without entries"):
        replay([])


def test_a_state_can_not_be_changed() -> None:
    saga = Told(step()).saga
    for record, name in ((saga, "seq"), (saga.steps[0], "started")):
        with pytest.raises(AttributeError):
            setattr(record, name, 7)
    after = Told(step(), step("ship")).saga
    assert after == Told(step(), step("ship")).saga != saga


def test_nothing_follows_the_final_entry() -> None:
    told = Told()
    with pytest.raises(ValueError, match="SagaCompleted follows the final entry of saga 'saga-1'"):
        evolve(told.saga, SagaCompleted(1001.0))


def test_a_saga_is_accepted_once() -> None:
    told = Told(step())
    with pytest.raises(ValueError, match="SagaAccepted can't follow"):
        evolve(told.saga, told.journal[0])


def test_no_attempt_starts_while_another_may_be_running() -> None:
    told = Told(step())
    told.run()
    with pytest.raises(ValueError, match="while another may be running"):
        evolve(told.saga, STARTED)


@pytest.mark.parametrize("index", [-1, 1])
def test_an_entry_is_about_a_step_that_there_is(index: int) -> None:
    told = Told(step())
    for entry in (
        AttemptSucceeded(1001.0, index, Action.EXECUTE, 1),
        StepResolved(1001.0, index, "by hand", "me"),
    ):
        with pytest.raises(ValueError, match="can't follow"):
            evolve(told.saga, entry)


def test_an_entry_of_a_saga_without_steps_is_about_none() -> None:
    with pytest.raises(ValueError, match="can't follow"):
        evolve(replay(Told().journal[:1]), STARTED)


def test_every_kind_of_entry_can_be_folded() -> None:
    assert set(state._FOLDS) | {SagaAccepted} == set(ENTRY_TYPES)


def test_a_state_is_never_changed_in_place() -> None:
    told = Told(step("pay"), step("ship"))
    before, copy = told.saga, {field.name: getattr(told.saga, field.name) for field in fields(told.saga)}
    told.answer(Returned(b"\xa2ok"))
    assert {field.name: getattr(before, field.name) for field in fields(before)} == copy
    assert before != told.saga


def test_every_prefix_is_a_state_of_its_own() -> None:
    told = Told(step("pay"), step("ship"))
    told.answer(Returned(b"\xa2ok"))
    told.raises(FailureKind.FATAL)
    told.answer(Returned())
    states = [replay(told.journal[:length]) for length in range(1, len(told.journal) + 1)]
    assert [each.seq for each in states] == list(range(1, len(told.journal) + 1))
    assert states[-1] == told.saga
    assert [each.updated_at for each in states] == [_at(entry) for entry in told.journal]


def _at(entry: Entry) -> float:
    return entry.at
