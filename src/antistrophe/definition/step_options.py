"""From a step to its StepSpec: the options are checked and filled in, and the input is packed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from operator import is_
from typing import Any, cast
from weakref import WeakKeyDictionary

from antistrophe.definition.calling import build_step, context_passing, source_of
from antistrophe.definition.code_loading import class_ref
from antistrophe.definition.computed import (
    attributes_beside,
    check_parts,
    computes_in_parts,
    is_cache,
    pack_computed,
    refuse_drawn,
)
from antistrophe.definition.options import OPTIONS, fields_as_data, own_options, refuse_near_names
from antistrophe.definition.spec import ResourceLimits, RetryPolicy, StepSpec
from antistrophe.definition.step import FunctionStep, SagaStep, StepSource
from antistrophe.definition.validation import count_problem, labels_problem, name_problem, rate_problem, seconds_problem
from antistrophe.errors import InvalidStepError
from antistrophe.exception_text import name_and_text
from antistrophe.serialization.masks import masked_paths
from antistrophe.serialization.payload import pack_fields
from antistrophe.serialization.type_hints import field_types, is_structured, short

DEFAULT_TIMEOUT_S = 30.0
DEFAULT_KILL_GRACE_S = 5.0
DEFAULT_COMPENSATION_RETRY = RetryPolicy(max_attempts=12, initial_s=1.0, multiplier=2.0, max_s=60.0, jitter=True)
# The attempts of a step without a policy: of an idempotent step, and of any step that raises RetryableError.
DEFAULT_RETRIES = 3

_MISSING = object()
_POLICIES = tuple(each for each in OPTIONS if each != "name")


def step_spec(step: SagaStep, name: str | None = None) -> StepSpec:
    """All that the runtime needs to know about a step. ``name``: what it is called in its saga, where not as it calls
    itself.

    Raises InvalidStepError, which names the step, what is wrong and what to do, and NotSerializableError for a field
    that can't travel. An exception in the step's own code (a property, say) comes out as InvalidStepError, too.
    """
    read = _Options(step)
    name = read.name(name)
    class_ref_text = class_ref(source_of(step))
    policies = _policies_of(step, name, read)
    data, computed = _pack_input(step, name)
    masked = masked_paths(step.definition.input_class if isinstance(step, FunctionStep) else type(step))
    return StepSpec(name=name, class_ref=class_ref_text, input=data, computed=computed, masked=masked, **policies)


# Of each step class or step function: what its last step gave, and the checked policies. Most steps of a class give the
# very same objects, which stand in the class.
_checked: WeakKeyDictionary[StepSource, tuple[tuple[Any, ...], dict[str, Any]]] = WeakKeyDictionary()


def _policies_of(step: SagaStep, name: str, read: _Options) -> dict[str, Any]:
    """The policies of the step, as fields of its spec."""
    given = read.given()
    known = _checked.get(source_of(step))
    if known is not None and len(known[0]) == len(given) and all(map(is_, known[0], given)):
        return known[1]
    policies = _check_policies(step, name, read)
    _checked[source_of(step)] = given, policies
    return policies


def _check_policies(step: SagaStep, name: str, read: _Options) -> dict[str, Any]:
    requires_compensation = read.flag("requires_compensation", True)
    has_verify = _check_methods(step, name, requires_compensation)
    timeout_s = read.seconds("timeout_s", DEFAULT_TIMEOUT_S)
    idempotent = read.flag("idempotent", False)
    retry = read.of("retry", RetryPolicy, None)
    fresh_process, limits = read.isolation() == "fresh", read.of("limits", ResourceLimits, None)
    return {
        "timeout_s": timeout_s,
        "kill_grace_s": read.seconds("kill_grace_s", DEFAULT_KILL_GRACE_S, zero_is_fine=True),
        "retry": retry or RetryPolicy(max_attempts=DEFAULT_RETRIES if idempotent else 1),
        "retryable_attempts": retry.max_attempts if retry else DEFAULT_RETRIES,
        "compensation_timeout_s": read.seconds("compensation_timeout_s", max(DEFAULT_TIMEOUT_S, timeout_s)),
        "compensation_retry": read.of("compensation_retry", RetryPolicy, None) or DEFAULT_COMPENSATION_RETRY,
        "idempotent": idempotent,
        "atomic": read.flag("atomic", True),
        "requires_compensation": requires_compensation,
        "fresh_process": fresh_process,
        "has_verify": has_verify,
        "limits": limits,
        "max_concurrent": read.count("max_concurrent"),
        "max_per_second": read.rate("max_per_second"),
        "runs_on": read.labels("runs_on"),
        "shared": _is_shared(step, fresh_process=fresh_process, limits=limits),
    }


class _Options:
    """The options of one step: what stands in its class's place for options counts first, then the instance's value,
    then the class's, then the default."""

    def __init__(self, step: SagaStep) -> None:
        self._step = step
        self._label = f"step {type(step).__qualname__}"
        self._own: Mapping[str, Any] = {}
        self._data: frozenset[str] = frozenset()
        self._values: dict[str, Any] = {}
        if isinstance(step, FunctionStep):
            self._label = f"step {step.definition.__qualname__}"
            self._own = step.definition.options
        else:
            refuse_near_names(type(step), SagaStep, self._label)
            self._own = own_options(type(step), self._label) or {}
            self._data = fields_as_data(type(step))

    def name(self, given: str | None) -> str:
        name = self._read("name", type(self._step).__name__) if given is None else given
        self._check("name", name_problem(name))
        # A subclass of str would not travel as a plain text.
        plain = str.__str__(name)
        self._label = f"step {plain!r}"
        return plain

    def given(self) -> tuple[Any, ...]:
        """All that the step gives for its policies: the values of the options, and a step function's own functions."""
        try:
            self._values = self._of_attributes()
        except Exception:  # which of them raises, and what, is told where it is read by itself
            self._values = {option: self._read(option, _MISSING) for option in _POLICIES}
        functions = self._step.definition.functions if isinstance(self._step, FunctionStep) else {}
        return (*self._values.values(), *functions, *functions.values())

    def _of_attributes(self) -> dict[str, Any]:
        step = self._step
        if self._own or self._data or isinstance(step, FunctionStep):
            return {option: self._read(option, _MISSING) for option in _POLICIES}
        return {option: getattr(step, option, _MISSING) for option in _POLICIES}

    def seconds(self, option: str, default: float, zero_is_fine: bool = False) -> float:
        value = self._read(option, default)
        self._check(option, seconds_problem(value, zero_is_fine))
        return float(value)

    def count(self, option: str) -> int | None:
        value = self._read(option, None)
        self._check(option, None if value is None else count_problem(value))
        return None if value is None else int(value)

    def rate(self, option: str) -> float | None:
        value = self._read(option, None)
        self._check(option, None if value is None else rate_problem(value))
        return None if value is None else float(value)

    def labels(self, option: str) -> tuple[str, ...]:
        value = self._read(option, None)
        self._check(option, None if value is None else labels_problem(value))
        return () if value is None else tuple(sorted(value))

    def flag(self, option: str, default: bool) -> bool:
        value = self._read(option, default)
        self._check(option, None if isinstance(value, bool) else f"must be True or False, not {short(value)}")
        return bool(value)

    def of(self, option: str, kind: type[Any], default: Any) -> Any:
        value = self._read(option, default)
        fits = value is default or isinstance(value, kind)
        self._check(option, None if fits else f"must be a {kind.__name__}(...), not {short(value)}")
        return value

    def isolation(self) -> str:
        value = self._read("isolation", "process")
        fits = isinstance(value, str) and value in ("process", "fresh")
        self._check("isolation", None if fits else f'must be "process" or "fresh", not {short(value)}')
        return str(value)

    def _read(self, option: str, default: Any) -> Any:
        if option in self._values:  # a property is asked once
            value = self._values[option]
            return default if value is _MISSING else value
        if option in self._own or option in self._data or isinstance(self._step, FunctionStep):
            return self._own.get(option, default)
        try:
            return getattr(self._step, option, default)
        except Exception as error:
            raise InvalidStepError(f"{self._label}: its {option} raises {name_and_text(error)}") from error

    def _check(self, option: str, problem: str | None) -> None:
        if problem is None:
            return
        is_field = not isinstance(self._step, FunctionStep) and option in field_types(type(self._step))
        hint = f". If the field {option} is data, put the options into an inner `class Options:`" if is_field else ""
        raise InvalidStepError(f"{self._label}: {option} {problem}{hint}")


def _check_methods(step: SagaStep, name: str, requires_compensation: bool) -> bool:
    """Raise InvalidStepError where a method is missing or can't be called. True where the step has ``verify``."""
    source = source_of(step)
    is_function = isinstance(step, FunctionStep)
    roles = set(step.definition.functions) if isinstance(step, FunctionStep) else _methods(cast(Any, type(step)))
    if "execute" not in roles:
        raise InvalidStepError(f"step {name!r}: {source.__qualname__} has no method execute(self, ctx)")
    if "compensate" not in roles and requires_compensation:
        how = (
            f"write its undo under @{source.__name__}.compensation, or say @step(requires_compensation=False)"
            if is_function
            else "write compensate(self, ctx), or say requires_compensation = False"
        )
        raise InvalidStepError(f"step {name!r}: {source.__qualname__} can't be undone: {how}")
    if isinstance(step, FunctionStep):
        for function in step.definition.functions.values():
            _refuse_generator(function)
    return "verify" in roles


def _is_shared(step: SagaStep, *, fresh_process: bool, limits: ResourceLimits | None) -> bool:
    """Whether the step's calls may run beside others in one process: all of them are coroutines, and the step asks for
    nothing that needs a process of its own."""
    if fresh_process or limits is not None:
        return False
    if isinstance(step, FunctionStep):
        return all(map(inspect.iscoroutinefunction, step.definition.functions.values()))
    return _all_coroutines(cast(Any, type(step)))


@functools.cache
def _all_coroutines(cls: type[SagaStep]) -> bool:
    return all(inspect.iscoroutinefunction(getattr(cls, role)) for role in _methods(cast(Any, cls)))


@functools.cache
def _methods(cls: type[SagaStep]) -> frozenset[str]:
    """The names of those of the three methods that a step class has. Each can be called as the runtime calls it."""
    found = []
    for role in ("execute", "compensate", "verify"):
        method = getattr(cls, role, None)
        if not callable(method):
            continue
        _refuse_generator(method)
        # Bind the method as an instance would: a static method gets no ``self``.
        static = inspect.getattr_static(cls, role)
        bound = static.__get__(object.__new__(cls), cls) if hasattr(static, "__get__") else static
        context_passing(cls.__qualname__, role, bound)
        found.append(role)
    return frozenset(found)


def _refuse_generator(function: Callable[..., Any]) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        name = getattr(function, "__qualname__", repr(function))
        raise InvalidStepError(f"{name} has a yield in it, so calling it runs nothing: return a list of events instead")


def _pack_input(step: SagaStep, name: str) -> tuple[bytes, bytes]:
    """The packed fields, and what the step has computed beside them."""
    what = f"step {name!r}"
    if isinstance(step, FunctionStep):
        data = pack_fields(step.input, step.definition.input_class, what=what)
        if computes_in_parts(step.definition.input_class):
            check_parts(step.input, cast(FunctionStep, build_step(step.definition, data)).input, what)
        return data, b""
    cls = type(step)
    data = pack_fields(step, cls, what=what)
    beside = attributes_beside(step, field_types(cls))
    refuse_drawn(cls, beside, what)
    in_parts = computes_in_parts(cls)
    if not beside and not in_parts:
        return data, b""
    made_again = build_step(cls, data)
    if in_parts:
        check_parts(step, made_again, what)
    made = attributes_beside(made_again, field_types(cls)) | set(OPTIONS)
    lost = sorted(each for each in beside - made if not is_cache(cls, each))
    if lost:
        how = "declare it as a field" if is_structured(cls) else f"write `{lost[0]}: <its type>` in the class"
        raise InvalidStepError(
            f"{what}: attribute {lost[0]!r} is set but not declared in {cls.__qualname__}, so another process would "
            f"not get it: {how}"
        )
    return data, pack_computed(step, beside, made_again, what, may_stay=OPTIONS)
