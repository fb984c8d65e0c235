"""What each kind of type hint lets through: exactly what was given, or an error that names the field."""

from __future__ import annotations

import re
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antistrophe.errors import NotSerializableError, UnreadableDataError
from antistrophe.serialization.payload import pack_fields, unpack_fields

T = TypeVar("T")
AccountId = NewType("AccountId", str)


class Colour(Enum):
    RED = "r"
    BLUE = object()


class Word(str, Enum):
    YES = "yes"


class Level(IntEnum):
    LOW = 1


class Rights(Flag):
    READ = 1
    WRITE = 2


class Place(NamedTuple):
    x: int
    colour: Colour


class Options(TypedDict, total=False):
    size: int
    word: Word


@dataclass(frozen=True)
class Money:
    amount: Decimal
    currency: str = "EUR"


@dataclass(frozen=True)
class Gift:
    text: str


@dataclass(frozen=True)
class BigGift(Gift):
    pass


@dataclass(frozen=True)
class Box(Generic[T]):
    item: T


@dataclass(frozen=True)
class Tree:
    name: str
    parent: Optional[Tree] = None  # noqa: UP045 - the older spelling is one more kind of hint
    children: tuple[Tree, ...] = ()
    index: dict[str, Tree] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Everything:
    a_bool: bool
    an_int: int
    a_float: float
    a_text: str
    some_bytes: bytes
    when: datetime
    day: date
    lasts: timedelta
    exact: Decimal
    unique: UUID
    nothing: None
    colour: Colour
    word: Word
    level: Level
    rights: Rights
    path: Path
    pure: PurePosixPath
    money: Money
    maybe: Money | None
    number_or_text: int | str
    many_kinds: Money | Gift | Colour | list[int] | list[str] | int | None
    ints: list[int]
    moneys: tuple[Money, ...]
    pair: tuple[int, Colour]
    empty: tuple[()]
    colours: set[Colour]
    words: frozenset[Word]
    money_set: frozenset[Money]
    by_colour: dict[Colour, list[Money]]
    sequence: Sequence[Money]
    mapping: Mapping[str, Money]
    collection: Collection[int]
    abstract_set: AbstractSet[int]
    anything: Any
    an_object: object
    bare_list: list  # type: ignore[type-arg]
    bare_dict: dict  # type: ignore[type-arg]
    bare_tuple: tuple  # type: ignore[type-arg]
    literal: Literal[1, "one", Colour.RED]
    new_type: AccountId
    annotated: Annotated[Money, "note"]
    place: Place
    typed_dict: Options
    int_box: Box[int]
    money_box: Box[Money]
    tree: Tree
    cls_var: ClassVar[int] = 5


EVERYTHING = Everything(
    a_bool=True,
    an_int=2**70,
    a_float=1.5,
    a_text="\udc80",
    some_bytes=b"\x00",
    when=datetime(2025, 1, 1, tzinfo=UTC),
    day=date(2025, 1, 1),
    lasts=timedelta(1),
    exact=Decimal("1.10"),
    unique=UUID(int=1),
    nothing=None,
    colour=Colour.BLUE,
    word=Word.YES,
    level=Level.LOW,
    rights=Rights.READ | Rights.WRITE,
    path=Path("/a/b"),
    pure=PurePosixPath("c"),
    money=Money(Decimal(1)),
    maybe=None,
    number_or_text="x",
    many_kinds=Gift("g"),
    ints=[1, 2],
    moneys=(Money(Decimal(1)), Money(Decimal(2))),
    pair=(1, Colour.RED),
    empty=(),
    colours={Colour.RED, Colour.BLUE},
    words=frozenset([Word.YES]),
    money_set=frozenset([Money(Decimal(1)), Money(Decimal(2))]),
    by_colour={Colour.RED: [Money(Decimal(3))]},
    sequence=[Money(Decimal(1))],
    mapping={"a": Money(Decimal(1))},
    collection=(1, 2),
    abstract_set=frozenset([1]),
    anything={"a": (1, {2})},
    an_object=[b"x"],
    bare_list=[1, (2,)],
    bare_dict={1: "x"},
    bare_tuple=(1, "x"),
    literal=Colour.RED,
    new_type=AccountId("A"),
    annotated=Money(Decimal(1)),
    place=Place(1, Colour.RED),
    typed_dict={"word": Word.YES},
    int_box=Box(1),
    money_box=Box(Money(Decimal(1))),
    tree=Tree("root", None, (Tree("leaf"),), {"other": Tree("other", Tree("its parent"))}),
)


def test_every_kind_of_hint_comes_back_exactly() -> None:
    back = unpack_fields(pack_fields(EVERYTHING, Everything), Everything, forbid_unknown=True)
    assert back == EVERYTHING
    for name in Everything.__slots__:
        one, other = getattr(EVERYTHING, name), getattr(back, name)
        assert type(one) is type(other), name
    assert back.colour is Colour.BLUE
    assert back.rights == Rights.READ | Rights.WRITE
    assert type(back.place) is Place


@given(st.text(), st.integers(), st.floats(allow_nan=True), st.lists(st.decimals()), st.none() | st.booleans())
def test_generated_values(text: str, whole: int, real: float, many: list[Decimal], maybe: bool | None) -> None:
    given_ = Generated(text, whole, real, tuple(Money(each) for each in many), maybe)
    data = pack_fields(given_, Generated)
    assert repr(unpack_fields(data, Generated)) == repr(given_)
    assert pack_fields(unpack_fields(data, Generated), Generated) == data


@dataclass(frozen=True)
class Generated:
    text: str
    whole: int
    real: float
    many: tuple[Money, ...]
    maybe: bool | None


def hold(hint: Any, value: Any) -> Any:
    """An object of one field with that hint and value, whether they fit or not."""
    cls: Any = dataclass(type("Holder", (), {"__annotations__": {"it": hint}}))
    return cls(value)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (float, 100),
        (int, True),
        (Any, None),
        (int | str | None, None),
        (int | float, 5),
        (Money | Gift, Gift("g")),
        (Money | Gift | int, 7),
        (Colour | str, "RED"),
        (Colour | str, Colour.RED),
        (Word | str, Word.YES),
        (Word | str, "yes"),
        (list[int] | list[str], ["a"]),
        (list[int] | list[str], []),
        (list[int] | dict[str, int] | None, {"a": 1}),
        (tuple[int, ...] | None, (1,)),
        (set[int] | frozenset[int], frozenset([1])),
        (Literal["a", 1], 1),
        (Literal["a"] | int, "a"),
        (Path | str, Path("x")),
        (Path | str, "x"),
        (list[Money | int], [Money(Decimal(1)), 2]),
        (dict[str, list[Money] | None], {"a": None, "b": [Money(Decimal(1))]}),
        (Mapping[AccountId, Rights], {AccountId("a"): Rights.READ}),
        (Iterable[int], (1, 2)),
        (Iterable[int], [1, 2]),
        (frozenset[tuple[int, ...]], frozenset([(1,), (2, 3)])),
        (Box[Box[Colour]], Box(Box(Colour.RED))),
    ],
    ids=repr,
)
def test_values_that_fit(hint: Any, value: Any) -> None:
    holder = hold(hint, value)
    back = unpack_fields(pack_fields(holder, type(holder)), type(holder)).it
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, "5"),
        (int, 5.0),
        (int, Level.LOW),
        (int, Decimal(5)),
        (float, "1.5"),
        (float, True),
        (bool, 1),
        (str, 5),
        (str, b"x"),
        (str, Word.YES),
        (str, None),
        (bytes, "x"),
        (datetime, "2025-01-01"),
        (datetime, date(2025, 1, 1)),
        (date, datetime(2025, 1, 1, tzinfo=UTC)),
        (Decimal, 1),
        (UUID, "00000000-0000-0000-0000-000000000001"),
        (None, 0),
        (Colour, "RED"),
        (Colour, Word.YES),
        (Rights, 3),
        (Path, "/a"),
        (Path, 5),
        (Money, {"amount": Decimal(1), "currency": "EUR"}),
        (Money, Gift("g")),
        (Gift, BigGift("a subclass would come back as its base")),
        (Box[int], Box("x")),
        (list[int], (1,)),
        (list[int], ["1"]),
        (list[str], "abc"),
        (tuple[str, ...], "abc"),
        (tuple[int, ...], [1]),
        (tuple[int, str], (1,)),
        (tuple[int, str], (1, "a", 2)),
        (tuple[()], (1,)),
        (set[int], [1]),
        (set[int], frozenset([1])),
        (dict[str, int], {"a": "1"}),
        (dict[str, int], {1: 1}),
        (dict[str, int], OrderedDict(a=1)),
        (dict[Money, int], {Money(Decimal(1)): 1}),
        (list, [Money(Decimal(1))]),
        (dict, {"a": Colour.RED}),
        (Any, Money(Decimal(1))),
        (object, Colour.RED),
        (int | str, 1.5),
        (int | str, Word.YES),
        (Money | Gift, BigGift("g")),
        (list[int] | list[str], [1, "a"]),
        (Literal[1], True),
        (Literal["a"], "b"),
        (Place, (1, Colour.RED)),
        (Place, Place(1, "RED")),  # type: ignore[arg-type]
        (Options, {"size": "1"}),
        (deque, deque([1])),
        (Counter, Counter("a")),
        (defaultdict, defaultdict(int)),
        (threading.Thread, 1),
        (Callable[[], int], len),
        (type[int], int),
        (complex, 1j),
        (T, 1),
        (Box, Box(1)),
    ],
    ids=repr,
)
def test_values_that_do_not_fit_are_refused_by_field(hint: Any, value: Any) -> None:
    holder = hold(hint, value)
    with pytest.raises(NotSerializableError) as refused:
        pack_fields(holder, type(holder), what="step 'x'")
    assert "step 'x'" in str(refused.value)
    assert re.match(r"step 'x': field it\b", str(refused.value)), str(refused.value)


@given(st.data())
def test_damaged_fields_are_unreadable_or_another_object_of_the_class(draw: st.DataObject) -> None:
    data = bytearray(pack_fields(EVERYTHING, Everything))
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        back = unpack_fields(bytes(data), Everything)
    except UnreadableDataError as error:
        assert str(error)  # noqa: PT017 - any text will do, as any damage may have been done
        return
    assert type(back) is Everything
    assert unpack_fields(pack_fields(back, Everything), Everything) is not None
