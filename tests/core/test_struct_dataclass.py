"""A record of our own is a Struct that everything takes for a frozen dataclass."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from antistrophe.serialization.fast_records import changed, maker
from antistrophe.serialization.payload import pack_record, unpack_record
from antistrophe.serialization.struct_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Inner:
    """A record."""

    name: str = "n"


@dataclass(frozen=True, slots=True)
class Outer:
    """A record with all that a record has."""

    number: int
    share: float = 0.5
    inner: Inner | None = None
    parts: tuple[Inner, ...] = ()

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("below 0")

    @property
    def double(self) -> int:
        return 2 * self.number


OUTER = Outer(1, inner=Inner("a"), parts=(Inner(), Inner("b")))


def test_a_record_is_taken_for_a_dataclass() -> None:
    assert dataclasses.is_dataclass(Outer)
    assert [(field.name, field.default) for field in dataclasses.fields(OUTER)][1:] == [
        ("share", 0.5),
        ("inner", None),
        ("parts", ()),
    ]
    assert dataclasses.replace(OUTER, number=4) == changed(OUTER, number=4) == Outer(4, 0.5, Inner("a"), OUTER.parts)
    assert dataclasses.asdict(Outer(1, inner=Inner())) == {
        "number": 1,
        "share": 0.5,
        "inner": {"name": "n"},
        "parts": (),
    }
    match OUTER:
        case Outer(number, share=share):
            assert (number, share, OUTER.double) == (1, 0.5, 2)
    assert maker(Outer)(1, 0.5, Inner("a"), OUTER.parts) == OUTER


def test_records_are_equal_and_hash_by_their_values() -> None:
    twin = Outer(1, inner=Inner("a"), parts=(Inner(), Inner("b")))
    assert twin == OUTER
    assert changed(OUTER, share=0.25) != OUTER
    assert len({OUTER, twin}) == 1
    assert repr(Outer(1)) == "Outer(number=1, share=0.5, inner=None, parts=())"
    for same in (copy.copy(OUTER), copy.deepcopy(OUTER), pickle.loads(pickle.dumps(OUTER))):  # noqa: S301 - our own
        assert same == OUTER


def test_a_record_is_frozen_and_its_values_are_checked() -> None:
    with pytest.raises(AttributeError):
        OUTER.number = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        object.__setattr__(OUTER, "number", 2)
    with pytest.raises(ValueError, match="below 0"):
        Outer(-1)
    with pytest.raises(TypeError, match="other"):
        changed(OUTER, other=1)


def test_a_record_is_packed_with_the_names_of_its_fields_as_a_dataclass_is() -> None:
    packed = pack_record(OUTER)
    assert unpack_record(packed, (Outer,)) == OUTER
    library = dataclasses.make_dataclass("Outer", [("number", int), ("share", float)], frozen=True, slots=True)
    assert pack_record(Outer(1))[:20] == pack_record(library(1, 0.5))[:20].replace(b"\x82", b"\x84")


def test_what_is_no_simple_record_is_refused() -> None:
    class Based(Inner):
        """A class with a base."""

    with pytest.raises(AssertionError, match="no base"):
        dataclass(frozen=True, slots=True)(Based)

    class WithField:
        """A class with a field()."""

        items: list[int] = dataclasses.field(default_factory=list)

    with pytest.raises(AssertionError, match="no field"):
        dataclass(frozen=True, slots=True)(WithField)
