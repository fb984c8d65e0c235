"""Sagas of many steps: what a step costs does not depend on how many steps there are."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antistrophe.saga.effects import next_work
from antistrophe.saga.entries import FailureKind
from antistrophe.saga.inputs import RetryAsked, Returned
from antistrophe.saga.long_tuples import LONGEST_TUPLE, LongTuple, sequence_of, with_last, with_value
from antistrophe.saga.state import owed, replay
from antistrophe.saga.view import view_after
from tests.core.saga_kit import Told, step

DONE = Returned(b"\xa2ok")
SHORT, LONG = 500, 4_000


@given(values=st.lists(st.integers(), max_size=400), more=st.lists(st.integers(), max_size=200), place=st.integers(0))
def test_a_long_tuple_is_a_tuple(values: list[int], more: list[int], place: int) -> None:
    sequence = sequence_of(values)
    for value in more:
        before, known = tuple(sequence), sequence
        sequence = with_last(sequence, value)
        assert tuple(known) == before, "the one that was changed stays as it was"
    whole = [*values, *more]
    if whole:
        index = place % len(whole)
        sequence, whole[index] = with_value(sequence, index, -7), -7
        assert sequence[index] == sequence[index - len(whole)] == -7
    assert (tuple(sequence), len(sequence)) == (tuple(whole), len(whole))
    assert list(reversed(sequence)) == whole[::-1]
    assert tuple(sequence[1:5]) == tuple(whole[1:5])
    assert isinstance(sequence, LongTuple) == (len(whole) > LONGEST_TUPLE)
    assert sequence == sequence_of(whole)
    assert hash(sequence) == hash(sequence_of(whole))
    assert sequence != sequence_of([*whole, 1])
    for index in (len(whole), -len(whole) - 1):
        with pytest.raises(IndexError):
            sequence[index]


def told(steps: int) -> Told:
    return Told(*(step(f"step {number}", requires_compensation=number % 3 != 1) for number in range(steps)))


def test_a_long_saga_goes_forward_and_back_in_order() -> None:
    saga = told(300)
    for _ in range(250):
        saga.answer(DONE)
    saga.times_out()
    while not saga.saga.parked:
        saga.raises() if saga.run().step == 99 else saga.answer(DONE)
    backward = [number for number in reversed(range(251)) if number % 3 != 1]
    forward = [f"execute {number}" for number in range(251)]
    assert saga.trail == forward + [f"compensate {number}" for number in backward if number >= 99]
    assert replay(saga.journal) == saga.saga
    assert next_work(saga.saga) is None
    saga.tell(RetryAsked("ann"))
    while not saga.saga.ended:
        saga.answer(DONE)
    assert saga.trail[-1] == "compensate 0"
    assert owed(saga.saga) == ()


def cost(steps: int, *, backward: bool) -> float:
    """The least CPU seconds that an answer took, with what the journal keeps of it, in a saga of so many steps."""
    saga = told(steps)
    before_all = saga.saga
    while not saga.saga.backward if backward else saga.saga.ahead < steps - 30:
        if backward and saga.saga.ahead == steps - 1:
            saga.raises(FailureKind.FATAL)
        else:
            saga.answer(DONE)
    found = []
    for _ in range(20):
        before, known = saga.saga, len(saga.journal)
        begun = time.process_time()
        saga.answer(DONE)
        view_after(before, saga.saga, saga.journal[known:])
        found.append(time.process_time() - begun)
    assert saga.saga is not before_all
    return min(found)


@pytest.mark.parametrize("backward", [False, True])
def test_a_step_costs_as_much_in_a_long_saga_as_in_a_short_one(backward: bool) -> None:
    assert cost(LONG, backward=backward) < 3 * cost(SHORT, backward=backward) + 50e-6
