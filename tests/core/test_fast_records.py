"""Frozen records of values: changed copies, and new ones."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, replace

import pytest

from antistrophe.definition.spec import RetryPolicy
from antistrophe.errors import InvalidStepError
from antistrophe.saga.entries import SagaCompleted
from antistrophe.serialization.fast_records import changed, maker


@dataclass(frozen=True, slots=True)
class Point:
    """A record."""

    x: int
    y: int = 2
    names: tuple[str, ...] = ()


def test_a_copy_has_the_new_values_and_the_others_of_the_record() -> None:
    point = Point(1, names=("a",))
    assert changed(point, x=5) == replace(point, x=5) == Point(5, 2, ("a",))
    assert changed(point) == point
    assert changed(point) is not point
    assert point == Point(1, 2, ("a",))


def test_a_record_of_one_field_is_copied_too() -> None:
    assert changed(SagaCompleted(1.5), at=2.5) == SagaCompleted(2.5)
    assert changed(SagaCompleted(1.5)) == SagaCompleted(1.5)


def test_a_copy_is_as_frozen_and_as_small_as_the_record() -> None:
    twin = changed(Point(1), y=3)
    assert type(twin) is Point
    assert not hasattr(twin, "__dict__")
    with pytest.raises(FrozenInstanceError):
        twin.x = 7  # type: ignore[misc]


def test_a_field_that_the_record_does_not_have_is_refused() -> None:
    with pytest.raises(AttributeError, match="z"):
        changed(Point(1), z=3)


def test_a_maker_makes_what_the_class_makes() -> None:
    made = maker(Point)(1, 2, ("a",))
    assert made == Point(1, 2, ("a",))
    assert type(made) is Point
    assert hash(made) == hash(Point(1, 2, ("a",)))
    with pytest.raises(TypeError):
        maker(Point)(1)


def test_a_class_that_looks_at_its_values_does_so() -> None:
    with pytest.raises(InvalidStepError):
        maker(RetryPolicy)(0, 0.1, 2.0, 5.0, True)
