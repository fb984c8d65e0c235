"""Self-describing values as msgpack: written and read again exactly, without type hints and without pickle.

None, bool, int, float, str, bytes, list and dict are plain msgpack. What msgpack does not know travels as extension
types: whole numbers over 64 bits, datetime, date, time, timedelta, Decimal, UUID, set and frozenset; a tuple is an
array that opens with a mark; a model, which only ``antistrophe.definition.outputs`` writes, is the name of its class
and its fields, and is read here as its fields. Sets are written in the order of their items' encoding, so that equal
values of one type give equal bytes (a dict keeps its own order). A bytearray or memoryview comes back as bytes.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import msgpack

from antistrophe.linux.late_imports import late_import

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

# The codes are the file format: never renumber them.
TUPLE, SET, FROZENSET, BIG_INT, DATETIME, DATE, TIME, TIMEDELTA, DECIMAL, UUID_, MODEL = range(1, 12)
FIRST_OTHER = 64
"""The first code that is free for types of the caller's."""

# The types that are no containers. A value of another type travels only in a builtin container or a declared field.
SCALARS = frozenset(
    (type(None), bool, int, float, str, bytes, bytearray, memoryview, datetime, date, time, timedelta, Decimal, UUID)
)
# Each set within a set takes a packer or unpacker of its own; the limit keeps the C stack small.
MAX_SETS_WITHIN_SETS = 8
_TUPLE_MARK = msgpack.ExtType(TUPLE, b"")
# The mark holds these two bytes, whether its length of 0 is written in 1, 2 or 4 bytes.
_NEAR_A_MARK = bytes((0, TUPLE))
_DURATION = struct.Struct(">iii")
_SUFFIX = re.compile(r"\[([^\[\]]+)\]")


def pack(value: Any, _sets_around: int = 0, *, others: Callable[[Any], msgpack.ExtType | None] | None = None) -> bytes:
    """One value as msgpack. ``others`` packs types that are not listed above, outside of sets, with codes from
    FIRST_OTHER on, or as MODEL. Raises TypeError (any other type) or ValueError (nested too deep)."""
    encode = _ENCODERS[_sets_around]
    packer = msgpack.Packer(
        # strict_types: a subclass of a builtin would come back as the builtin.
        default=encode if others is None else lambda each: others(each) or encode(each),
        strict_types=True,
        # A file name that is not UTF-8 reaches Python with lone surrogates, which have to come back as they were.
        unicode_errors="surrogatepass",
        buf_size=1024,
    )
    packed: bytes = packer.pack(value)
    return packed


def unpack(data: bytes, _sets_around: int = 0, *, others: Callable[[int, bytes], Any] | None = None) -> Any:
    """The value that ``pack`` wrote; ``others`` reads MODEL and the codes from FIRST_OTHER on. Raises some Exception
    on anything else. Never runs code from the data, and needs memory in proportion to them."""
    # `in` would take ten times as long: it first tries to read what it looks for as a number.
    if data.find(_NEAR_A_MARK) < 0 and others is None:
        # There is no tuple without a mark, so no array needs a call.
        return _unpack(data, _EXTENSIONS[_sets_around], None)
    reader = _Reader(_sets_around, others)
    value = _unpack(data, reader.extension, reader.array)
    if reader.open_marks:
        raise ValueError("a mark of a tuple stands where no tuple begins")
    return value


def _unpack(data: bytes, extension: Callable[[int, bytes], Any], array: Callable[[list[Any]], Any] | None) -> Any:
    return msgpack.unpackb(
        data,
        ext_hook=extension,
        list_hook=array,
        strict_map_key=False,
        unicode_errors="surrogatepass",
        timestamp=3,
    )


class _Reader:
    """Makes tuples of the arrays that open with a mark. ``open_marks`` counts the marks that have not made one."""

    __slots__ = ("open_marks", "others", "sets_around")

    def __init__(self, sets_around: int, others: Callable[[int, bytes], Any] | None) -> None:
        self.open_marks = 0
        self.sets_around = sets_around
        self.others = others

    def array(self, items: list[Any]) -> Any:
        if items and items[0] is _TUPLE_MARK:
            self.open_marks -= 1
            return tuple(items[1:])
        return items

    def extension(self, code: int, data: bytes) -> Any:
        if code == TUPLE and not data:
            self.open_marks += 1
            return _TUPLE_MARK
        if self.others is not None and (code >= FIRST_OTHER or code == MODEL):
            return self.others(code, data)
        return _decode(code, data, sets_around=self.sets_around)


def _decode(code: int, data: bytes, sets_around: int) -> Any:
    if code == MODEL:
        if sets_around:
            raise ValueError("a model within a set")
        return read_model(data)[1]
    if code not in (SET, FROZENSET):
        return _DECODERS[code](data)
    if sets_around >= MAX_SETS_WITHIN_SETS:
        raise ValueError("sets are nested too deep")
    items = unpack(data, sets_around + 1)
    if type(items) is not list:
        raise ValueError("a set that is no array")
    return set(items) if code == SET else frozenset(items)


def read_model(data: bytes) -> tuple[str, Any, list[str]]:
    """The name of the class, the fields, and the paths of the hidden fields of a packed model. Raises some Exception on
    anything else."""
    name, fields, hidden = unpack(data, others=_refused)
    if type(name) is not str:
        raise ValueError("a model whose class has no name")
    if type(hidden) is not list or not all(type(each) is str for each in hidden):
        raise ValueError("a model whose hidden fields are no list of paths")
    return name, fields, hidden


def _refused(code: int, _data: bytes) -> Any:
    # Each would take an unpacker of its own: the limit keeps the C stack small.
    raise ValueError(f"code {code} within a model, where no other model stands")


def _encode(value: Any, sets_around: int) -> Any:
    kind = type(value)
    if kind is tuple:
        return [_TUPLE_MARK, *value]
    if kind is set or kind is frozenset:
        return msgpack.ExtType(SET if kind is set else FROZENSET, pack_set_items(value, sets_around))
    encoder = _SCALARS.get(kind)
    if encoder is None:
        raise TypeError(f"no encoding for {kind.__module__}.{kind.__qualname__}")
    code, encode = encoder
    return msgpack.ExtType(code, encode(value))


def pack_set_items(items: Iterable[Any], sets_around: int = 0) -> bytes:
    """The items as a msgpack array in the order of their encoding. Raises like ``pack``."""
    if sets_around >= MAX_SETS_WITHIN_SETS:
        raise ValueError(f"more than {MAX_SETS_WITHIN_SETS} sets within each other")
    packed = sorted(pack(item, sets_around + 1) for item in items)
    header: bytes = msgpack.Packer(buf_size=16).pack_array_header(len(packed))
    return header + b"".join(packed)


_LEVELS = range(MAX_SETS_WITHIN_SETS + 1)
_ENCODERS = tuple(partial(_encode, sets_around=level) for level in _LEVELS)
_EXTENSIONS = tuple(partial(_decode, sets_around=level) for level in _LEVELS)


# --- scalars ------------------------------------------------------------------------------------------------------


def _encode_int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _decode_int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _encode_moment(value: datetime | time) -> bytes:
    """ISO 8601, and as in RFC 9557 the time zone's name in brackets; ``[fold=1]`` marks the second of two equal wall
    clock times."""
    text = value.isoformat()
    zone = value.tzinfo
    if zone is not None and zone is not UTC and (key := _key_of(zone)) is not None:
        text += f"[{key}]"
    if value.fold:
        text += "[fold=1]"
    return text.encode()


def _key_of(zone: tzinfo) -> str | None:
    """The name of a time zone of ``zoneinfo``. Nobody has one before that module is imported."""
    zoneinfo = sys.modules.get("zoneinfo")
    return cast("ZoneInfo", zone).key if zoneinfo is not None and isinstance(zone, zoneinfo.ZoneInfo) else None


def _zone_of(key: str) -> ZoneInfo:
    with late_import():  # most programs have no value with a time zone's name
        from zoneinfo import ZoneInfo
    return ZoneInfo(key)


def _split(data: bytes) -> tuple[str, ZoneInfo | None, int]:
    text = data.decode()
    zone, fold = None, 0
    for suffix in _SUFFIX.findall(text):
        if suffix == "fold=1":
            fold = 1
        else:
            zone = _zone_of(suffix)
    return text.partition("[")[0], zone, fold


def _decode_datetime(data: bytes) -> datetime:
    text, zone, fold = _split(data)
    stored = datetime.fromisoformat(text)
    if zone is None:
        return stored.replace(fold=fold)
    local = stored.replace(tzinfo=zone, fold=fold)
    # If the rules of the zone have changed since, the moment is kept, not the wall clock.
    return local if local.utcoffset() == stored.utcoffset() else stored.astimezone(zone)


def _decode_time(data: bytes) -> time:
    text, zone, fold = _split(data)
    stored = time.fromisoformat(text)
    return stored.replace(fold=fold) if zone is None else stored.replace(tzinfo=zone, fold=fold)


def _decode_uuid(data: bytes) -> UUID:
    return UUID(bytes=data)


def _decode_duration(data: bytes) -> timedelta:
    return timedelta(*_DURATION.unpack(data))


_SCALARS: dict[type, tuple[int, Callable[[Any], bytes]]] = {
    int: (BIG_INT, _encode_int),
    datetime: (DATETIME, _encode_moment),
    date: (DATE, lambda value: value.isoformat().encode()),
    time: (TIME, _encode_moment),
    timedelta: (TIMEDELTA, lambda value: _DURATION.pack(value.days, value.seconds, value.microseconds)),
    Decimal: (DECIMAL, lambda value: str(value).encode()),
    UUID: (UUID_, lambda value: value.bytes),
}
_DECODERS: dict[int, Callable[[bytes], Any]] = {
    BIG_INT: _decode_int,
    DATETIME: _decode_datetime,
    DATE: lambda data: date.fromisoformat(data.decode()),
    TIME: _decode_time,
    TIMEDELTA: _decode_duration,
    DECIMAL: lambda data: Decimal(data.decode()),
    UUID_: _decode_uuid,
}
