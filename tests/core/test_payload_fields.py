"""Fields of classes of every kind: refusals that name the field, what __init__ does, what somebody else wrote."""

from __future__ import annotations

import threading
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Optional, TextIO

import attrs
import pytest

from antistrophe.errors import NotSerializableError, UnreadableDataError
from antistrophe.serialization.payload import pack_fields, pack_payload, structure_fields, unpack_fields, unpack_payload


class Colour(Enum):
    RED = "r"
    BLUE = object()


@dataclass(frozen=True)
class Money:
    amount: Decimal
    currency: str = "EUR"


@dataclass(frozen=True)
class Tree:
    name: str
    parent: Optional[Tree] = None  # noqa: UP045 - the older spelling is one more kind of hint
    children: tuple[Tree, ...] = ()
    index: dict[str, Tree] = field(default_factory=dict)


@dataclass
class Nowhere:
    it: Nothing  # type: ignore[name-defined]  # noqa: F821


def test_the_bytes_name_fields_and_no_class() -> None:
    assert unpack_payload(pack_fields(Money(Decimal(1)), Money)) == {"amount": Decimal(1), "currency": "EUR"}


@dataclass
class Deep:
    things: dict[str, list[Any]]
    money: Money = Money(Decimal(1))


@dataclass
class Log:
    file: TextIO


def test_a_refusal_names_field_path_type_value_and_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(
        NotSerializableError,
        match=r"^step 'pay': field things\['a'\]\[1\], declared dict\[str, list\[Any\]\], can't travel: "
        r"<function .* \(function\)\. Pass a name for it, and look it up in execute\.$",
    ):
        pack_fields(Deep({"a": [1, lambda: 2]}), Deep, what="step 'pay'")
    with (
        (tmp_path / "f").open("w") as file,
        pytest.raises(NotSerializableError, match=r"field things\['f'\]\[0\].*Pass the file's path"),
    ):
        pack_fields(Deep({"f": [file]}), Deep)
    with pytest.raises(NotSerializableError, match=r"field money\.amount.*Pass what it is made from"):
        pack_fields(Deep({}, Money(threading.Lock())), Deep)  # type: ignore[arg-type]
    with pytest.raises(
        NotSerializableError, match=r"^Deep: field money\.currency: str is declared, the value is 5 \(int\)$"
    ):
        pack_fields(Deep({}, Money(Decimal(1), 5)), Deep)  # type: ignore[arg-type]


def chain(length: int) -> Tree:
    tree = Tree("end")
    for _ in range(length):
        tree = Tree("x", tree)
    return tree


def test_deep_and_knotted_objects_are_refused() -> None:
    assert unpack_fields(pack_fields(chain(50), Tree), Tree) == chain(50)
    with pytest.raises(NotSerializableError, match=r"Tree: field parent.*nested too deep"):
        pack_fields(chain(5_000), Tree)
    knot = Tree("knot")
    object.__setattr__(knot, "parent", knot)
    with pytest.raises(NotSerializableError, match=r"Tree: field parent.*nested too deep, or contains itself"):
        pack_fields(knot, Tree)


# --- classes of other kinds ---------------------------------------------------------------------------------------


@attrs.define
class Fine:
    account: str
    _hidden: int = attrs.field(default=3)
    many: list[Money] = attrs.field(factory=list)
    converted: int = attrs.field(default=1, converter=int)


@attrs.frozen
class OldStyle:
    x = attrs.field(type=Colour)


def test_attrs_classes() -> None:
    fine = Fine("A", 7, [Money(Decimal(1))], "5")
    assert unpack_fields(pack_fields(fine, Fine), Fine) == fine
    assert unpack_fields(pack_fields(OldStyle(Colour.BLUE), OldStyle), OldStyle).x is Colour.BLUE


class Base:
    account: str
    shared: ClassVar[list[int]] = []


class PlainOne(Base):
    colour: Colour
    limit: int = 10

    def __init__(self, raw: str) -> None:
        self.account, colour = raw.split("/")
        self.colour = Colour[colour]


def test_annotated_plain_classes_come_back_without_their_init() -> None:
    one = PlainOne("A/RED")
    back = unpack_fields(pack_fields(one, PlainOne), PlainOne)
    assert type(back) is PlainOne
    assert vars(back) == {"account": "A", "colour": Colour.RED, "limit": 10}
    del one.account
    with pytest.raises(NotSerializableError, match="PlainOne: field account is declared, but not set"):
        pack_fields(one, PlainOne)
    with pytest.raises(UnreadableDataError, match="'colour' is missing"):
        unpack_fields(pack_payload({"account": "A"}), PlainOne)
    with pytest.raises(UnreadableDataError):
        unpack_fields(pack_payload({"account": "A", "colour": "RED", "old": 1}), PlainOne, forbid_unknown=True)
    with pytest.raises(UnreadableDataError):
        unpack_fields(pack_payload([1]), PlainOne)


# --- what __init__ does with the fields ---------------------------------------------------------------------------


@dataclass
class Doubling:
    amount: int

    def __post_init__(self) -> None:
        self.amount *= 2


@dataclass
class Hidden:
    amount: int
    secret: InitVar[int]


@dataclass(eq=False)
class Incomparable:
    amount: float


@dataclass
class Computed:
    amount: int
    double: int = field(init=False)

    def __post_init__(self) -> None:
        self.double = 2 * self.amount


@dataclass
class Ranged:
    amount: int = 0

    def __post_init__(self) -> None:
        if self.amount < 0:
            raise ZeroDivisionError("amount is negative")


def test_what_comes_back_changed_is_refused() -> None:
    with pytest.raises(NotSerializableError, match=r"field amount, declared int, is 2 \(int\) and comes back as 4"):
        pack_fields(Doubling(1), Doubling)
    with pytest.raises(NotSerializableError, match=r"Hidden: .*secret"):
        pack_fields(Hidden(1, 2), Hidden)


def test_what_init_makes_of_the_fields_is_made_again() -> None:
    data = pack_fields(Computed(4), Computed)
    assert unpack_payload(data) == {"amount": 4}
    assert unpack_fields(data, Computed) == Computed(4)
    assert unpack_fields(pack_fields(Incomparable(1), Incomparable), Incomparable).amount == 1


def test_annotations_without_a_meaning_at_run_time() -> None:
    with pytest.raises(NotSerializableError, match=r"its annotations have no meaning at run time.*'Nothing'.*import"):
        pack_fields(Nowhere(1), Nowhere)
    with pytest.raises(UnreadableDataError, match="Nothing"):
        unpack_fields(pack_payload({"it": 1}), Nowhere)


# --- reading what somebody else wrote -----------------------------------------------------------------------------


def test_missing_fields_take_their_defaults_and_unknown_ones_are_ignored_or_refused() -> None:
    data = pack_payload({"amount": Decimal(1), "unknown": 5})
    assert unpack_fields(data, Money) == Money(Decimal(1))
    with pytest.raises(UnreadableDataError, match="unknown"):
        unpack_fields(data, Money, forbid_unknown=True)
    with pytest.raises(
        UnreadableDataError, match=r"step 'x' does not fit its class: field amount: 'amount' is missing"
    ):
        unpack_fields(pack_payload({}), Money, what="step 'x'")
    nested = pack_payload({"things": {}, "money": {"amount": Decimal(1), "unknown": 5}})
    assert unpack_fields(nested, Deep).money == Money(Decimal(1))
    with pytest.raises(UnreadableDataError, match="unknown"):
        unpack_fields(nested, Deep, forbid_unknown=True)


def test_a_class_that_refuses_its_fields_makes_them_unreadable() -> None:
    with pytest.raises(UnreadableDataError, match="ZeroDivisionError: amount is negative"):
        unpack_fields(pack_payload({"amount": -1}), Ranged)


def test_fields_can_be_changed_between_unpacking_and_structuring() -> None:
    fields = unpack_payload(pack_fields(Money(Decimal(1)), Money))
    assert structure_fields({**fields, "currency": "GRD"}, Money) == Money(Decimal(1), "GRD")


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", pack_payload(None), pack_payload([]), pack_payload("text"), pack_payload({1: 2})]
)
@pytest.mark.parametrize("cls", [Money, PlainOne, Fine])
def test_what_is_no_map_of_the_fields_is_unreadable(data: bytes, cls: type) -> None:
    with pytest.raises(UnreadableDataError):
        unpack_fields(data, cls)


@dataclass
class AllDefaults:
    text: str = ""


@pytest.mark.parametrize("value", [None, [], "text", 5, b"", ()])
def test_what_is_no_map_is_unreadable_even_where_all_fields_have_defaults(value: object) -> None:
    with pytest.raises(UnreadableDataError):
        unpack_fields(pack_payload(value), AllDefaults)
