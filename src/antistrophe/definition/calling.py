"""From packed input to a call: how a step process makes a step again, and calls its methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, Literal, TypeAlias, cast
from weakref import WeakKeyDictionary

from antistrophe.definition.computed import restore_computed
from antistrophe.definition.context import StepContext
from antistrophe.definition.result import finished
from antistrophe.definition.step import FunctionStep, SagaStep, StepFunction, StepSource
from antistrophe.errors import InvalidStepError
from antistrophe.serialization.payload import prepare_fields, unpack_fields

ContextPassing: TypeAlias = Literal["positional", "keyword", "none"]
"""How a method takes the context: as its one positional argument, as ``ctx=``, or not at all."""

# Each call asks this, and reading the parameters takes longer than most of what a call takes.
_passing_of: WeakKeyDictionary[FunctionType, ContextPassing] = WeakKeyDictionary()
_VARIADIC_FLAGS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
_PLAIN: Mapping[tuple[str, ...], ContextPassing] = {(): "none", ("ctx",): "keyword"}
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def source_of(step: SagaStep) -> StepSource:
    """The class, or the step function, that the step is made from."""
    return step.definition if isinstance(step, FunctionStep) else type(step)


def prepare_step(source: StepSource) -> None:
    """Do ahead of time what the first `build_step` from this source would have to do."""
    prepare_fields(source.input_class if isinstance(source, StepFunction) else source)


def build_step(source: StepSource, data: bytes, computed: bytes = b"") -> SagaStep:
    """The step with this packed input, and with what it had computed when it was added to its saga. Raises
    UnreadableDataError where either does not fit the step (any more)."""
    if isinstance(source, StepFunction):
        given = unpack_fields(data, source.input_class, what=source.__name__, forbid_unknown=True)
        return FunctionStep(source, given)
    made = unpack_fields(data, source, what=source.__qualname__, forbid_unknown=True)
    if computed:
        restore_computed(made, computed)
    return made


def method_of(step: SagaStep, role: str) -> Callable[..., Any] | None:
    """The step's function or method for ``execute``, ``compensate`` or ``verify``, or None. A field does not count."""
    if isinstance(step, FunctionStep):
        return step.definition.functions.get(role)
    method = getattr(type(step), role, None)
    return cast("Callable[..., Any]", getattr(step, role)) if callable(method) else None


def call_step(step: SagaStep, role: str, ctx: StepContext) -> Any:
    """Call ``execute``, ``compensate`` or ``verify``, with ``ctx`` where the method takes it.

    Returns what the method gives back, read to its end; a coroutine that gives it for an ``async def``. Lets every
    exception through.
    """
    if isinstance(step, FunctionStep):
        return finished(step.definition.call(role, step.input, ctx))
    method = method_of(step, role)
    if method is None:
        raise InvalidStepError(f"{type(step).__qualname__} has no method {role}")
    match context_passing(type(step).__qualname__, role, method):
        case "positional":
            return finished(method(ctx))
        case "keyword":
            return finished(method(ctx=ctx))
        case "none":
            return finished(method())


def context_passing(owner: str, role: str, method: Callable[..., Any]) -> ContextPassing:
    """How a bound method takes the context. Raises InvalidStepError where the method takes anything else."""
    function = getattr(method, "__func__", None)
    if not isinstance(function, FunctionType):
        return _read_parameters(owner, role, method)
    known = _passing_of.get(function)
    if known is None:
        known = _plain_passing(function) or _read_parameters(owner, role, method)
        _passing_of[function] = known
    return known


def _plain_passing(function: FunctionType) -> ContextPassing | None:
    """The same for a method written as ``(self)`` or ``(self, ctx)``; None for any other. A new process would need a
    millisecond to read the parameters for its first call."""
    code = function.__code__
    if vars(function) or code.co_posonlyargcount or code.co_kwonlyargcount or code.co_flags & _VARIADIC_FLAGS:
        return None
    return _PLAIN.get(code.co_varnames[1 : code.co_argcount]) if code.co_argcount else None


def _read_parameters(owner: str, role: str, method: Callable[..., Any]) -> ContextPassing:
    parameters = inspect.signature(method).parameters.values()
    needed = [each for each in parameters if each.default is each.empty and each.kind not in _VARIADIC]
    if len(needed) > 1 or (needed and needed[0].kind is inspect.Parameter.KEYWORD_ONLY and needed[0].name != "ctx"):
        raise InvalidStepError(
            f"{owner}.{role} has the parameters {', '.join(each.name for each in needed)}: a step is called as "
            f"{role}(self) or {role}(self, ctx), so make what else it needs a field of the step"
        )
    context = next((each for each in parameters if each.name == "ctx" and each.kind not in _VARIADIC), None)
    if context is not None and context.kind is not inspect.Parameter.POSITIONAL_ONLY:
        return "keyword"
    takes_any = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters)
    return "positional" if needed or context is not None or takes_any else "none"
