"""What a step computes by itself when it is made: packed beside its input, so that each process sees the same values.

These are the attributes that the step's object holds and that are no parameter of its class: a dataclass's
``field(init=False)``, what ``__post_init__`` sets, and what a cached property has kept. Without them each attempt would
compute them anew, and a key that was drawn at random would differ between an execute and its compensation.
"""

from __future__ import annotations

import dataclasses
import dis
import functools
import inspect
from collections.abc import Collection, Iterator, Mapping
from types import CodeType
from typing import Any, cast, get_args, get_origin, is_typeddict

from antistrophe.errors import InvalidStepError, UnreadableDataError
from antistrophe.serialization.converter import make_converter
from antistrophe.serialization.masks import short_of
from antistrophe.serialization.payload import pack_payload, unpack_payload
from antistrophe.serialization.program import hints_of
from antistrophe.serialization.type_hints import (
    field_types,
    is_model,
    is_named_tuple,
    is_structured,
    learn_enums,
    reading,
    writing,
)

_DRAWN_ANEW = frozenset(
    {
        *("uuid1", "uuid4", "uuid6", "uuid7", "token_hex", "token_urlsafe", "token_bytes", "urandom"),
        *("getrandbits", "randbytes", "randint", "randrange", "random", "now", "utcnow", "time", "time_ns"),
    }
)
"""Names of functions that give another value in each process."""

_SEEDED = frozenset({"getrandbits", "randbytes", "randint", "randrange", "random"})
_MODULES_TOO = frozenset({"random", "time"})
_CALLED = frozenset({"LOAD_METHOD", "LOAD_ATTR"})


def attributes_beside(obj: Any, fields: Mapping[str, Any]) -> set[str]:
    """The names of the attributes that the object itself holds, without these fields."""
    names = set(getattr(obj, "__dict__", ()))
    names.update(each for each in _slots(cast(Any, type(obj))) if hasattr(obj, each))
    return names - fields.keys()


def pack_computed(obj: Any, names: set[str], made_again: Any, what: str, may_stay: Collection[str] = ()) -> bytes:
    """Pack these attributes, but for those that can't be packed and ``may_stay``. ``made_again`` is the object that
    another process would make of the input alone.

    Raises InvalidStepError for any other attribute that can't be packed and that ``made_again`` does not have alike.
    """
    typed: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for name in sorted(names):
        value = getattr(obj, name)
        if (packable := written(type(obj), name, value)) is not None:
            typed[name] = packable[0]
        elif _travels(value):
            plain[name] = value
        elif not (name in may_stay or is_cache(type(obj), name) or alike(value, getattr(made_again, name, None))):
            raise InvalidStepError(
                f"{what}: attribute {name!r} is computed when the step is made, and {short_of(type(obj), value)} can't "
                "travel, so each process would have another one. Make it in execute, or in a functools.cached_property"
            )
    return pack_payload({"fields": typed, "attributes": plain}) if typed or plain else b""


def restore_computed(obj: Any, data: bytes) -> None:
    """Set the attributes that ``pack_computed`` has packed. Raises UnreadableDataError where one no longer fits."""
    what = f"what {type(obj).__qualname__} has computed"
    packed, hints = unpack_payload(data, what=what), computed_fields(type(obj))
    try:
        attributes, fields = dict(packed["attributes"]), dict(packed["fields"])
    except (LookupError, TypeError, ValueError) as error:
        raise UnreadableDataError(f"{what} can't be read: {error}") from error
    for name, value in attributes.items():
        object.__setattr__(obj, name, value)
    for name, value in fields.items():
        set_computed(obj, name, hints.get(name, Any), value)


def set_computed(obj: Any, name: str, hint: Any, value: Any) -> None:
    """Set a computed field from the value that ``written`` gave. Raises UnreadableDataError where it no longer fits."""
    converter = make_converter(False, False)
    try:
        learn_enums(hint, converter)
        read = reading(hint, converter)(value, hint)
    except Exception as error:
        raise UnreadableDataError(f"{type(obj).__qualname__} does not fit its class: field {name}: {error}") from error
    object.__setattr__(obj, name, read)


def check_parts(obj: Any, made_again: Any, what: str) -> None:
    """Raise InvalidStepError for a value within a field that computes a part of itself, and another one each time.
    ``made_again``: what is made of the packed fields."""
    problem = differing_part(obj, made_again)
    if problem is not None:
        raise InvalidStepError(f"{what}: {problem}")


def differing_part(obj: Any, made_again: Any) -> str | None:
    """Which value within a field computes a part of itself, and another one each time, and what to do; None: none."""
    for name in field_types(type(obj)):
        for path, one, other in _computed_parts(getattr(obj, name), getattr(made_again, name), name):
            if not alike(one, other):
                ours, theirs = short_of(type(obj), one), short_of(type(obj), other)
                return (
                    f"{path} is computed when the value is made ({ours}), and each process would compute "
                    f"another one ({theirs}): make it a field with init=True, so that it travels"
                )
    return None


def refuse_drawn(cls: type, known: set[str], what: str) -> None:
    """Raise InvalidStepError for a cached property that would draw another value in each process, unless its value is
    ``known``."""
    for name, drawn in _drawing_properties(cast(Any, cls)).items():
        if name not in known:
            raise InvalidStepError(
                f"{what}: the cached_property {name!r} calls {drawn}(), so it has another value in each process, and "
                f"an undo would not know the value of its execute. Make it a field, which travels: "
                f"`{name}: str = field(default_factory=...)`; or derive it from ctx.forward_key"
            )


def is_cache(cls: type, attribute: str) -> bool:
    """Whether the attribute is what a cached property keeps."""
    return isinstance(inspect.getattr_static(cls, attribute, None), functools.cached_property)


def computes_in_parts(cls: type) -> bool:
    """Whether a field of the class may hold values that compute a part of themselves."""
    return _computes_in_parts(cast(Any, cls))


def computes_fields(cls: Any) -> bool:
    """Whether a dataclass or attrs class has fields that are no parameter of it. Reads no type hint."""
    if is_model(cls):
        return False
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else cls.__attrs_attrs__
    return not all(each.init for each in fields)


def computed_fields(cls: type) -> Mapping[str, Any]:
    """Name and type hint of each field that is no parameter of the class."""
    return _computed_fields(cast(Any, cls))


@functools.cache
def _computed_fields(cls: type) -> Mapping[str, Any]:
    if not is_structured(cls) or is_model(cls):
        return {}
    hints = hints_of(cls, include_extras=True)
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else cast(Any, cls).__attrs_attrs__
    return {each.name: hints.get(each.name, each.type or Any) for each in fields if not each.init}


@functools.cache
def _slots(cls: type) -> tuple[str, ...]:
    found: list[str] = []
    for base in cls.__mro__:
        slots = base.__dict__.get("__slots__", ())
        found.extend((slots,) if isinstance(slots, str) else slots)
    return tuple(each for each in found if not each.startswith("__"))


def written(cls: type, name: str, value: Any) -> tuple[Any] | None:
    """The value of a computed field as its type is written; None where it can't be, or would not come back alike."""
    hint = computed_fields(cls).get(name)
    if hint is None:
        return None
    try:
        converter = make_converter(False, False)
        learn_enums(hint, converter)
        out = writing(hint, converter)(value)
        back = reading(hint, converter)(unpack_payload(pack_payload(out)), hint)
    except Exception:  # a type or a value that can't travel
        return None
    return (out,) if alike(value, back) else None


def _travels(value: Any) -> bool:
    try:
        return alike(value, unpack_payload(pack_payload(value)))
    except Exception:
        return False


def alike(one: Any, other: Any) -> bool:
    """Whether two values are of one type and equal; NaN is like itself."""
    try:
        return type(one) is type(other) and bool(one == other or (one != one and other != other))
    except Exception:  # a user's __eq__ may raise anything; then nobody knows that they are equal
        return False


def _computed_parts(one: Any, other: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """What the values within two alike values have computed: where it is, and both."""
    if is_structured(type(one)) and type(one) is type(other):
        for name in sorted(attributes_beside(one, field_types(type(one)))):
            if not is_cache(type(one), name):
                yield f"{path}.{name}", getattr(one, name), getattr(other, name, None)
        for name in field_types(type(one)):
            yield from _computed_parts(getattr(one, name), getattr(other, name), f"{path}.{name}")
    elif isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in one.keys() & other.keys():
            yield from _computed_parts(one[key], other[key], f"{path}[{key!r}]")
    elif isinstance(one, set | frozenset):
        yield path, one, other
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        for index, (each, same) in enumerate(zip(one, other, strict=False)):
            yield from _computed_parts(each, same, f"{path}[{index}]")


@functools.cache
def _computes_in_parts(cls: type) -> bool:
    waiting, seen = list(field_types(cls).values()), set()
    while waiting:
        hint = waiting.pop()
        waiting += get_args(hint)
        hint = getattr(hint, "__supertype__", None) or get_origin(hint) or hint
        if not isinstance(hint, type) or hint in seen:
            continue
        seen.add(hint)
        if is_structured(hint) and _computes(hint):
            return True
        if is_structured(hint) or is_named_tuple(hint) or is_typeddict(hint):
            waiting += field_types(hint).values()
    return False


def _computes(cls: type) -> bool:
    own_init = dataclasses.is_dataclass(cls) and not cast(Any, cls).__dataclass_params__.init
    return bool(
        own_init or computed_fields(cls) or hasattr(cls, "__post_init__") or hasattr(cls, "__attrs_post_init__")
    )


@functools.cache
def _drawing_properties(cls: type) -> Mapping[str, str]:
    """The cached properties of the class whose code calls a function that gives another value in each process."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for name, attribute in vars(base).items():
            found.pop(name, None)
            if isinstance(attribute, functools.cached_property):
                code = getattr(inspect.unwrap(attribute.func), "__code__", None)
                names = set(_names_in(code))
                # A generator of its own, Random(seed), gives the same each time.
                drawn = min((names & _DRAWN_ANEW) - (_SEEDED if "Random" in names else set()), default=None)
                if drawn is not None:
                    found[name] = drawn
    return found


def _names_in(code: CodeType | None) -> Iterator[str]:
    """The names of what the code, and the functions within it, may call."""
    for instruction in [] if code is None else dis.get_instructions(code):
        if isinstance(instruction.argval, CodeType):
            yield from _names_in(instruction.argval)
        elif instruction.opname in _CALLED or (
            instruction.opname in ("LOAD_GLOBAL", "LOAD_DEREF") and instruction.argval not in _MODULES_TOO
        ):
            yield str(instruction.argval)
