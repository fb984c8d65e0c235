"""Values that were read and have to be of a type."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")

NUMBER = (float, int)


def is_a(kind: type[T] | tuple[type[T], ...], value: object) -> T:
    """The value, which has to be of that type. Raises TypeError."""
    if isinstance(value, kind):
        return value
    raise TypeError(f"{value!r} is not of type {kind}")


def may_be(kind: type[T] | tuple[type[T], ...], value: object) -> T | None:
    """The value, which has to be None or of that type. Raises TypeError."""
    return None if value is None else is_a(kind, value)
