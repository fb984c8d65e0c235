"""Where a step class keeps its options: attributes of the class, or a place of their own where no field collides.

::

    @dataclass(frozen=True)
    class Deliver(SagaStep):
        name: str  # of a person: with a place for options, every field is data
        limits: dict[str, int]

        class Options:
            timeout_s = 5.0
"""

from __future__ import annotations

import dataclasses
import functools
import types
import warnings
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

from antistrophe.definition.spec import ResourceLimits, RetryPolicy
from antistrophe.errors import InvalidStepError
from antistrophe.serialization.type_hints import field_types, short, type_text


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """The options of a step class, as one value that no field can collide with: ``options = StepOptions(timeout_s=5)``.

    An inner ``class Options:`` with the same names is the same. In a class with either, every field is data. What an
    option means stands at SagaStep; None stands for its default.
    """

    name: str | None = None
    timeout_s: float | None = None
    kill_grace_s: float | None = None
    retry: RetryPolicy | None = None
    compensation_timeout_s: float | None = None
    compensation_retry: RetryPolicy | None = None
    idempotent: bool | None = None
    atomic: bool | None = None
    requires_compensation: bool | None = None
    isolation: Literal["process", "fresh"] | None = None
    limits: ResourceLimits | None = None
    max_concurrent: int | None = None
    max_per_second: float | None = None
    runs_on: AbstractSet[str] | None = None


OPTIONS = tuple(each.name for each in dataclasses.fields(StepOptions))


class StepOptionWarning(UserWarning):
    """A field of a step has the name of an option and is of another type, so it is taken as data."""


_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "isolation"), (str,)),
    **dict.fromkeys(("timeout_s", "kill_grace_s", "compensation_timeout_s", "max_per_second"), (int, float)),
    **dict.fromkeys(("retry", "compensation_retry"), (RetryPolicy,)),
    **dict.fromkeys(("idempotent", "atomic", "requires_compensation"), (bool,)),
    "limits": (ResourceLimits,),
    "max_concurrent": (int,),
    "runs_on": (set, frozenset),
}
_PLAIN = (bool, int, float, str, timedelta, RetryPolicy, ResourceLimits, types.NoneType)
_MEANT: Mapping[str, str] = {
    "timeout_s": "timeout timeout_seconds timeout_sec timeout_ms time_limit time_limit_s max_time_s limit_s",
    "kill_grace_s": "kill_grace grace grace_s grace_period grace_period_s",
    "retry": "retries retry_policy max_attempts attempts max_retries max_tries retry_count retry_limit backoff",
    "compensation_timeout_s": "compensate_timeout compensate_timeout_s compensation_timeout undo_timeout_s",
    "compensation_retry": "compensate_retry compensation_retries undo_retry undo_retries compensation_max_attempts",
    "idempotent": "is_idempotent idempotency",
    "atomic": "is_atomic",
    "requires_compensation": "needs_compensation compensable compensatable has_compensation",
    "isolation": "isolate isolated fresh fresh_process",
    "limits": "memory_bytes memory_limit cpu_s cpu_limit open_files resource_limits resources",
    "max_concurrent": "concurrency max_concurrency concurrent",
    "max_per_second": "rate_limit per_second max_rate max_per_s",
    "runs_on": "run_on runs_at host_labels node_labels",
    "name": "step_name",
}
"""The names that people write for an option, beside those that are spelt much like it."""

_OPTION_MEANT = {name: option for option, names in _MEANT.items() for name in names.split()}
_EXAMPLES: Mapping[str, str] = {
    "retry": "RetryPolicy(max_attempts=3)",
    "compensation_retry": "RetryPolicy(max_attempts=3)",
    "limits": "ResourceLimits(memory_bytes=..., cpu_s=..., open_files=...)",
    "isolation": '"fresh"',
    "runs_on": '{"gpu"}',
}
_CLOSE = 0.85


def own_options(cls: type, label: str) -> Mapping[str, Any] | None:
    """The options of ``class Options`` and ``options = StepOptions(...)``, those of the nearest base first; None where
    the class and its bases have neither. Raises InvalidStepError, which begins with ``label``, for another name there.
    """
    return _own_options(cast(Any, cls), label)


def fields_as_data(cls: type) -> frozenset[str]:
    """The fields with the name of an option that are data: all where the class has a place for its options, else those
    of another type. The first call for a class warns of the latter."""
    return _fields_as_data(cast(Any, cls))


def refuse_near_names(cls: type, root: type, label: str) -> None:
    """Raise InvalidStepError for an attribute of the class that is no field and whose name is near to an option's.
    Bases that are not below ``root`` have names of their own."""
    _refuse_near_names(cast(Any, cls), root, label)


@functools.cache
def _own_options(cls: type, label: str) -> Mapping[str, Any] | None:
    found: dict[str, Any] | None = None
    for base in reversed(cls.__mro__):
        place = vars(base)
        fields = place.get("__annotations__", {})
        inner, value = place.get("Options"), place.get("options")
        if isinstance(inner, type) and "Options" not in fields:
            found = {**(found or {}), **_of_inner(inner, label)}
        if isinstance(value, StepOptions) and "options" not in fields:
            given = {each: getattr(value, each) for each in OPTIONS}
            found = {**(found or {}), **{each: one for each, one in given.items() if one is not None}}
    return found


def _of_inner(inner: type, label: str) -> dict[str, Any]:
    given = {
        name: getattr(inner, name)
        for base in reversed(inner.__mro__[:-1])
        for name in vars(base)
        if not name.startswith("_")
    }
    for name in given:
        if name not in OPTIONS:
            near = _near(name)
            hint = f"did you mean `{near}`? " if near is not None else ""
            raise InvalidStepError(
                f"{label}: class Options has {name!r}, which is no option: {hint}The options are {', '.join(OPTIONS)}"
            )
    return given


@functools.cache
def _fields_as_data(cls: type) -> frozenset[str]:
    try:
        fields = {name: hint for name, hint in field_types(cls).items() if name in OPTIONS}
    except Exception:  # a hint without a meaning: packing the input says so
        return frozenset()
    if _own_options(cls, cls.__qualname__) is not None:
        return frozenset(fields)
    strange = {name: hint for name, hint in fields.items() if not _looks_like(hint, _TYPES[name])}
    for name, hint in strange.items():
        warnings.warn(
            f"{cls.__qualname__}.{name} is declared {type_text(hint)}, so it is taken as data and not as the option of "
            f"that name. Say so with a place for the options, `class Options: ...` within {cls.__qualname__}, or give "
            "the field another name",
            StepOptionWarning,
            stacklevel=6,
        )
    return frozenset(strange)


def _looks_like(hint: Any, allowed: tuple[type, ...]) -> bool:
    """Whether values of this type can be those of the option; where nothing is known of the type, they can."""
    hint, origin, parts = getattr(hint, "__supertype__", hint), get_origin(hint), get_args(hint)
    if origin is Literal:
        return all(isinstance(each, (*allowed, types.NoneType)) for each in parts)
    if origin in (Annotated, Final):
        return _looks_like(parts[0], allowed)
    if origin in (Union, types.UnionType):
        return all(_looks_like(part, (*allowed, types.NoneType)) for part in parts)
    kind = origin or hint
    if kind in (Any, object) or not isinstance(kind, type):
        return True
    return issubclass(kind, allowed) and (kind is not bool or bool in allowed)


@functools.cache
def _refuse_near_names(cls: type, root: type, label: str) -> None:
    for base in cls.__mro__:
        if not issubclass(base, root):
            continue
        annotated = vars(base).get("__annotations__", {})
        for name, value in vars(base).items():
            if name in OPTIONS or name.startswith("_") or not isinstance(value, _PLAIN):
                continue
            if name not in annotated and (near := _near(name)) is not None:
                raise InvalidStepError(
                    f"{label}: the class attribute {name!r} is no option, and has no effect: did you mean `{near}`? "
                    f"(Data of your own is a field, or `{name}: ClassVar = {short(value).rpartition(' ')[0]}`)"
                )


def _near(name: str) -> str | None:
    """How the option is written that this name is near to, or None."""
    import difflib  # for classes that have attributes of their own

    option = _OPTION_MEANT.get(name) or next(iter(difflib.get_close_matches(name, OPTIONS, 1, _CLOSE)), None)
    return None if option is None else f"{option} = {_EXAMPLES.get(option, '...')}"
