"""``dataclass`` for frozen records with slots: the classes that the standard library makes, in a quarter of the time.

The library makes seven functions for each class, each from a text of its own, and this was half of the time that the
import of this package took. Here ``__init__`` alone is made from a text; the others are closures over the fields. A
class that is not as simple as most records is left to the library: one with bases, with ``field()``, or with methods
that would be made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]

_MADE = {"__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__", "__getstate__", "__setstate__"}
_NO_FIELDS = ("ClassVar", "InitVar", "KW_ONLY")

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool, slots: bool, repr: bool = True) -> Callable[[type], type]:  # noqa: A002
        """As ``dataclasses.dataclass``, for ``frozen=True, slots=True`` alone."""
        assert (frozen, slots) == (True, True), "any other class is for the standard library"
        library = dataclasses.dataclass(frozen=True, slots=True, repr=repr)
        return lambda cls: _record_class(cls, repr) if _is_simple(cls) else library(cls)


def _is_simple(cls: type) -> bool:
    own = vars(cls)
    hints = own.get("__annotations__", {})
    return (
        cls.__bases__ == (object,)
        and bool(cls.__doc__)
        and bool(hints)
        and _MADE.isdisjoint(own)
        and all(type(hint) is str and not any(map(hint.__contains__, _NO_FIELDS)) for hint in hints.values())
        and not any(isinstance(value, dataclasses.Field) for value in own.values())
    )


def fields_of(cls: type) -> dict[str, dataclasses.Field[Any]]:
    """What the library keeps as ``__dataclass_fields__`` of a class whose fields are plain, by their names: it takes
    four times as long to look for fields that are not."""
    own = vars(cls)
    fields: dict[str, Any] = {}
    for name, hint in own.get("__annotations__", {}).items():
        field: Any = dataclasses.field(default=own.get(name, dataclasses.MISSING))
        field.name, field.type, field.kw_only, field._field_type = name, hint, False, _PLAIN
        fields[name] = field
    return fields


def _record_class(cls: type, with_repr: bool) -> type:
    own = {**vars(cls), "__dataclass_fields__": fields_of(cls)}
    names: tuple[str, ...] = tuple(own["__dataclass_fields__"])
    own["__match_args__"] = names
    defaults = {name: own.pop(name) for name in names if name in own}
    for name in ("__dict__", "__weakref__"):
        own.pop(name, None)
    own |= {"__slots__": names, "__dataclass_params__": _PARAMS[with_repr]}
    made = type(cls)(cls.__name__, cls.__bases__, own)
    made.__qualname__ = cls.__qualname__
    for function in (_init(made, names, defaults), *_functions(made, names, with_repr)):
        function.__qualname__ = f"{cls.__qualname__}.{function.__name__}"
        setattr(made, function.__name__, function)
    return made


def _init(cls: type, names: tuple[str, ...], defaults: dict[str, Any]) -> Any:
    given = ", ".join(f"{name}=_default_{name}" if name in defaults else name for name in names)
    lines = "".join(f"\n _set_{name}(_self, {name})" for name in names)
    if hasattr(cls, "__post_init__"):
        lines += "\n _self.__post_init__()"
    known = {f"_set_{name}": vars(cls)[name].__set__ for name in names}
    known |= {f"_default_{name}": value for name, value in defaults.items()}
    exec(f"def __init__(_self, {given}):{lines}", known)
    init = known["__init__"]
    init.__annotations__ = {**cls.__annotations__, "return": None}
    return init


def _functions(cls: type, names: tuple[str, ...], with_repr: bool) -> list[Callable[..., Any]]:
    get = attrgetter(*names)
    values: Callable[[Any], tuple[Any, ...]] = get if len(names) > 1 else lambda record: (get(record),)

    def __eq__(self: Any, other: object) -> Any:  # noqa: N807
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(values(self))

    def __setattr__(self: Any, name: str, value: Any) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def __delattr__(self: Any, name: str) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        object.__delattr__(self, name)

    def __getstate__(self: Any) -> list[Any]:  # noqa: N807
        return list(values(self))

    def __setstate__(self: Any, state: list[Any]) -> None:  # noqa: N807
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    @recursive_repr("...")
    def __repr__(self: Any) -> str:  # noqa: N807
        parts = ", ".join(f"{name}={value!r}" for name, value in zip(names, values(self), strict=True))
        return f"{self.__class__.__qualname__}({parts})"

    made: list[Callable[..., Any]] = [__eq__, __hash__, __setattr__, __delattr__, __getstate__, __setstate__]
    return [*made, __repr__] if with_repr else made


def _sample(with_repr: bool) -> Any:
    class Sample:
        """Some record."""

        field: int

    return dataclasses.dataclass(frozen=True, slots=True, repr=with_repr)(Sample)


_SAMPLES = {with_repr: vars(_sample(with_repr)) for with_repr in (True, False)}
_PARAMS = {with_repr: made["__dataclass_params__"] for with_repr, made in _SAMPLES.items()}
_PLAIN = _SAMPLES[True]["__dataclass_fields__"]["field"]._field_type
