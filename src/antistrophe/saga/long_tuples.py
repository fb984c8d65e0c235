"""Sequences that are never changed in place, and of which a changed copy shares nearly everything with the original.

A state of a saga has a value for each step, and every entry makes a new state. Short sequences are tuples; a copy of a
tuple takes time in proportion to its length, so long ones are made of parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Generic, TypeVar

T = TypeVar("T")

LONGEST_TUPLE = 128
_PART = 64


class LongTuple(Sequence[T], Generic[T]):
    """A sequence in parts of ``_PART`` values; only the last may be shorter."""

    __slots__ = ("_parts",)

    def __init__(self, parts: tuple[tuple[T, ...], ...]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return (len(self._parts) - 1) * _PART + len(self._parts[-1])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self)[index]
        place = index if index >= 0 else len(self) + index
        if not 0 <= place < len(self):
            raise IndexError(f"there is no value {index} of {len(self)}")
        return self._parts[place // _PART][place % _PART]

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(self._parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LongTuple) and self._parts == other._parts

    def __hash__(self) -> int:
        return hash(self._parts)

    def __repr__(self) -> str:
        return f"LongTuple({tuple(self)!r})"

    def with_value(self, index: int, value: T) -> LongTuple[T]:
        """This sequence with another value at that place."""
        number, place = divmod(index, _PART)
        part = self._parts[number]
        changed = (*part[:place], value, *part[place + 1 :])
        return LongTuple((*self._parts[:number], changed, *self._parts[number + 1 :]))

    def with_last(self, value: T) -> LongTuple[T]:
        """This sequence with one more value."""
        if len(self._parts[-1]) == _PART:
            return LongTuple((*self._parts, (value,)))
        return LongTuple((*self._parts[:-1], (*self._parts[-1], value)))


def sequence_of(values: Iterable[T]) -> Sequence[T]:
    """These values as a sequence to change by copies."""
    found = tuple(values)
    if len(found) <= LONGEST_TUPLE:
        return found
    return LongTuple(tuple(found[start : start + _PART] for start in range(0, len(found), _PART)))


def with_value(values: Sequence[T], index: int, value: T) -> Sequence[T]:
    """The same sequence with another value at that place (from 0)."""
    if isinstance(values, LongTuple):
        return values.with_value(index, value)
    changed = list(values)
    changed[index] = value
    return tuple(changed)


def with_last(values: Sequence[T], value: T) -> Sequence[T]:
    """The same sequence with one more value."""
    if isinstance(values, LongTuple):
        return values.with_last(value)
    return sequence_of((*values, value))
