"""Steps: the base class of those written as classes, and those written as functions."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_type_hints, overload
from weakref import WeakKeyDictionary

from antistrophe.definition.context import StepContext
from antistrophe.definition.spec import ResourceLimits, RetryPolicy
from antistrophe.errors import InvalidStepError
from antistrophe.serialization.payload import prepare_fields, unpack_fields
from antistrophe.serialization.type_hints import short

F = TypeVar("F", bound=Callable[..., Any])


class SagaStep:
    """The base of every step: a dataclass (or any class with declared fields) with ``execute`` and ``compensate``.

    Its fields are its frozen input. ``execute`` and ``compensate`` take ``(self, ctx)`` or ``(self)``, may be
    ``async def``, and return None, a list of events, or StepResult; so does ``verify``, which may also return
    NOT_APPLIED or UNKNOWN. Class attributes that may be set: ``name``, ``timeout_s``, ``kill_grace_s``, ``retry``,
    ``compensation_timeout_s``, ``compensation_retry``, ``idempotent``, ``atomic``, ``requires_compensation``,
    ``isolation``, ``limits``.
    """

    # Nothing here: a field of any name must be free for the user's own class.
    __slots__ = ()


class StepFunction:
    """A function made a step by ``@step``: called with the step's input, it gives a step of a saga."""

    __name__: str
    __qualname__: str
    __module__: str

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        if not inspect.isfunction(function):
            raise InvalidStepError(f"@step stands above a function, not above {short(function)}")
        functools.update_wrapper(self, function)
        self.options: dict[str, Any] = {"name": function.__name__, **options}
        self.functions: dict[str, Callable[..., Any]] = {"execute": function}
        self._signature = inspect.signature(function)
        self._input_signature = self._signature.replace(
            parameters=[each for each in self._signature.parameters.values() if not _is_context(each)],
            return_annotation=inspect.Signature.empty,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> FunctionStep:
        """The step with this input. Raises TypeError for arguments that the function does not take."""
        try:
            bound = self._input_signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.__name__}(): {error}") from None
        bound.apply_defaults()
        return FunctionStep(self, self.input_class(**bound.arguments))

    def __repr__(self) -> str:
        return f"<step function {self.__module__}.{self.__qualname__}>"

    def __reduce__(self) -> str:
        # A copy is the function itself, as a copy of a class is: a step is known by what its name leads to.
        return self.__qualname__

    def compensation(self, function: F) -> F:
        """Decorator: what undoes the step. It takes the step's parameters or some of them, by name, and ``ctx``."""
        return self._add("compensate", function)

    def verify(self, function: F) -> F:
        """Decorator: what finds out whether a step in doubt took effect. Parameters as in ``compensation``."""
        return self._add("verify", function)

    def _add(self, role: str, function: F) -> F:
        if role in self.functions:
            raise InvalidStepError(f"{self.__name__} has a function for {role} already: {self.functions[role]!r}")
        given = self._input_signature.parameters
        for name, parameter in inspect.signature(function).parameters.items():
            required = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
            if required and name not in given and not _is_context(parameter):
                raise InvalidStepError(
                    f"{function.__name__} asks for {name!r}, which {self.__name__} has not: its parameters are "
                    f"{', '.join(given) or 'none'} (and ctx)"
                )
        self.functions[role] = function
        # Under the step's own name (as with a property's setter) the name must go on meaning the step.
        return cast(F, self) if function.__qualname__ == self.__qualname__ else function

    @functools.cached_property
    def input_class(self) -> type[Any]:
        """The function's parameters, without ``ctx``, as a dataclass: what is packed of a step."""
        try:
            hints = get_type_hints(self.functions["execute"], include_extras=True)
        except Exception as error:
            raise InvalidStepError(
                f"{self.__name__}: its annotations have no meaning at run time ({error}); import what they name"
            ) from error
        fields = [
            (name, _field_hint(parameter, hints.get(name, Any)), _field_default(parameter))
            for name, parameter in self._input_signature.parameters.items()
        ]
        return dataclasses.make_dataclass(self.__name__, fields, frozen=True, kw_only=True)

    def call(self, role: str, given: Any, ctx: StepContext) -> Any:
        """Call the function of that role with the step's input; the result, or a coroutine of an ``async def``."""
        function = self.functions[role]
        signature = self._signature if role == "execute" else inspect.signature(function)
        values = {field.name: getattr(given, field.name) for field in dataclasses.fields(given)}
        arguments: dict[str, Any] = {}
        for name, parameter in signature.parameters.items():
            if _is_context(parameter):
                arguments[name] = ctx
            elif name in values:
                arguments[name] = values.pop(name)
            elif parameter.kind is parameter.VAR_KEYWORD:
                arguments[name] = values
        bound = inspect.BoundArguments(signature, cast(Any, arguments))
        return function(*bound.args, **bound.kwargs)


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class FunctionStep(SagaStep):
    """A step made by calling a step function: the function and the input, equal where both are."""

    definition: StepFunction
    input: Any

    def __repr__(self) -> str:
        return repr(self.input)


StepSource: TypeAlias = type[SagaStep] | StepFunction
"""What a step is made from again in another process."""


@overload
def step(function: Callable[..., Any], /) -> StepFunction: ...
@overload
def step(
    *,
    name: str | None = None,
    timeout_s: float | None = None,
    kill_grace_s: float | None = None,
    retry: RetryPolicy | None = None,
    compensation_timeout_s: float | None = None,
    compensation_retry: RetryPolicy | None = None,
    idempotent: bool | None = None,
    atomic: bool | None = None,
    requires_compensation: bool | None = None,
    isolation: Literal["process", "fresh"] | None = None,
    limits: ResourceLimits | None = None,
    max_concurrent: int | None = None,
    max_per_second: float | None = None,
) -> Callable[[Callable[..., Any]], StepFunction]: ...
def step(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a step: ``@step``, or ``@step(timeout_s=5)`` with the options that a step class may set.

    A parameter called ``ctx`` (or annotated StepContext) gets the context; the others are the step's input. The step's
    name is the function's unless given. ``@debit.compensation`` stands above its undo. Raises InvalidStepError for an
    option that does not exist, and above anything but a function.
    """
    unknown = options.keys() - OPTIONS
    if unknown:
        raise InvalidStepError(f"@step knows no option {sorted(unknown)}; there are {', '.join(OPTIONS)}")
    if function is not None:
        return StepFunction(function, {})
    given = {name: value for name, value in options.items() if value is not None}
    return lambda function: StepFunction(function, given)


OPTIONS = (
    "name",
    "timeout_s",
    "kill_grace_s",
    "retry",
    "compensation_timeout_s",
    "compensation_retry",
    "idempotent",
    "atomic",
    "requires_compensation",
    "isolation",
    "limits",
    "max_concurrent",
    "max_per_second",
)


def _is_context(parameter: inspect.Parameter) -> bool:
    hint = parameter.annotation
    name = hint.rpartition(".")[2] if isinstance(hint, str) else None
    return parameter.name == "ctx" or hint is StepContext or name == "StepContext"


def _field_hint(parameter: inspect.Parameter, hint: Any) -> Any:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return tuple[hint, ...]
    return dict[str, hint] if parameter.kind is parameter.VAR_KEYWORD else hint


def _field_default(parameter: inspect.Parameter) -> Any:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return dataclasses.field(default=())
    if parameter.kind is parameter.VAR_KEYWORD:
        return dataclasses.field(default_factory=dict)
    if parameter.default is parameter.empty:
        return dataclasses.field()
    return dataclasses.field(default_factory=lambda: parameter.default)


# --- in a step process --------------------------------------------------------------------------------------------


def source_of(step: SagaStep) -> StepSource:
    """What the step is made from: its class, or its step function."""
    return step.definition if isinstance(step, FunctionStep) else type(step)


def prepare_step(source: StepSource) -> None:
    """Do ahead what the first `build_step` of it would do."""
    prepare_fields(source.input_class if isinstance(source, StepFunction) else source)


def build_step(source: StepSource, data: bytes) -> SagaStep:
    """The step from its packed input. Raises UnreadableDataError where the input does not fit (any more)."""
    if isinstance(source, StepFunction):
        given = unpack_fields(data, source.input_class, what=source.__name__, forbid_unknown=True)
        return FunctionStep(source, given)
    return unpack_fields(data, source, what=source.__qualname__, forbid_unknown=True)


def method_of(step: SagaStep, role: str) -> Callable[..., Any] | None:
    """The function or method for ``execute``, ``compensate`` or ``verify``, or None. A field of that name is none."""
    if isinstance(step, FunctionStep):
        return step.definition.functions.get(role)
    method = getattr(type(step), role, None)
    return cast("Callable[..., Any]", getattr(step, role)) if callable(method) else None


def call_step(step: SagaStep, role: str, ctx: StepContext) -> Any:
    """Call ``execute``, ``compensate`` or ``verify``, with ``ctx`` where it takes one. Returns what it returns, which
    is a coroutine for an ``async def``; lets through what it raises."""
    if isinstance(step, FunctionStep):
        return step.definition.call(role, step.input, ctx)
    method = method_of(step, role)
    if method is None:
        raise InvalidStepError(f"{type(step).__qualname__} has no method {role}")
    how = how_context_is_taken(type(step).__qualname__, role, method)
    if how == "positional":
        return method(ctx)
    return method(ctx=ctx) if how == "keyword" else method()


def how_context_is_taken(owner: str, role: str, method: Callable[..., Any]) -> _Taken:
    """How a bound method takes the context. Raises InvalidStepError where it asks for more than that."""
    function = getattr(method, "__func__", None)
    if not isinstance(function, FunctionType):
        return _look_at_parameters(owner, role, method)
    known = _taken.get(function)
    if known is None:
        known = _taken[function] = _look_at_parameters(owner, role, method)
    return known


def _look_at_parameters(owner: str, role: str, method: Callable[..., Any]) -> _Taken:
    parameters = inspect.signature(method).parameters.values()
    needed = [each for each in parameters if each.default is each.empty and each.kind not in _VARIADIC]
    if len(needed) > 1 or (needed and needed[0].kind is inspect.Parameter.KEYWORD_ONLY and needed[0].name != "ctx"):
        raise InvalidStepError(
            f"{owner}.{role} asks for {', '.join(each.name for each in needed)}: it is called as {role}(self) or "
            f"{role}(self, ctx); what else it needs must be the step's fields"
        )
    context = next((each for each in parameters if each.name == "ctx" and each.kind not in _VARIADIC), None)
    if context is not None and context.kind is not inspect.Parameter.POSITIONAL_ONLY:
        return "keyword"
    takes_any = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters)
    return "positional" if needed or context is not None or takes_any else "not"


_Taken: TypeAlias = Literal["positional", "keyword", "not"]
# It is asked for each call, and to look at parameters takes longer than most of what is done for one.
_taken: WeakKeyDictionary[FunctionType, _Taken] = WeakKeyDictionary()
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
