"""Which fields of a class are not for people's eyes, and how packed values are shown without them.

A field declared ``repr=False``, or annotated with ``Secret``, is hidden: its place shows ``MASK``, in each value and in
each class inside another. Who packs a value knows its class and names the hidden fields; who shows it later knows no
class, and follows these names.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import Annotated, Any, Union, cast, get_args, get_origin

from antistrophe.serialization.program import hints_of
from antistrophe.serialization.type_hints import field_types, is_model, is_named_tuple, is_structured, short

MASK = "***"


class Secret:
    """Marks what people are not to be shown: a parameter of a step function, or a field, ``Annotated[str, Secret]``.

    ::

        @step
        def charge(ctx: StepContext, amount: int, token: Annotated[str, Secret]) -> None: ...

    It says what ``field(repr=False)`` says in a class: screens, logs, pages and errors show ``***`` in its place.
    """


_EACH = "*"
"""In a path: every item of a list, or every value of a map."""

_ANY_OF = "|"
"""In a path: a value of a union, which is packed with the name of its class, or without it."""


@cache
def _hidden(cls: Any) -> frozenset[str]:
    declared: dict[str, Any] = {each.name: each for each in getattr(cls, "__attrs_attrs__", ())}
    declared |= getattr(cls, "__dataclass_fields__", {})
    declared |= getattr(cls, "__pydantic_fields__", {})
    return frozenset(name for name, field in declared.items() if field.repr is False)


def hidden_fields(cls: type) -> Collection[str]:
    """The names of the fields of a class that are declared ``repr=False``."""
    return _hidden(cast(Any, cls))


@cache
def _masked_paths(hint: Any) -> tuple[str, ...]:
    found = set(_paths(hint, ()))
    # A class that holds itself is hidden where it comes again, if it has something to hide.
    return tuple(sorted({".".join(path) for path, _ in found})) if any(hides for _, hides in found) else ()


def masked_paths(hint: Any) -> tuple[str, ...]:
    """Where hidden fields stand in the packed values of a class, or of another type hint: ``("card.number",)``.

    Raises what the evaluation of a hint raises."""
    try:
        return _masked_paths(hint)
    except TypeError:  # a hint that has no hash, such as Literal[[...]]
        return ()


def _paths(hint: Any, outer: tuple[Any, ...]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Each path with whether a hidden field is at its end; else it ends at a class that comes again."""
    if any(hint is each for each in outer):
        yield (), False
    elif any(each is Secret or isinstance(each, Secret) for each in getattr(hint, "__metadata__", ())):
        yield (), True
    elif is_structured(hint):
        yield from _paths_of_fields(hint, (*outer, hint))
    elif is_structured(get_origin(hint)):  # which of its fields hold the parameters is not looked for
        if masked_paths(get_origin(hint)) or any(masked_paths(each) for each in get_args(hint)):
            yield (), True
    else:
        is_record = typing.is_typeddict(hint) or is_named_tuple(hint)
        parts = (*get_args(hint), *(hints_of(hint).values() if is_record else ()))
        for part in parts:
            for path, hides in _paths(part, outer):
                yield (*_step_into(hint), *path), hides


def _step_into(hint: Any) -> tuple[str, ...]:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return (_ANY_OF,)
    return () if origin is Annotated else (_EACH,)


def _paths_of_fields(cls: Any, outer: tuple[Any, ...]) -> Iterator[tuple[tuple[str, ...], bool]]:
    hidden = hidden_fields(cls)
    for name in hidden:
        yield (name,), True
    hints = field_types(cls) if is_model(cls) else hints_of(cls, include_extras=True)
    for name, hint in hints.items():
        if name not in hidden:
            for path, hides in _paths(hint, outer):
                yield (name, *path), hides


def short_of(cls: type, value: Any) -> str:
    """A value of an object of this class, as an error shows it; none is shown of a class that hides a field."""
    return MASK if masked_paths(cls) else short(value)


def masked(value: Any, paths: Iterable[str]) -> Any:
    """An unpacked value as people may see it: ``MASK`` stands at the end of each path."""
    for path in paths:
        value = _without(value, path.split("."))
    return value


def _without(value: Any, path: list[str]) -> Any:
    if not path:
        return MASK
    first, rest = path[0], path[1:]
    if first == _ANY_OF:
        tagged = isinstance(value, dict) and value.keys() == {"type", "value"}
        return {**value, "value": _without(value["value"], rest)} if tagged else _without(value, rest)
    if first == _EACH:
        if isinstance(value, dict):
            return {key: _without(each, rest) for key, each in value.items()}
        return [_without(each, rest) for each in value] if isinstance(value, list | tuple) else value
    if isinstance(value, dict) and first in value:
        return {**value, first: _without(value[first], rest)}
    return value
