"""The dataclass of records is the standard library's: the same class in all that one can see of it."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from functools import partial
from typing import Any, ClassVar

import pytest

from antistrophe import fast_dataclass

NAN = float("nan")


def _plain(dataclass: Callable[..., Any]) -> tuple[tuple[type, tuple[Any, ...]], ...]:
    """Classes with nothing but fields and methods, and values for one record."""

    @dataclass(frozen=True, slots=True)
    class Several:
        """A record."""

        x: int
        y: float | None = None
        z: tuple[int, ...] = ()

        def both(self) -> tuple[Any, ...]:
            return self.x, self.y

        @property
        def double(self) -> int:
            return self.x * 2

    @dataclass(frozen=True, slots=True)
    class One:
        """A record."""

        only: object

    @dataclass(frozen=True, slots=True)
    class Nothing:
        """A record."""

    return (Several, (1, 2.5)), (One, (NAN,)), (Nothing, ())


def _special(dataclass: Callable[..., Any]) -> tuple[tuple[type, tuple[Any, ...]], ...]:
    """Classes with something more, and values for one record."""

    @dataclass(frozen=True, slots=True)
    class Checked:
        """A record."""

        x: int = 1

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError(f"{self.x} is below 0")

    @dataclass(frozen=True, slots=True)
    class WithField:
        """A record."""

        x: list[int] = field(default_factory=list, compare=False, repr=False)
        kind: ClassVar[str] = "k"

    @dataclass(frozen=True, slots=True, repr=False)
    class NoRepr:
        """A record."""

        self: int = 0

        def __repr__(self) -> str:
            return "mine"

    return (Checked, (3,)), (WithField, ([1],)), (NoRepr, ())


def _shapes(dataclass: Callable[..., Any]) -> dict[str, tuple[type, tuple[Any, ...]]]:
    return {cls.__name__: (cls, values) for cls, values in (*_plain(dataclass), *_special(dataclass))}


OURS, LIBRARY = _shapes(fast_dataclass.dataclass), _shapes(dataclasses.dataclass)


def _seen(cls: Any, values: tuple[Any, ...]) -> list[Any]:
    record = cls(*values)
    names = [each.name for each in dataclasses.fields(cls)]
    return [
        repr(record).replace(hex(id(record)), ""),
        [getattr(record, name) for name in names],
        str(inspect.signature(cls)),
        cls.__slots__,
        cls.__match_args__,
        str(cls.__dataclass_params__),
        [str(each) for each in dataclasses.fields(cls)],
        cls.__init__.__qualname__,
        cls.__init__.__annotations__,
        record == cls(*values),
        record != cls(*values),
        record == 1,
        copy.copy(record) == record,
        dataclasses.replace(record) == record,
        sorted(set(dir(cls))),
        *(_error(partial(setattr, record, name, 1)) for name in names),
        *(_error(partial(delattr, record, name)) for name in names),
        _error(lambda: cls(1, 2, 3, 4)),
        _error(lambda: cls(no=1)),
        _error(lambda: cls(*(-1 for _ in names))),
    ]


def _error(call: Callable[[], object]) -> tuple[type, str] | None:
    try:
        call()
    except Exception as error:
        return type(error), str(error)
    return None


@pytest.mark.parametrize("name", OURS)
def test_a_class_looks_like_that_of_the_library(name: str) -> None:
    assert _seen(*OURS[name]) == _seen(*LIBRARY[name])


@pytest.mark.parametrize("name", [name for name in OURS if name != "WithField"])
def test_records_hash_alike(name: str) -> None:
    (ours, values), (theirs, _) = OURS[name], LIBRARY[name]
    assert hash(ours(*values)) == hash(theirs(*values))


@dataclasses.dataclass(frozen=True, slots=True)
class Inside:
    """A record of the library's."""

    x: object = None


@fast_dataclass.dataclass(frozen=True, slots=True)
class Outside:
    """A record of ours."""

    x: int
    inside: object = None


def test_a_record_travels_by_pickle_and_by_copy() -> None:
    record = Outside(1, Inside([1]))
    for back in (pickle.loads(pickle.dumps(record)), copy.deepcopy(record)):  # noqa: S301 - of this test's own
        assert back == record
        assert back is not record


def test_a_record_that_holds_itself_has_a_text() -> None:
    held: list[object] = []
    record = Outside(1, held)
    held.append(record)
    assert repr(record) == "Outside(x=1, inside=[...])"


def test_nothing_can_be_added_to_a_record() -> None:
    for change in (partial(setattr, Outside(1), "new", 1), partial(delattr, Outside(1), "new")):
        with pytest.raises(FrozenInstanceError):
            change()


def test_a_class_below_a_record_may_have_more() -> None:
    class Below(Outside):
        pass

    below: Any = Below(1)
    below.more = 2
    assert below.more == 2
    with pytest.raises(FrozenInstanceError):
        below.x = 3
    assert below != Outside(1)


def test_a_match_takes_the_fields_in_order() -> None:
    match Outside(1, "in"):
        case Outside(x, inside):
            assert (x, inside) == (1, "in")
        case _:
            pytest.fail("it does not match")


def test_other_classes_are_for_the_library() -> None:
    with pytest.raises(AssertionError, match="standard library"):
        fast_dataclass.dataclass(frozen=False, slots=True)
