"""Packs what travels between processes and what is journaled: typed values <-> msgpack, exactly or not at all.

``pack_payload`` packs self-describing values, ``pack_fields`` the fields of a step or an event along their type hints,
``pack_record`` the runtime's own records. Nothing is pickled, and reading runs no code but the ``__init__`` of the
class that the caller names. A reader raises UnreadableDataError on data that it can't read, and no other error::

    data = pack_fields(Debit("alice", 5), Debit)
    assert unpack_fields(data, Debit) == Debit("alice", 5)
"""

from __future__ import annotations

import contextlib
import io
import re
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import Any, TypeVar, cast

import msgpack
import msgspec

from antistrophe.errors import NotSerializableError, PayloadTooLargeError, UnreadableDataError
from antistrophe.exception_text import name_and_text
from antistrophe.serialization import msgpack_values
from antistrophe.serialization.converter import hooks, make_converter
from antistrophe.serialization.masks import hidden_fields, masked_paths
from antistrophe.serialization.type_hints import (
    Mismatch,
    field_types,
    is_model,
    is_structured,
    reading,
    short,
    type_text,
    writing,
)

T = TypeVar("T")

_plain = msgspec.msgpack.Encoder()
_HIDDEN = "what is wrong with it is not told here, because there are fields that may not be shown (repr=False)"

_WHAT_TRAVELS = (
    "None, bool, int, float, str, bytes, list, tuple, dict, set, frozenset, datetime, date, time, timedelta, Decimal "
    "and UUID travel, and where a field declares them Enum, Path, dataclasses, attrs classes and pydantic models"
)


# --- self-describing values ---------------------------------------------------------------------------------------


def pack_payload(
    value: Any, *, what: str = "the value", models: Callable[[Any], msgpack.ExtType | None] | None = None
) -> bytes:
    """A self-describing value as msgpack, and with ``models`` the pydantic models in it, which this packs. Raises
    NotSerializableError, which names the place of the value that can't travel."""
    try:
        return msgpack_values.pack(value, others=models)
    except NotSerializableError:  # a model can't travel, and says why
        raise
    except Exception as error:
        path, reason = _culprit(value, value, error, models is not None)
        raise NotSerializableError(f"{what}{path} can't travel: {reason}") from error


def pack_plain(value: Any, *, what: str = "the value") -> bytes:
    """As ``pack_payload``, in a tenth of the time, for a value of None, bool, int, float, str, bytes, and lists of
    these."""
    try:
        return _plain.encode(value)
    except Exception:  # a text with a lone surrogate, a number over 64 bits, a subclass of one of these types
        return pack_payload(value, what=what)


def unpack_payload(data: bytes, *, what: str = "the data", models: Callable[[int, bytes], Any] | None = None) -> Any:
    """What ``pack_payload`` wrote; ``models`` reads packed models, which else are their fields. Raises
    UnreadableDataError on anything else."""
    try:
        return msgpack_values.unpack(data, others=models)
    except Exception as error:
        raise UnreadableDataError(f"{what} can't be read as msgpack: {_text(error)}") from error


# --- the fields of steps and events -------------------------------------------------------------------------------


def pack_fields(obj: Any, cls: type, *, what: str | None = None) -> bytes:
    """The fields of a dataclass, attrs class or annotated plain class as a msgpack map by field name.

    The fields are read again at once. A field that does not come back as it was raises NotSerializableError, which
    names ``what`` (by default the class), the field, its declared type and its value."""
    try:
        write, read = hooks(cls)
        data = msgpack_values.pack(write(obj))
        rebuilt = read(msgpack_values.unpack(data))
        same = msgpack_values.pack(write(rebuilt)) == data or _same_fields(obj, rebuilt, cls)
    except Exception as error:
        raise NotSerializableError(_why_not(obj, cls, what or cls.__qualname__, error)) from _cause(error, cls)
    if not same:
        raise NotSerializableError(_why_not(obj, cls, what or cls.__qualname__, None))
    return data


def prepare_fields(cls: type) -> None:
    """Generate now the code that `unpack_fields` with ``forbid_unknown`` needs for this class. An error in the class is
    raised later, when its fields are unpacked."""
    with contextlib.suppress(Exception):
        hooks(cls, False, True)


def unpack_fields(data: bytes, cls: type[T], *, what: str | None = None, forbid_unknown: bool = False) -> T:
    """A new object of ``cls`` from what ``pack_fields`` wrote: missing fields take their defaults, unknown ones are
    ignored (or with ``forbid_unknown`` refused). Raises UnreadableDataError where the data do not fit the class."""
    what = what or cls.__qualname__
    return structure_fields(unpack_payload(data, what=what), cls, what=what, forbid_unknown=forbid_unknown)


def structure_fields(fields: Any, cls: type[T], *, what: str | None = None, forbid_unknown: bool = False) -> T:
    """As `unpack_fields`, from a map that ``unpack_payload`` gave; the caller may have changed the map before."""
    try:
        obj: T = hooks(cast(Any, cls), False, forbid_unknown)[1](fields)
    except Exception as error:
        detail = _why_unreadable(fields, cls, forbid_unknown, error)
        text = f"{what or cls.__qualname__} does not fit its class: {detail}"
        raise UnreadableDataError(text) from _cause(error, cls)
    return obj


# --- the runtime's own records ------------------------------------------------------------------------------------


def pack_record(record: Any) -> bytes:
    """One of the runtime's frozen dataclasses as msgpack: the class's name and its fields."""
    cls = type(record)
    try:
        return msgpack_values.pack([cls.__name__, hooks(cast(Any, cls))[0](record)])
    except Exception as error:
        raise NotSerializableError(_why_not(record, cls, cls.__qualname__, error)) from error


def unpack_record(data: bytes, types: tuple[type[T], ...]) -> T:
    """The record that ``pack_record`` wrote, if its class is one of these. Raises UnreadableDataError on anything else.
    Unknown fields are ignored and missing ones take their defaults, so older and newer programs read each other."""
    try:
        name, fields = msgpack_values.unpack(data)
        read = _readers(types)[name]
    except Exception as error:
        raise UnreadableDataError(f"no record of a known kind: {_text(error)}") from error
    try:
        record: T = read(fields)
    except Exception as error:
        raise UnreadableDataError(f"a {name} can't be read: {_text(error)}") from error
    return record


@lru_cache(maxsize=64)
def _readers(types: tuple[type, ...]) -> dict[str, Any]:
    return {cls.__name__: hooks(cls)[1] for cls in types}


def check_size(data: bytes, limit: int, what: str) -> None:
    """Raise PayloadTooLargeError where ``data`` is over ``limit`` bytes; ``what`` begins the message."""
    if len(data) > limit:
        raise PayloadTooLargeError(
            f"{what} takes {len(data)} bytes, over the limit of {limit} (max_payload_bytes): "
            "store it elsewhere and pass a reference to it, or raise the limit"
        )


# --- what went wrong ----------------------------------------------------------------------------------------------


def _text(error: BaseException) -> str:
    if isinstance(error, Mismatch):
        return str(error)
    if isinstance(error, KeyError) and error.args:
        return f"{short(error.args[0]).rpartition(' ')[0]} is missing"
    return name_and_text(error)


def _same_fields(one: Any, other: Any, cls: type) -> bool:
    return all(_same(getattr(one, name), getattr(other, name)) for name in field_types(cls))


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # a user's __eq__ may raise anything; then nobody knows that they are equal
        return False


def _why_not(obj: Any, cls: type, what: str, error: Exception | None) -> str:
    """Why the object can't travel: go through its fields one by one, up to the one that can't."""
    try:
        hints = field_types(cls)
    except Exception as hint_error:
        return f"{what}: its annotations have no meaning at run time ({_text(hint_error)}); import what they name"
    converter = make_converter(False, False)
    for name, hint in hints.items():
        if not hasattr(obj, name):
            return f"{what}: field {name} is declared, but not set"
        written = value = getattr(obj, name)
        try:
            written = writing(hint, converter)(value)
            msgpack_values.pack(written)
            reading(hint, converter)
        except Exception as field_error:
            path, reason = _culprit(value, written, field_error)
            if _hides(cls, name, hint):
                return f"{what}: field {name}, declared {type_text(hint)}, can't travel: {_HIDDEN}"
            if reason == str(field_error):
                return f"{what}: field {name}: {reason}"
            return f"{what}: field {name}{path}, declared {type_text(hint)}, can't travel: {reason}"
    return _why_not_the_same(obj, cls, what, hints, error)


def _why_not_the_same(obj: Any, cls: type, what: str, hints: Mapping[str, Any], error: Exception | None) -> str:
    try:
        write, read = hooks(cls, True)
        rebuilt = read(msgpack_values.unpack(msgpack_values.pack(write(obj))))
    except Exception as read_error:
        return f"{what}: {_locate(read_error, cls)}"
    for name, hint in hints.items():
        before, after = getattr(obj, name), getattr(rebuilt, name)
        if not _same(before, after):
            change = f"is {short(before)} and comes back as {short(after)}"
            if _hides(cls, name, hint):
                change = f"comes back as another value: {_HIDDEN}"
            return f"{what}: field {name}, declared {type_text(hint)}, {change}"
    why = None if error is None else _cause(error, cls)
    return f"{what} does not come back as it was" + (f": {_text(why)}" if why else "")


def _why_unreadable(fields: Any, cls: type, forbid_unknown: bool, error: Exception) -> str:
    try:
        hooks(cls, True, forbid_unknown)[1](fields)
    except Exception as detailed:
        return _locate(detailed, cls)
    return _text(error) if _cause(error, cls) else _HIDDEN


def _locate(error: Exception, cls: type) -> str:
    from cattrs import transform_error

    problems = [text.rpartition(" @ ") for text in transform_error(error, "", lambda each, _: _text(each))]
    # The text for no one field is that of a class, which may say what it has found in any of them.
    hiding = _hiding(cls)
    problems = [
        (_HIDDEN if hiding and re.split(r"[.\[]", path.lstrip("."))[0] in {"", *hiding} else text, at, path)
        for text, at, path in problems
    ]
    return "; ".join(f"field {path.lstrip('.')}: {text}" if path else text for text, _, path in problems)


def _cause(error: Exception, cls: type) -> Exception | None:
    """The error, if the class has nothing to hide: the text of an error may show any value."""
    return None if _hiding(cls) else error


def _hiding(cls: type) -> Collection[str]:
    """The fields of a class that hide something."""
    with contextlib.suppress(Exception):  # its annotations may have no meaning
        return {name for name, hint in field_types(cls).items() if _hides(cls, name, hint)}
    return hidden_fields(cls)


def _hides(cls: type, name: str, hint: Any) -> bool:
    """Whether there is something in this field that people are not to be shown."""
    return name in hidden_fields(cls) or bool(masked_paths(hint))


def _culprit(value: Any, written: Any, error: Exception, models_travel: bool = False) -> tuple[str, str]:
    """Path and reason of the first part that can't travel. The value itself is searched first, where Enums, paths and
    classes may be declared; then what was written of the value, where none may stand."""
    if isinstance(error, RecursionError) or "recursion limit" in str(error):
        return "", "it is nested too deep, or contains itself"
    try:
        found = next(_foreign_parts(value, "", set(), True, models_travel), None)
        if found is None and not isinstance(error, Mismatch):
            found = next(_foreign_parts(written, "", set(), False), None)
    except RecursionError:
        found = None
    if found is None:
        return "", _text(error)
    path, part = found
    return path, f"{short(part)}. {_advice(part)}"


def _foreign_parts(
    value: Any, path: str, seen: set[int], may_be_declared: bool, models_travel: bool = False
) -> Iterator[tuple[str, Any]]:
    kind = type(value)
    if models_travel and is_model(kind):
        return
    if kind in msgpack_values.SCALARS or id(value) in seen or (may_be_declared and isinstance(value, Enum | PurePath)):
        return
    seen.add(id(value))
    parts: Iterable[tuple[str, Any]]
    if kind is dict:
        keys = ((f"{path} key", key) for key in value)
        parts = (*keys, *((f"{path}[{short(key).rpartition(' ')[0]}]", item) for key, item in value.items()))
    elif kind in (list, tuple, set, frozenset):
        parts = ((f"{path}[{index}]", item) for index, item in enumerate(value))
    elif may_be_declared and is_structured(kind):
        parts = ((f"{path}.{name}", getattr(value, name, None)) for name in field_types(kind))
    else:
        yield path, value
        return
    for part_path, part in parts:
        yield from _foreign_parts(
            part, part_path, seen, may_be_declared, models_travel and kind not in (set, frozenset)
        )


def _advice(part: Any) -> str:
    if isinstance(part, io.IOBase):
        return "Pass the file's path, and open it in execute."
    if isinstance(part, types.FunctionType | types.BuiltinFunctionType | types.MethodType | type):
        return "Pass a name for it, and look it up in execute."
    if is_model(type(part)):
        return "Declare its class as the type of the field. Of an output, return its model_dump(mode='json')."
    if isinstance(part, types.GeneratorType):
        return "Pass its items as a tuple."
    return f"Pass what it is made from, and make it in execute; {_WHAT_TRAVELS}."
