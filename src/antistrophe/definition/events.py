"""Events: the classes that are events, each under a type and a version, and the bytes of an event."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar, overload

from antistrophe.definition.computed import computes_fields, computes_in_parts
from antistrophe.definition.computed_of_events import restore_computed_fields, with_computed
from antistrophe.errors import InvalidDefinitionError, NotSerializableError, UnreadableDataError
from antistrophe.fast_dataclass import dataclass
from antistrophe.serialization import msgpack_values, struct_dataclass
from antistrophe.serialization.converter import hooks
from antistrophe.serialization.masks import masked_paths
from antistrophe.serialization.payload import pack_fields, structure_fields, unpack_payload
from antistrophe.serialization.program import MAIN, program_namespace
from antistrophe.serialization.type_hints import is_structured, short

C = TypeVar("C", bound=type)

_MARK = "__antistrophe_event__"
# Where the class was written. This is read when the class is registered: later its module may have left sys.modules.
_SOURCE = "__antistrophe_source__"
_classes: dict[tuple[str, int], type] = {}
_newest: dict[str, int] = {}  # every read of an event asks this, maybe while another thread registers a class
# The keys of the classes with computed fields: each read and write of an event asks this.
_computing: set[tuple[str, int]] = set()

NEWEST_POSSIBLE_VERSION = 2**63 - 1
"""The highest version that a type of events can have: the largest integer of a SQLite column."""


@struct_dataclass.dataclass(frozen=True, slots=True)
class EncodedEvent:
    """An event as it is stored and as it travels: the name and the version of its type, and its fields as msgpack.
    ``masked``: the paths of the fields that people are not shown.

    Raises ValueError for a version that no type can have.
    """

    type: str
    type_version: int
    data: bytes
    masked: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not is_version(self.type_version):
            raise ValueError(f"an event's version must be a whole number from 1 to {NEWEST_POSSIBLE_VERSION}")


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event of a type or version for which this program has no class. ``data`` holds its fields by name."""

    type: str
    type_version: int
    data: dict[str, Any]


def is_version(version: int) -> bool:
    """Whether a type of events can have this version."""
    return 1 <= version <= NEWEST_POSSIBLE_VERSION


@overload
def event(cls: C, /) -> C: ...
@overload
def event(name: str | None = None, /, *, version: int = 1) -> Callable[[C], C]: ...
def event(name: Any = None, /, *, version: int = 1) -> Any:
    """Make a dataclass (or attrs class) an event: ``@event``, or ``@event("account.debited", version=2)``.

    ::

        @event
        @dataclass(frozen=True)
        class Debited:
            account: str
            amount: int

    The type's name is the class's name unless given; versions count from 1. Raises InvalidDefinitionError for a class
    without declared fields, for a bad name or version, and for a second, different class of the same name and version.
    The same class defined anew (a module loaded again) takes the place of the older one.
    """
    if isinstance(name, type):
        return _register(name, name.__name__, 1)
    if name is not None and (not isinstance(name, str) or not name.strip() or not name.isprintable()):
        raise InvalidDefinitionError(f"the name of an event's type must be a printable text, not {short(name)}")
    if isinstance(version, bool) or not isinstance(version, int) or not is_version(version):
        raise InvalidDefinitionError(
            f"an event's version must be a whole number from 1 to {NEWEST_POSSIBLE_VERSION}, not {short(version)}"
        )
    return lambda cls: _register(cls, name or cls.__name__, version)


def _register(cls: type, name: str, version: int) -> type:
    if not is_structured(cls):
        raise InvalidDefinitionError(f"{short(cls)} can't be an event: put @event above @dataclass(frozen=True)")
    source = _source(cls)
    other = _classes.get((name, version))
    if other is not None and other.__dict__[_SOURCE] != source:
        raise InvalidDefinitionError(
            f"event {name!r} version {version} is already {other.__module__}.{other.__qualname__} and can't be "
            f'{cls.__module__}.{cls.__qualname__} too: give one a name of its own, @event("...", version=...)'
        )
    (_computing.add if computes_fields(cls) else _computing.discard)((name, version))
    _classes[name, version] = cls
    _newest[name] = max(version, _newest.get(name, version))
    setattr(cls, _MARK, (name, version))
    setattr(cls, _SOURCE, source)
    return cls


def _source(cls: type) -> tuple[str, str]:
    """Where a class was written: the file of its module and the class's name, or the module's name if it has no file.

    The file counts because one script is a different module in the application, in a step process, and when it is
    imported by name.
    """
    program = program_namespace() if cls.__module__ == MAIN else vars(sys.modules.get(cls.__module__, object))
    file = program.get("__file__")
    return (os.path.realpath(file) if file else cls.__module__), cls.__qualname__


def event_key(cls: type) -> tuple[str, int] | None:
    """The type and version that ``@event`` gave to this class; None where it is no event. Subclasses of an event are
    none."""
    key: tuple[str, int] | None = cls.__dict__.get(_MARK)
    return key


def event_class(type_name: str, version: int) -> type | None:
    """The class of this type and version, or None."""
    return _classes.get((type_name, version))


def newest_version(type_name: str) -> int | None:
    """The highest version for which a class is registered, or None where the type is unknown."""
    return _newest.get(type_name)


def encode_event(obj: object) -> EncodedEvent:
    """The event with its type and version, packed. Raises NotSerializableError for an object that is no event, and for
    a field that can't travel."""
    cls = type(obj)
    key = event_key(cls)
    if key is None:
        raise NotSerializableError(f"{short(obj)} is no event: put @event above its class's @dataclass(frozen=True)")
    what = f"event {key[0]}"
    data = pack_fields(obj, cls, what=what)
    if key in _computing or computes_in_parts(cls):
        data = with_computed(obj, data, what)
    return EncodedEvent(key[0], key[1], data, masked_paths(cls))


def decode_event(type_name: str, version: int, data: bytes) -> object:
    """The event that was encoded, or a RawEvent for an unknown type or version. Raises UnreadableDataError for bytes
    that are no event, or that no longer fit the class."""
    key = type_name, version
    cls = _classes.get(key)
    if cls is not None:
        try:
            fields = msgpack_values.unpack(data)
            event: object = hooks(cls)[1](fields)
            if key in _computing:
                restore_computed_fields(event, fields)
        except Exception:  # the slower way below finds out what is wrong, and says it
            pass
        else:
            return event
    return decode_fields(type_name, version, unpack_payload(data, what=type_name))


def decode_fields(type_name: str, version: int, fields: dict[str, Any]) -> object:
    """As `decode_event`, from fields that are unpacked already: an upcaster may have changed them."""
    cls = _classes.get((type_name, version))
    if cls is not None:
        event: object = structure_fields(fields, cls, what=type_name)
        restore_computed_fields(event, fields)
        return event
    if fields.__class__ is not dict:
        raise UnreadableDataError(f"the data of event {type_name} are no map of fields")
    return RawEvent(type_name, version, fields)
