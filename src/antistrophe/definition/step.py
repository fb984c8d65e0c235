"""Steps: the base class of steps written as classes, and the decorator of steps written as functions."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, cast, get_type_hints, overload

from antistrophe.definition.context import StepContext, StepResult, Verified
from antistrophe.definition.options import OPTIONS
from antistrophe.definition.spec import ResourceLimits, RetryPolicy
from antistrophe.errors import InvalidStepError
from antistrophe.serialization.masks import masked_paths
from antistrophe.serialization.type_hints import short

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
Given: TypeAlias = StepResult[Any] | Iterable[object] | AsyncIterable[object] | None
"""What ``execute`` and ``compensate`` give back, or what an ``async def`` does once it is awaited."""

G = TypeVar("G", bound=Given | Awaitable[Given])
V = TypeVar("V", bound=Verified | Awaitable[Verified])
R_co = TypeVar("R_co", covariant=True)


class TakesContext(Protocol[P, R_co]):
    """To a type checker: a function whose first parameter is ``ctx``, and what its others are."""

    def __call__(self, ctx: StepContext, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class SagaStep:
    """The base of every step: a dataclass, or any class with declared fields, with ``execute`` and ``compensate``.

    ::

        @dataclass(frozen=True)
        class Debit(SagaStep):
            account: str
            amount: int
            timeout_s = 5.0

            def execute(self, ctx: StepContext):
                return [Debited(self.account, self.amount)]

            def compensate(self, ctx: StepContext):
                return []

    The fields are the step's input, which ``add_step`` packs, with what the step has computed when it was made
    (``field(init=False)``, ``__post_init__``): each attempt and the compensation see the same values. The methods take
    ``(self, ctx)`` or ``(self)`` and may be ``async def``. ``execute`` and ``compensate`` return None, a list (or any
    iterable) of events, or a StepResult. A step may also have ``verify``, which says whether a step in doubt took
    effect: it returns a StepResult, NOT_APPLIED or UNKNOWN.

    These class attributes may be set; a field of the same name wins. Where a field of such a name is data, put the
    options into an inner ``class Options:`` (or ``options = StepOptions(...)``): every field is data then.

    - ``name``: unique within a saga; the class's name by default. ``add_step(step, name=...)`` names one use of a step.
    - ``timeout_s`` (30.0), ``kill_grace_s`` (5.0): seconds until an attempt is told to end, and from there to the kill.
    - ``retry``, ``compensation_retry``: a RetryPolicy for attempts forward and back.
    - ``compensation_timeout_s``: seconds for a compensation (at least 30.0, and ``timeout_s``, by default).
    - ``idempotent`` (False): it is safe to run ``execute`` again, whatever became of the attempt before.
    - ``atomic`` (True): an attempt that raised had no effect.
    - ``requires_compensation`` (True): False allows a step without ``compensate``.
    - ``isolation``: ``"process"``, or ``"fresh"`` for a new process for each attempt.
    - ``limits``: a ResourceLimits.
    - ``max_concurrent``, ``max_per_second``: how many attempts of this class may run at once, and start in a second.
    - ``runs_on``: the labels that a host must have, as ``{"gpu"}``: the setting ``labels`` says which it has.
    """

    # The base defines no attribute, so that a user's class may have a field of any name.
    __slots__ = ()


class StepFunction(Generic[P]):
    """A function under ``@step``. Called with the step's input, it gives a step of a saga."""

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

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> FunctionStep:
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
        # A copy or a pickle is the name of the function, as for a class: other processes know a step by its name.
        return self.__qualname__

    @overload
    def compensation(self, function: TakesContext[P, G]) -> TakesContext[P, G]: ...
    @overload
    def compensation(self, function: Callable[P, G]) -> Callable[P, G]: ...
    @overload
    def compensation(self, function: TakesContext[[], G]) -> TakesContext[[], G]: ...
    @overload
    def compensation(self, function: Callable[[], G]) -> Callable[[], G]: ...
    def compensation(self, function: F) -> F:
        """Decorator: the function that undoes the step. It takes ``ctx`` and any of the step's parameters, by name.
        (A type checker wants all of the parameters, or none.)

        Raises InvalidStepError for a parameter that the step does not have, and for a second function.
        """
        return self._add("compensate", function)

    @overload
    def verify(self, function: TakesContext[P, V]) -> TakesContext[P, V]: ...
    @overload
    def verify(self, function: Callable[P, V]) -> Callable[P, V]: ...
    @overload
    def verify(self, function: TakesContext[[], V]) -> TakesContext[[], V]: ...
    @overload
    def verify(self, function: Callable[[], V]) -> Callable[[], V]: ...
    def verify(self, function: F) -> F:
        """Decorator: the function that finds out whether a step in doubt took effect; otherwise as ``compensation``."""
        return self._add("verify", function)

    def _add(self, role: str, function: F) -> F:
        if role in self.functions:
            raise InvalidStepError(f"{self.__name__} already has a function for {role}: {self.functions[role]!r}")
        given = self._input_signature.parameters
        for name, parameter in inspect.signature(function).parameters.items():
            required = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
            if required and name not in given and not _is_context(parameter):
                allowed = f"ctx and any of {', '.join(given)}" if given else "ctx alone"
                raise InvalidStepError(
                    f"{function.__name__} has a parameter {name!r}, and step {self.__name__} has no such parameter: "
                    f"take {allowed}"
                )
        self.functions[role] = function
        # The function may have the step's own name, like a property's setter: then that name must still mean the step.
        return cast(F, self) if function.__qualname__ == self.__qualname__ else function

    @functools.cached_property
    def input_class(self) -> type[Any]:
        """The step's input as a dataclass: a field for each parameter but ``ctx``. Raises InvalidStepError where an
        annotation has no meaning at run time."""
        try:
            hints = get_type_hints(self.functions["execute"], include_extras=True)
        except Exception as error:
            raise InvalidStepError(
                f"{self.__name__}: its annotations have no meaning at run time ({error}); import what they name"
            ) from error
        fields = []
        for name, parameter in self._input_signature.parameters.items():
            hint, made = _field_hint(parameter, hints.get(name, Any)), _field_default(parameter)
            made.repr = not masked_paths(hint)
            fields.append((name, hint, made))
        return dataclasses.make_dataclass(self.__name__, fields, frozen=True, kw_only=True)

    def call(self, role: str, given: Any, ctx: StepContext) -> Any:
        """Call the function for ``role`` with the step's input. Its result is a coroutine for an ``async def``."""
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
    """A step made by a step function. Two are equal where function and input are."""

    definition: StepFunction[...]
    input: Any

    def __repr__(self) -> str:
        return repr(self.input)

    def __reduce__(self) -> tuple[Any, ...]:
        # The class of the input is made for the function, and no module has it under a name.
        given = {field.name: getattr(self.input, field.name) for field in dataclasses.fields(self.input)}
        return _with_input, (self.definition, given)


def _with_input(definition: StepFunction[...], given: dict[str, Any]) -> FunctionStep:
    return FunctionStep(definition, definition.input_class(**given))


StepSource: TypeAlias = type[SagaStep] | StepFunction[...]
"""The step class, or the step function, from which another process makes a step again."""


class StepDecorator(Protocol):
    """To a type checker: ``@step`` with options."""

    @overload
    def __call__(self, function: TakesContext[P, G], /) -> StepFunction[P]: ...
    @overload
    def __call__(self, function: Callable[P, G], /) -> StepFunction[P]: ...


@overload
def step(function: TakesContext[P, G], /) -> StepFunction[P]: ...
@overload
def step(function: Callable[P, G], /) -> StepFunction[P]: ...
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
    runs_on: AbstractSet[str] | None = None,
) -> StepDecorator: ...
def step(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a step: ``@step``, or ``@step(timeout_s=5)`` with the options that a step class may set.

    ::

        @step(timeout_s=5)
        def debit(ctx: StepContext, account: str, amount: int) -> list[Debited]:
            return [Debited(account, amount)]

        @debit.compensation
        def undo_debit(ctx: StepContext, account: str, amount: int) -> None: ...

        saga = SagaDefinition("transfer-100").add_step(debit("A", 100))

    A parameter called ``ctx``, or annotated StepContext, gets the context; the others are the step's input. (To a type
    checker the context is a first parameter ``ctx``.) The step's name is the function's unless given. Raises
    InvalidStepError for an option that does not exist, and above anything but a function.
    """
    unknown = options.keys() - OPTIONS
    if unknown:
        raise InvalidStepError(
            f"@step has no option {', '.join(sorted(unknown))}; its options are {', '.join(OPTIONS)}"
        )
    if function is not None:
        return StepFunction(function, {})
    given = {name: value for name, value in options.items() if value is not None}
    return lambda function: StepFunction(function, given)


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
