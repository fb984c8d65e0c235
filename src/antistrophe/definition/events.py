"""Events: which classes are events, under which type and version, and their bytes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from antistrophe.errors import InvalidDefinitionError, NotSerializableError, UnreadableDataError
from antistrophe.serialization import msgpack_values
from antistrophe.serialization.converter import hooks
from antistrophe.serialization.payload import pack_fields, structure_fields, unpack_payload
from antistrophe.serialization.type_hints import is_structured, short

C = TypeVar("C", bound=type)

_MARK = "__antistrophe_event__"
# Where the class was written, found out when it is registered: its module may be gone from sys.modules later.
_SOURCE = "__antistrophe_source__"
_classes: dict[tuple[str, int], type] = {}
_newest: dict[str, int] = {}  # asked at every read of an event, and maybe while another thread registers one


NEWEST_POSSIBLE_VERSION = 2**63 - 1
"""The highest version that a type of events can have: as far as the numbers of their table go."""


@dataclass(frozen=True, slots=True)
class EncodedEvent:
    """An event as it is stored and travels: its type's name, that type's version, its fields as msgpack. Raises
    ValueError for a version that no type can have."""

    type: str
    type_version: int
    data: bytes

    def __post_init__(self) -> None:
        if not is_version(self.type_version):
            raise ValueError(f"an event's version is a whole number from 1 to {NEWEST_POSSIBLE_VERSION}")


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event of a type or version that this program has no class for; ``data`` is the map of its fields."""

    type: str
    type_version: int
    data: dict[str, Any]


def is_version(version: int) -> bool:
    """Whether a type of events can have that version."""
    return 1 <= version <= NEWEST_POSSIBLE_VERSION


@overload
def event(cls: C, /) -> C: ...
@overload
def event(name: str | None = None, /, *, version: int = 1) -> Callable[[C], C]: ...
def event(name: Any = None, /, *, version: int = 1) -> Any:
    """Make a dataclass (or attrs class) an event: ``@event``, or ``@event("account.debited", version=2)``.

    The type's name is the class's name unless given. Stands above ``@dataclass(frozen=True)``. Raises
    InvalidDefinitionError for a class without declared fields, a bad name or version, and for a second, different
    class of the same name and version; the same class defined anew (a module loaded again) takes the older one's
    place.
    """
    if isinstance(name, type):
        return _register(name, name.__name__, 1)
    if name is not None and (not isinstance(name, str) or not name.strip() or not name.isprintable()):
        raise InvalidDefinitionError(f"an event's type is named by a printable text, not by {short(name)}")
    if isinstance(version, bool) or not isinstance(version, int) or not is_version(version):
        raise InvalidDefinitionError(
            f"an event's version is a whole number from 1 to {NEWEST_POSSIBLE_VERSION}, not {short(version)}"
        )
    return lambda cls: _register(cls, name or cls.__name__, version)


def _register(cls: type, name: str, version: int) -> type:
    if not is_structured(cls):
        raise InvalidDefinitionError(f"{short(cls)} can't be an event: put @event above @dataclass(frozen=True)")
    source = _source(cls)
    other = _classes.get((name, version))
    if other is not None and other.__dict__[_SOURCE] != source:
        raise InvalidDefinitionError(
            f"event {name!r} version {version} is {other.__module__}.{other.__qualname__} already and can't be "
            f'{cls.__module__}.{cls.__qualname__} too: give one a name of its own, @event("...", version=...)'
        )
    _classes[name, version] = cls
    _newest[name] = max(version, _newest.get(name, version))
    setattr(cls, _MARK, (name, version))
    setattr(cls, _SOURCE, source)
    return cls


def _source(cls: type) -> tuple[str, str]:
    """Where a class was written: its module's file, as a script is one module in the application and another in a
    step process, and may be imported by name besides; the module's name where it has no file."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return (os.path.realpath(file) if file else cls.__module__), cls.__qualname__


def event_key(cls: type) -> tuple[str, int] | None:
    """Type and version that ``@event`` gave to this very class; None where it is no event (a base's mark is not
    inherited)."""
    key: tuple[str, int] | None = cls.__dict__.get(_MARK)
    return key


def event_class(type_name: str, version: int) -> type | None:
    """The class of that type and version, or None."""
    return _classes.get((type_name, version))


def newest_version(type_name: str) -> int | None:
    """The highest version that a class is registered for, or None where the type is unknown."""
    return _newest.get(type_name)


def encode_event(obj: object) -> EncodedEvent:
    """An event's type, version and bytes. Raises NotSerializableError for what is no event, or can't travel."""
    cls = type(obj)
    key = event_key(cls)
    if key is None:
        raise NotSerializableError(f"{short(obj)} is no event: put @event above its class's @dataclass(frozen=True)")
    return EncodedEvent(key[0], key[1], pack_fields(obj, cls, what=f"event {key[0]}"))


def decode_event(type_name: str, version: int, data: bytes) -> object:
    """The event that was encoded, or a RawEvent for an unknown type or version. Raises UnreadableDataError on data
    that are no event's, or no longer fit the class."""
    cls = _classes.get((type_name, version))
    if cls is not None:
        try:
            event: object = hooks(cls)[1](msgpack_values.unpack(data))
        except Exception:  # the way below takes twice as long, and tells what is wrong
            pass
        else:
            return event
    return decode_fields(type_name, version, unpack_payload(data, what=type_name))


def decode_fields(type_name: str, version: int, fields: dict[str, Any]) -> object:
    """The same from the unpacked map of fields, so that they can be changed before the object is made."""
    cls = _classes.get((type_name, version))
    if cls is not None:
        event: object = structure_fields(fields, cls, what=type_name)
        return event
    if fields.__class__ is not dict:
        raise UnreadableDataError(f"{type_name} is no map of fields")
    return RawEvent(type_name, version, fields)
