"""Frozen dataclasses with slots, and Structs: copies them as ``dataclasses.replace`` does and makes them as
``__init__`` does, faster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct

T = TypeVar("T")


def changed(record: T, **changes: Any) -> T:
    """A copy of a frozen dataclass with slots, with these fields changed::

        later = changed(lease, pid=4711)

    Raises AttributeError for a field that the class does not have, TypeError where the class is a Struct.
    ``__init__`` is not called."""
    if isinstance(record, Struct):
        return cast(T, msgspec.structs.replace(record, **changes))
    cls: Any = type(record)
    values, draft = _parts(cls)
    twin = draft(*values(record))
    for name, value in changes.items():
        setattr(twin, name, value)
    twin.__class__ = cls
    return cast(T, twin)


def maker(cls: type) -> Callable[..., Any]:
    """A function that makes a record of ``cls`` from the values of all its fields, in their order. It is the class
    itself where the class is a Struct, has no slots, no fields, or a ``__post_init__``."""
    if issubclass(cls, Struct):
        return cls
    if not hasattr(cls, "__slots__") or hasattr(cls, "__post_init__") or not fields(cast(Any, cls)):
        return cls

    def make(*values: Any) -> Any:
        _, draft = _parts(cast(Any, cls))
        record = draft(*values)
        record.__class__ = cls
        return record

    return make


@cache
def _parts(cls: type) -> tuple[Any, Any]:
    """A function that gets the values of all fields, and a draft class with the same slots that is not frozen. Filling
    a draft and changing its class is fast; ``__init__`` of a frozen class makes a call for each field."""
    names = tuple(field.name for field in fields(cast(Any, cls)))
    draft = type(f"{cls.__name__}Draft", (), {"__slots__": names, "__init__": _filling(names)})
    if len(names) == 1:  # of one name attrgetter gives the value alone
        return lambda record: (getattr(record, names[0]),), draft
    return attrgetter(*names), draft


@cache
def _filling(names: tuple[str, ...]) -> Any:
    """``__init__`` of a class with these fields, as a dataclass has it that is not frozen."""
    lines = "".join(f"\n self.{name}={name}" for name in names)
    made: dict[str, Any] = {}
    exec(f"def __init__(self, {', '.join(names)}):{lines}", made)
    return made["__init__"]
