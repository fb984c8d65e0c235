"""Frozen records of values: what ``dataclasses.replace`` and a class's own ``__init__`` do, in a part of the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, make_dataclass
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar, cast

T = TypeVar("T")


def changed(record: T, **changes: Any) -> T:
    """A copy of a frozen dataclass with slots in which these fields have other values. Raises AttributeError for a
    field that it does not have. Its ``__init__`` is not called."""
    cls: Any = type(record)
    values, draft = _parts(cls)
    twin = draft(*values(record))
    for name, value in changes.items():
        setattr(twin, name, value)
    twin.__class__ = cls
    return cast(T, twin)


def maker(cls: type) -> Callable[..., Any]:
    """What makes a record of ``cls`` of the values of all its fields in their order: the class itself where it is not
    frozen with slots, or looks at them in ``__post_init__``."""
    if not hasattr(cls, "__slots__") or hasattr(cls, "__post_init__") or not fields(cast(Any, cls)):
        return cls
    _, draft = _parts(cls)

    def make(*values: Any) -> Any:
        record = draft(*values)
        record.__class__ = cls
        return record

    return make


@cache
def _parts(cls: type) -> tuple[Any, Any]:
    """What gets the values of all fields, and a class of the same slots that is not frozen: an object of that can be
    filled as fast as any, where a frozen one goes through a call for each field."""
    names = [field.name for field in fields(cls)]
    return attrgetter(*names), make_dataclass(f"{cls.__name__}Draft", names, slots=True)
