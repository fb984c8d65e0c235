"""Messages that are well formed and mean nothing: every field has a value of its type, and no value makes sense."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import Enum
from functools import cache, partial
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from antistrophe.definition.events import EncodedEvent
from antistrophe.definition.spec import ResourceLimits, RetryPolicy, SagaSpec, StepSpec
from antistrophe.errors import NotSerializableError
from antistrophe.messages.message import ADDRESS
from antistrophe.serialization.type_hints import field_types
from antistrophe.settings import Settings
from antistrophe.transport.address import address_of
from antistrophe.transport.codec import MESSAGES, pack_message

_TEXTS = st.one_of(
    st.sampled_from(["", "saga", "\ud800", "\0", "x" * 5_000, "../../etc/passwd", "'; --", "real", "2", " ", "\u202e"]),
    st.text(max_size=6),
)
_NUMBERS = st.sampled_from([0, 1, -1, 2, 2**31, 2**63 - 1, -(2**63), 10**12])
_FLOATS = st.one_of(st.floats(), st.sampled_from([0.0, -1.0, 1e308, float("nan"), float("inf"), 1e-300]))
_PLAIN = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _FLOATS | _TEXTS | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=5,
)
_SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: _TEXTS | st.sampled_from(["before-1", "before-", "a"]),
    bytes: st.binary(max_size=20) | st.sampled_from([b"\xc0", b"\x80", b"\x91" * 500]),
    int: _NUMBERS,
    float: _FLOATS,
    bool: st.booleans(),
    datetime: st.datetimes(timezones=st.just(UTC)),
    type(None): st.none(),
}
# These look at what they are given; made-up ones would make every message malformed that holds them.
_CHECKED: dict[type, list[Any]] = {
    RetryPolicy: [RetryPolicy(), RetryPolicy(2**62, 1e300, 1e300, 1e300, False), RetryPolicy(1, 0.0, 1.0, 0.0)],
    ResourceLimits: [ResourceLimits(), ResourceLimits(2**62, 1e300, 2**31), ResourceLimits(1 << 20, 1e-300, 1)],
    Settings: [Settings()],
    EncodedEvent: [EncodedEvent("?", 2**63 - 1, b""), EncodedEvent("\ud800", 1, b"\xc1")],
}
_SECONDS = st.sampled_from([1e-9, 0.01, 1.0, 86_400.0])
_COUNTS = st.sampled_from([None, 1, 100_000])
# Most sagas are refused for their numbers or their names; in these all else is wrong.
_PLAUSIBLE: dict[type, dict[str, st.SearchStrategy[Any]]] = {
    SagaSpec: {
        "id": st.text("abc ü", min_size=1, max_size=3).filter(str.strip),
        "name": st.sampled_from(["a", "b"]),
        "deadline_s": st.none() | _SECONDS,
        "max_concurrent": _COUNTS,
        "priority": st.sampled_from([0, 1_000, -1_000]),
    },
    StepSpec: {
        "name": st.text("xyz", min_size=1, max_size=4),
        "timeout_s": _SECONDS,
        "kill_grace_s": _SECONDS,
        "compensation_timeout_s": _SECONDS,
        "retryable_attempts": st.sampled_from([1, 2**62]),
        "max_concurrent": _COUNTS,
        "max_per_second": st.sampled_from([None, 0.001, 100_000.0]),
        "runs_on": st.sampled_from([(), ("gpu",), ("gpu", "eu-1")]),
    },
}


@cache
def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values that a field of this type may travel with, whether its class would take them or not."""
    if hint is ADDRESS:
        return st.sampled_from([None, address_of("/nobody"), address_of(""), address_of("/tmp/\udcff")])
    if get_origin(hint) is dict:
        return st.dictionaries(_TEXTS, _PLAIN, max_size=3)
    if hint in (Any, object):
        return _PLAIN
    if hint in _SCALARS:
        return _SCALARS[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return values(arguments[0])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of([values(each) for each in arguments])
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, arguments))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    return _records(hint)


@cache
def _records(cls: type) -> st.SearchStrategy[Any]:
    if cls in _CHECKED:
        return st.sampled_from(_CHECKED[cls])
    fields = {name: values(hint) for name, hint in field_types(cls).items()}
    made = st.fixed_dictionaries(fields).map(partial(_unchecked, cls))
    if cls not in _PLAUSIBLE:
        return made
    plausible = st.fixed_dictionaries({**fields, **_PLAUSIBLE[cls]}).map(partial(_unchecked, cls))
    return st.one_of(plausible, plausible, made)


def _unchecked(cls: type, fields: dict[str, Any]) -> Any:
    """An object that its class has not looked at."""
    if issubclass(cls, msgspec.Struct):
        return cls(**fields)
    made: Any = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    assert dataclasses.is_dataclass(made)
    return made


def made_up(kinds: Iterable[str]) -> st.SearchStrategy[bytes]:
    """The frames of messages of these kinds."""
    return st.one_of([_records(MESSAGES[kind]) for kind in kinds]).map(_frame).filter(bool)


def _frame(message: Any) -> bytes:
    try:
        return pack_message(message)
    except NotSerializableError:
        return b""
