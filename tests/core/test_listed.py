"""What the list of sagas says of each saga, and whose view is folded from the entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antistrophe.records import SagaStatus
from antistrophe.saga.inputs import ProcessRefused, Resumed, Returned
from antistrophe.saga.listed import FOLDED_BYTES, FOLDED_ENTRIES, FOLDED_STEPS, Listed, row_after
from antistrophe.saga.state import Saga
from antistrophe.saga.step_state import KEPT_BYTES
from antistrophe.saga.view import SagaView, metadata_of
from tests.core.saga_kit import Told, attempts, step
from tests.core.test_view import DONE, ORDERS, SAID


def rows_of(told: Told, *then: Callable[[Told], object]) -> list[Any]:
    """What is kept of the saga after each of these."""
    known: Saga | None = None
    rows: list[Any] = []
    for what in (lambda _told: None, *then):
        what(told)
        rows.append(row_after(known, told.saga, told.journal[known.seq if known else 0 :]))
        known = told.saga
    return rows


def answers(told: Told) -> object:
    return told.answer(DONE)


@settings(max_examples=100)
@given(said=st.lists(st.sampled_from(sorted(SAID)), max_size=30), park=st.booleans())
def test_the_list_says_what_monitoring_shows(said: list[str], park: bool) -> None:
    told = Told(
        step("pay", retry=attempts(3), idempotent=True), step("ship", compensation_retry=attempts(3)), park=park
    )
    known: Saga | None = None
    stands: Listed | None = None
    while told.saga is not known and told.saga.seq <= FOLDED_ENTRIES:
        row = row_after(known, told.saga, told.journal[known.seq if known else 0 :])
        assert isinstance(row, Listed)
        if row.changed:
            stands = row
        known, shown = told.saga, metadata_of(told.saga)
        assert stands is not None
        assert (row.status, row.error, row.waiting) == (stands.status, stands.error, stands.waiting)
        assert (row.id, row.status, row.error) == (shown.id, shown.status, shown.error)
        if row.waiting != shown.waiting:
            assert row.waiting is None
            assert str(shown.waiting).startswith("a step process to ")
        while said and told.saga is known and not (told.saga.ended or (told.saga.parked and said[-1] not in ORDERS)):
            SAID[said.pop()](told)


def test_the_ordinary_course_changes_the_list_at_its_begin_and_its_end() -> None:
    def granted(told: Told) -> object:
        return told.run()

    told = Told(step("pay"), step("pack"), step("ship"))
    rows = rows_of(told, granted, answers, granted, answers, granted, answers)
    assert [row.changed for row in rows] == [True, False, False, False, False, False, True]
    assert [row.waiting for row in rows] == [None] * 7
    assert rows[-1].status is SagaStatus.COMPLETED


def test_what_a_saga_waits_for_is_listed_and_forgotten() -> None:
    (limited,) = rows_of(Told(step("pay", max_concurrent=2)))
    assert "at most 2 run at the same time" in limited.waiting
    told = Told(step("pay"), step("ship", retry=attempts(2, 5.0)))
    rows = rows_of(
        told,
        lambda told: told.tell(ProcessRefused("no module named shop")),
        lambda told: told.run(),
        answers,
        lambda told: told.raises(),
        lambda told: told.run(),
    )
    waits = [row.waiting for row in rows]
    assert waits[1] == "no module named shop"
    assert waits[2] is None
    assert "the next attempt to execute ship comes at" in waits[4]
    assert waits[5] is None
    assert all(row.changed for row in (rows[0], rows[1], rows[2], rows[4], rows[5]))


def test_of_a_saga_that_is_long_or_large_the_view_is_kept() -> None:
    many = Told(*(step(f"step {number}") for number in range(FOLDED_STEPS + 1)))
    large = Told(step("pay", input=b"x" * (FOLDED_BYTES + 1)))
    for told in (many, large):
        assert all(isinstance(row, SagaView) for row in rows_of(told))
    assert all(isinstance(row, Listed) for row in rows_of(Told(*(step(f"{n}") for n in range(FOLDED_STEPS)))))


@pytest.mark.parametrize("size", [FOLDED_BYTES + 1, KEPT_BYTES + 1])
def test_a_saga_that_becomes_large_begins_with_a_whole_view(size: int) -> None:
    told = Told(step("pay"), step("pack"), step("ship"))
    rows = rows_of(told, answers, lambda told: told.answer(Returned(b"x" * size)), lambda told: told.run(), answers)
    assert [type(row) for row in rows[:2]] == [Listed, Listed]
    assert isinstance(rows[2], SagaView)
    assert not any(isinstance(row, Listed) for row in rows[2:])


def test_a_saga_that_becomes_long_begins_with_a_whole_view() -> None:
    told = Told(step("pay", retry=attempts(100)), step("ship"))
    rows = rows_of(told, *([lambda told: told.raises()] * FOLDED_ENTRIES))
    kinds = [type(row) for row in rows]
    first = next(number for number, kind in enumerate(kinds) if kind is not Listed)
    assert first > FOLDED_ENTRIES / 4
    assert kinds[first] is SagaView
    assert Listed not in kinds[first:]


def test_nothing_is_listed_of_a_decision_that_changes_nothing() -> None:
    told = Told(step("pay"))
    told.run()
    before = told.saga
    told.tell(Resumed())
    row = row_after(before, told.saga, told.journal[before.seq :])
    assert isinstance(row, Listed)
    assert not row.changed
