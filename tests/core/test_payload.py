"""Self-describing values: everything that may travel comes back exactly, and nothing else gets through."""

from __future__ import annotations

import io
import math
import resource
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antistrophe.errors import NotSerializableError, PayloadTooLargeError, UnreadableDataError
from antistrophe.serialization.payload import check_size, pack_payload, pack_plain, unpack_payload

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"]).map(ZoneInfo)
OFFSETS = st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**200), max_value=2**200),
    st.floats(),
    st.text(st.characters()),
    st.binary(),
    st.dates(),
    st.datetimes(timezones=st.none() | ZONES | OFFSETS, allow_imaginary=False),
    st.times(timezones=st.none() | OFFSETS),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
)
KEYS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.dates(), st.uuids())
HASHABLE = st.recursive(
    KEYS,
    lambda inner: st.one_of(st.lists(inner, max_size=4).map(tuple), st.frozensets(inner, max_size=4)),
    max_leaves=8,
)
VALUES = st.recursive(
    SCALARS | HASHABLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.sets(HASHABLE, max_size=4),
        st.dictionaries(HASHABLE, inner, max_size=5),
    ),
    max_leaves=20,
)


def identical(one: Any, other: Any) -> bool:
    """Equal, and of the same classes all the way down; NaN is identical to NaN, a datetime keeps fold and zone."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, Decimal):
        return repr(one) == repr(other)
    if isinstance(one, datetime | time):
        return one.replace(tzinfo=None) == other.replace(tzinfo=None) and (one.fold, one.tzinfo) == (
            other.fold,
            other.tzinfo,
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(identical(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return identical(list(one.items()), list(other.items()))
    return bool(one == other)


@given(VALUES)
def test_every_value_comes_back_exactly(value: object) -> None:
    assert identical(unpack_payload(pack_payload(value)), value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(st.characters()) | st.binary(),
        lambda items: st.lists(items, max_size=4),
    )
)
def test_a_plain_value_has_the_same_bytes(value: object) -> None:
    assert pack_plain(value) == pack_payload(value)


def test_a_plain_value_that_cannot_travel_is_refused_as_any_other() -> None:
    assert pack_plain(["\udc80", 2**64]) == pack_payload(["\udc80", 2**64])
    with pytest.raises(NotSerializableError, match=r"the row\[1\] can't travel"):
        pack_plain([1, object()], what="the row")


@given(st.sets(HASHABLE, max_size=8))
def test_the_bytes_of_a_set_do_not_depend_on_its_order(items: set[object]) -> None:
    backwards: set[object] = set()
    for item in reversed(list(items)):  # where two hashes collide, the order of adding shows
        backwards.add(item)
    assert pack_payload(items) == pack_payload(backwards)
    assert pack_payload(frozenset(items)) == pack_payload(frozenset(backwards))


@pytest.mark.parametrize(
    "value",
    [
        2**63 - 1,
        2**64 - 1,
        2**64,
        -(2**63),
        -(2**63) - 1,
        10**5_000,
        -(10**5_000),
        math.nan,
        -math.inf,
        -0.0,
        "\udc80 lone",
        "a\x00b",
        b"",
        (),
        [()],
        ((),),
        {(1, (2,)): [3]},
        set(),
        frozenset([frozenset([frozenset()])]),
        Decimal("1.50"),
        Decimal("sNaN"),
        Decimal("-0E+500"),
        date.min,
        datetime.max.replace(tzinfo=UTC),
        datetime(2025, 10, 26, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2025, 10, 26, 2, 30, fold=0, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2025, 3, 30, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2020, 1, 1, fold=1),  # noqa: DTZ001 - naive ones travel too
        datetime(2020, 1, 1, tzinfo=UTC),
        datetime(2020, 1, 1, tzinfo=timezone(timedelta(seconds=1))),
        time(1, 2, 3, 4, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        timedelta.min,
        timedelta.max,
        UUID(int=0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_borders(value: object) -> None:
    assert identical(unpack_payload(pack_payload(value)), value)


def test_a_moment_in_a_zone_whose_rules_changed_keeps_the_moment() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    # As a program would have written it that knew Berlin to be three hours ahead.
    data = msgpack.packb(msgpack.ExtType(5, b"2025-06-01T15:00:00+03:00[Europe/Berlin]"))
    assert identical(unpack_payload(data), datetime(2025, 6, 1, 14, tzinfo=berlin))


def test_another_kind_of_zone_becomes_its_offset() -> None:
    class Fixed(timezone.__base__):  # type: ignore[misc, name-defined]
        def utcoffset(self, _: object) -> timedelta:
            return timedelta(hours=2)

        def dst(self, _: object) -> None:
            return None

        def tzname(self, _: object) -> str:
            return "two"

    moment = datetime(2025, 6, 1, tzinfo=Fixed())
    back = unpack_payload(pack_payload(moment))
    assert back == moment
    assert back.tzinfo == timezone(timedelta(hours=2))


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Text(str):
    __slots__ = ()


class Point(NamedTuple):
    x: int
    y: int


class Nasty:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def nested_list(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def nested_set(depth: int) -> frozenset[Any]:
    value: frozenset[Any] = frozenset()
    for _ in range(depth):
        value = frozenset([value])
    return value


@pytest.mark.parametrize(
    "make",
    [
        lambda: lambda: 1,
        object,
        Nasty,
        lambda: len,
        lambda: int,
        io.BytesIO,
        threading.Lock,
        lambda: (n for n in range(3)),
        lambda: iter([1]),
        lambda: range(3),
        lambda: 1j,
        lambda: Colour.RED,
        lambda: Level.LOW,
        lambda: Text("x"),
        lambda: Point(1, 2),
        lambda: deque([1]),
        lambda: OrderedDict(a=1),
        lambda: Path("/tmp"),
    ],
    ids=lambda make: type(make).__name__,
)
@pytest.mark.parametrize(
    ("wrap", "place"),
    [
        (lambda value: value, "the value can't travel"),
        (lambda value: {"a": [1, (value,)]}, "the value['a'][1][0] can't travel"),
    ],
)
def test_anything_else_is_refused_with_its_place(
    make: Callable[[], Any], wrap: Callable[[Any], Any], place: str
) -> None:
    with pytest.raises(NotSerializableError) as refused:
        pack_payload(wrap(make()))
    assert str(refused.value).startswith(place), str(refused.value)


@pytest.mark.parametrize("depth", [1_100, 5_000, 200_000])
def test_what_is_nested_too_deep_is_refused(depth: int) -> None:
    with pytest.raises(NotSerializableError, match="nested too deep"):
        pack_payload(nested_list(depth))


def test_a_value_inside_itself_is_refused() -> None:
    knot: list[Any] = [1]
    knot.extend([knot, knot])
    with pytest.raises(NotSerializableError, match="nested too deep"):
        pack_payload({"knot": knot})


def test_sets_within_sets_are_limited_in_both_directions() -> None:
    assert unpack_payload(pack_payload(nested_set(7))) == nested_set(7)
    with pytest.raises(NotSerializableError, match="sets within each other"):
        pack_payload(nested_set(9))
    data = msgpack.packb([])
    for _ in range(5_000):
        data = msgpack.packb([msgpack.ExtType(3, data)])
    with pytest.raises(UnreadableDataError, match="nested too deep"):
        unpack_payload(data)


@given(st.binary(max_size=300))
def test_garbage_is_an_error_or_a_value_of_ours(data: bytes) -> None:
    read_or_refuse(data)


@given(VALUES, st.data())
def test_a_damaged_value_is_an_error_or_another_value_of_ours(value: object, draw: st.DataObject) -> None:
    data = bytearray(pack_payload(value))
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    read_or_refuse(bytes(data))


@given(st.integers(-128, 127), st.binary(max_size=40))
def test_an_extension_of_garbage(code: int, data: bytes) -> None:
    read_or_refuse(
        msgpack.packb(msgpack.ExtType(code, data)) if code >= 0 else b"\xd4" + bytes([code & 255]) + data[:1]
    )


def read_or_refuse(data: bytes) -> None:
    try:
        value = unpack_payload(data)
    except UnreadableDataError:
        return
    # What was read is of the types that travel: no mark of a tuple is left over, nothing foreign got in.
    assert identical(unpack_payload(pack_payload(value)), value)


@pytest.mark.parametrize(
    "data",
    [
        msgpack.packb(msgpack.ExtType(1, b"")),
        msgpack.packb([1, msgpack.ExtType(1, b"")]),
        msgpack.packb([msgpack.ExtType(1, b""), msgpack.ExtType(1, b"")]),
        msgpack.packb({"a": msgpack.ExtType(1, b"")}),
        b"\xc8\x00\x00\x01",
        b"\xc9\x00\x00\x00\x00\x01",
        b"\xd4\x01\x00",
        msgpack.packb({"key": 1})[:-1],
        msgpack.packb(1) + b"\x00",
        msgpack.packb({(): 1}, strict_types=False).replace(b"\x90", b"\x81\xa1a\x01", 1),
        b"\x81\x90\x01",
        b"",
        b"\xc1",
        msgpack.packb(msgpack.ExtType(5, b"2025-01-01[../../../etc/passwd]")),
        msgpack.packb(msgpack.ExtType(5, b"2025-01-01T00:00:00[Europe]")),
        msgpack.packb(msgpack.ExtType(9, b"__import__('os')")),
        msgpack.packb(msgpack.ExtType(99, b"x")),
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
    ],
)
def test_what_is_no_value_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableDataError):
        unpack_payload(data)


def test_memory_stays_in_proportion_when_lengths_lie() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lying = b"\xdd\x00\x0f\x00\x00" * 200_000
    with pytest.raises(UnreadableDataError):
        unpack_payload(lying)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000, "KiB"


def test_size_limit() -> None:
    check_size(b"x" * 10, 10, "it")
    with pytest.raises(PayloadTooLargeError, match=r"the input of step 'a' takes 11 bytes, over the limit of 10"):
        check_size(b"x" * 11, 10, "the input of step 'a'")
