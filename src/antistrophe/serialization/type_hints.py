"""What the type hint of one value lets through: scalars, Enums, Literals, paths and Any.

cattrs by itself coerces (``int("5")``, ``list("abc")``), which would change a step's input on its way. Here a value
passes only if it is of the type that its field declares; any other value raises, in writing and in reading.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, cast, get_args, get_origin
from uuid import UUID

from antistrophe.serialization.program import hints_of

if TYPE_CHECKING:
    from cattrs import Converter

Out: TypeAlias = Callable[[Any], Any]
In: TypeAlias = Callable[[Any, Any], Any]

# The classes of the values that a declared type accepts. An int may stand where a float is declared.
SCALARS: dict[Any, tuple[type, ...]] = {
    **{kind: (kind,) for kind in (bool, str, bytes, datetime, date, time, timedelta, Decimal, UUID, types.NoneType)},
    int: (int, bool),
    float: (float, int),
}


class Mismatch(TypeError):  # noqa: N818 - always answered with an error of the caller's own
    """A value is not what its field declares."""


def mismatch(declared: Any, value: Any) -> Mismatch:
    """The error for a value that is not of the declared type."""
    return Mismatch(f"{type_text(declared)} is declared, the value is {short(value)}")


def short(value: Any) -> str:
    """A value and its type for a message, in at most about 120 characters."""
    try:
        text = repr(value)
    except Exception:  # a user's __repr__ may raise anything, and so may a number of too many digits
        text = "..."
    return f"{text if len(text) <= 100 else text[:97] + '...'} ({type(value).__qualname__})"


def type_text(declared: Any) -> str:
    """A type hint as a user would write it."""
    return declared.__qualname__ if isinstance(declared, type) else str(declared).replace("typing.", "")


def is_structured(cls: Any) -> bool:
    """True for a dataclass, an attrs class or a pydantic model (not for an instance or a generic alias)."""
    return isinstance(cls, type) and (
        hasattr(cls, "__dataclass_fields__") or hasattr(cls, "__attrs_attrs__") or is_model(cls)
    )


def is_model(cls: Any) -> bool:
    """True for a class of pydantic models (a dataclass that pydantic made is a dataclass)."""
    return isinstance(cls, type) and hasattr(cls, "__pydantic_validator__") and not hasattr(cls, "__dataclass_fields__")


def is_named_tuple(hint: Any) -> bool:
    """True for a NamedTuple's class."""
    return isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields")


def field_types(cls: type) -> Mapping[str, Any]:
    """Name and type hint of each field of a dataclass, an attrs class or an annotated plain class.

    Raises NameError (or what else the evaluation of a hint raises) for a hint that has no meaning at run time.
    """
    return _field_types(cast(Any, cls))


@cache
def _field_types(cls: type) -> Mapping[str, Any]:
    if is_model(cls):
        return _model_fields(cls)
    hints = hints_of(cls, include_extras=True)
    if dataclasses.is_dataclass(cls):
        return {field.name: hints.get(field.name, Any) for field in dataclasses.fields(cls) if field.init}
    if hasattr(cls, "__attrs_attrs__"):
        return {field.name: hints.get(field.name, field.type or Any) for field in cls.__attrs_attrs__ if field.init}
    return {name: hint for name, hint in hints.items() if ClassVar not in (hint, get_origin(hint))}


def _model_fields(cls: Any) -> Mapping[str, Any]:
    if not cls.__pydantic_complete__:
        cls.model_rebuild()  # a name in its annotations had no meaning yet
    return {name: field.annotation for name, field in cls.__pydantic_fields__.items()}


def writing(hint: Any, converter: Converter) -> Out:
    """The function that writes values of one hint; a hint that holds itself is looked up again at each call."""
    try:
        return converter.get_unstructure_hook(hint)
    except RecursionError:
        return lambda value: converter.unstructure(value, unstructure_as=hint)


def reading(hint: Any, converter: Converter) -> In:
    """The function that reads values of one hint."""
    try:
        return converter.get_structure_hook(hint)
    except RecursionError:
        return converter.structure


# --- scalars and Any -----------------------------------------------------------------------------


def _as_it_is(value: Any, _: Any) -> Any:
    return value


def unknown_out(hint: Any, _: Converter) -> Out:
    """None, scalars and Any pass as they are; a hint of no known kind lets nothing through."""
    if hint in SCALARS or hint in (Any, object, None):
        from cattrs.fns import identity  # there already: only a converter asks

        return identity

    def refuse(_: Any) -> Any:
        raise _cannot_travel(hint)

    return refuse


def unknown_in(hint: Any, _converter: Converter) -> In:
    """Any passes as it is; a hint of no known kind lets nothing through."""
    if hint in (Any, object):
        return _as_it_is

    def refuse(_: Any, __: Any) -> Any:
        raise _cannot_travel(hint)

    return refuse


def _cannot_travel(hint: Any) -> Mismatch:
    return Mismatch(
        f"values of type {type_text(hint)} can't travel; declare a type whose values do, such as a list, a dict or a"
        " dataclass"
    )


def scalar_in(accepted: tuple[type, ...]) -> In:
    """Reads a value whose class is one of these, no subclass."""

    def read(value: Any, hint: Any) -> Any:
        if value.__class__ in accepted:
            return value
        raise mismatch(hint, value)

    return read


def path_out(value: Any) -> str:
    """Writes a path as its text."""
    if not isinstance(value, PurePath):
        raise mismatch(Path, value)
    return str(value)


def path_in(value: Any, hint: Any) -> Any:
    """Reads a path of the declared class from its text."""
    if value.__class__ is not str:
        raise mismatch(hint, value)
    return hint(value)


def _parts(hint: Any) -> Iterator[Any]:
    yield hint
    for part in get_args(hint):
        yield from _parts(part)
    if typing.is_typeddict(hint) or is_named_tuple(hint):
        for part in hints_of(hint).values():
            yield from _parts(part)


def learn_enums(hint: Any, converter: Converter) -> None:
    """Register each Enum inside a hint under its own class: cattrs would take a ``(str, Enum)`` for a str."""
    for part in _parts(hint):
        if isinstance(part, type) and issubclass(part, Enum):
            _learn_enum(part, converter)


@cache
def _learn_enum(cls: type[Enum], converter: Converter) -> None:
    flag = issubclass(cls, Flag)
    members = {member.name: member for member in cls}

    def write(value: Any) -> Any:
        if not isinstance(value, cls):
            raise mismatch(cls, value)
        return value.value if flag else value.name

    def read(value: Any, _: Any) -> Any:
        if flag and value.__class__ is int:
            return cls(value)
        if value.__class__ is str and value in members:
            return members[value]
        raise mismatch(cls, value)

    converter.register_unstructure_hook(cls, write)
    converter.register_structure_hook(cls, read)


def literal_out(hint: Any, _converter: Converter) -> Out:
    """Writes one of the listed values, and a member of an Enum as its name."""

    def write(value: Any) -> Any:
        if not any(value == choice and value.__class__ is choice.__class__ for choice in get_args(hint)):
            raise mismatch(hint, value)
        return value.name if isinstance(value, Enum) else value

    return write


def literal_in(hint: Any, _converter: Converter) -> In:
    """Reads one of the listed values."""
    choices = [(choice.name if isinstance(choice, Enum) else choice, choice) for choice in get_args(hint)]

    def read(value: Any, _: Any) -> Any:
        for encoded, choice in choices:
            if encoded == value and encoded.__class__ is value.__class__:
                return choice
        raise mismatch(hint, value)

    return read
