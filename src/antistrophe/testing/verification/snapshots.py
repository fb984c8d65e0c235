"""Snapshots of the world that a saga touches: how they are taken and compared, and the difference in words."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from antistrophe.errors import InvalidDefinitionError
from antistrophe.exception_text import name_and_text

World: TypeAlias = Callable[..., Any]
"""The user's function that returns a snapshot. It takes nothing, or the saga's id if it shows the part of one saga."""

MOST_LINES = 12
"""How many differences are listed."""

WHOLE = "the snapshot"
"""The name, in a difference, of the snapshot itself."""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 120


class Snapshots:
    """Takes snapshots with the user's function. Without a function there is nothing to compare."""

    def __init__(self, world: World | None) -> None:
        self._world = world
        self.given = world is not None
        self.per_saga = world is not None and takes_one(world)

    def take(self, saga_id: str) -> Any:
        """A copy of the world now; a copy, because the function may return the same object each time. What the function
        raises is passed on."""
        if self._world is None:
            return None
        found = self._world(saga_id) if self.per_saga else self._world()
        try:
            return copy.deepcopy(found)
        except Exception as error:
            raise InvalidDefinitionError(
                f"world() returned {_repr.repr(found)}, which can't be copied ({error}): return plain values, read from"
                " the world at that moment"
            ) from error

    def check_steady(self, saga_id: str) -> None:
        """Raise InvalidDefinitionError for a world that changes by itself, or whose snapshots can't be compared: undos
        would be blamed for it."""
        first, second = self.take(saga_id), self.take(saga_id)
        try:
            changes = differences(first, second)
        except Exception as error:  # the user's own __eq__
            raise InvalidDefinitionError(
                f"two snapshots of world() can't be compared ({name_and_text(error)}): return plain values"
            ) from error
        for line in changes[:1]:
            raise InvalidDefinitionError(
                f"world() returned something else when it was asked again at once, although nothing had run: {line}."
                " Leave out what changes by itself (clocks, random numbers, NaN), and objects that equal only"
                " themselves"
            )


def takes_one(call: Callable[..., Any]) -> bool:
    """True if the callable needs one argument. Raises InvalidDefinitionError if it needs more, or needs keywords."""
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [each for each in parameters if each.default is each.empty and each.kind not in _OPTIONAL]
    if len(needed) > 1 or any(each.kind is each.KEYWORD_ONLY for each in needed):
        names = ", ".join(each.name for each in needed)
        raise InvalidDefinitionError(f"{call!r} needs {names}, but world is called with nothing, or with the saga's id")
    return bool(needed)


_OPTIONAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def differences(before: Any, after: Any) -> list[str]:
    """What changed between two snapshots, one line each: ``['A'] was 100, is 90``. Empty if they are equal."""
    if before == after:
        return []
    lines = list(_differences(before, after, ""))
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [f"and {len(lines) - MOST_LINES} more differences"]
    return lines


def _differences(before: Any, after: Any, path: str) -> Iterator[str]:
    here = path or WHOLE
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from _items(before, after, key, f"{path}[{_repr.repr(key)}]")
    elif isinstance(before, set | frozenset) and isinstance(after, set | frozenset):
        for gone in before - after:
            yield f"{here} no longer has {_repr.repr(gone)}"
        for new in after - before:
            yield f"{here} now has {_repr.repr(new)}"
    elif _is_sequence(before) and _is_sequence(after):
        yield from _sequences(before, after, path)
    elif type(before) is type(after) and dataclasses.is_dataclass(before):
        yield from _fields(before, after, path)
    else:
        yield f"{here} was {_repr.repr(before)}, is {_repr.repr(after)}"


def _items(before: Mapping[Any, Any], after: Mapping[Any, Any], key: Any, path: str) -> Iterator[str]:
    if key not in after:
        yield f"{path} was {_repr.repr(before[key])}, is gone"
    elif key not in before:
        yield f"{path} is new: {_repr.repr(after[key])}"
    else:
        yield from _differences(before[key], after[key], path)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _sequences(before: Sequence[Any], after: Sequence[Any], path: str) -> Iterator[str]:
    """Compare by index if the lengths agree. Otherwise list what only one has, as one item more moves all others."""
    here = path or WHOLE
    if len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differences(old, new, f"{path}[{index}]")
        return
    gone, new = list(before), []
    for each in after:
        if each in gone:
            gone.remove(each)
        else:
            new.append(each)
    yield from (f"{here} no longer has {_repr.repr(each)}" for each in gone)
    yield from (f"{here} now has {_repr.repr(each)}" for each in new)


def _fields(before: Any, after: Any, path: str) -> Iterator[str]:
    found = False
    for each in dataclasses.fields(before):
        for line in _differences(getattr(before, each.name), getattr(after, each.name), f"{path}.{each.name}"):
            found = True
            yield line
    if not found:  # no field differs: something else makes them unequal
        yield f"{path or WHOLE} was {_repr.repr(before)}, is {_repr.repr(after)}"
