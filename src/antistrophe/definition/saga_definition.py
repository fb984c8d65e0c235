"""The definition of a saga: its steps in order. Each step is checked when it is added."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, cast

from antistrophe.definition.calling import source_of
from antistrophe.definition.code_loading import origin_of
from antistrophe.definition.spec import SagaSpec, StepSpec
from antistrophe.definition.step import SagaStep, StepFunction
from antistrophe.definition.step_options import step_spec
from antistrophe.definition.validation import count_problem, name_problem, priority_problem, seconds_problem
from antistrophe.errors import InvalidDefinitionError, InvalidStepError, PayloadTooLargeError
from antistrophe.records import SagaMetadata, SagaStatus, StepRecord, StepStatus
from antistrophe.serialization.payload import check_size
from antistrophe.serialization.type_hints import short
from antistrophe.settings import Settings

DEFAULT_MAX_PAYLOAD_BYTES = Settings().max_payload_bytes

MAX_DEFINITION_BYTES = 128 << 20
"""How much a saga's definition may take: the packed inputs of all steps, and ``_STEP_BYTES`` for each step. It has to
fit into one message and into one entry of the journal."""

_STEP_BYTES = 600


@dataclass(frozen=True, slots=True, init=False)
class SagaDefinition:
    """What a saga is to do: an id of its own, a name that sagas of one kind share (the id unless given), and its steps.

    ::

        saga = SagaDefinition("transfer-100", name="transfer", deadline_s=60)
        saga = saga.add_step(Debit("A", 100)).add_step(Credit("B", 100))

    ``deadline_s``: seconds that the forward phase may take; None for no limit.
    ``on_compensation_failure``: what happens when a compensation fails for good. ``"park"`` stops until an operator has
    seen to it; ``"continue"`` compensates the steps before it first.
    ``max_concurrent``: how many sagas of this name may be at work at the same time. More are accepted, and wait.
    ``priority``: a whole number; of the sagas that wait, those with a higher one go first. Compensations go before all.

    Raises InvalidDefinitionError for a value that is not allowed. A definition never changes: ``add_step`` gives a new
    one. It packs the input of the step at once, so a later change of the object changes nothing.
    """

    id: str
    name: str
    deadline_s: float | None
    on_compensation_failure: Literal["park", "continue"]
    max_concurrent: int | None
    priority: int
    steps: tuple[SagaStep, ...] = field(compare=False)
    created_at: datetime = field(compare=False, repr=False)
    step_specs: tuple[StepSpec, ...] = field(repr=False)

    def __init__(
        self,
        id: str,  # noqa: A002 - the word for a saga's id everywhere
        name: str | None = None,
        deadline_s: float | None = None,
        on_compensation_failure: Literal["park", "continue"] = "park",
        max_concurrent: int | None = None,
        priority: int = 0,
    ) -> None:
        choice = on_compensation_failure
        for what, problem in (
            ("id", name_problem(id)),
            ("name", None if name is None else name_problem(name)),
            ("deadline_s", None if deadline_s is None else seconds_problem(deadline_s)),
            ("max_concurrent", None if max_concurrent is None else count_problem(max_concurrent)),
            ("priority", priority_problem(priority)),
            (
                "on_compensation_failure",
                None if choice in ("park", "continue") else f'must be "park" or "continue", not {short(choice)}',
            ),
        ):
            if problem is not None:
                raise InvalidDefinitionError(f"the {what} of a saga {problem}")
        # A subclass of str (a member of an Enum, say) would not travel as a plain text.
        self._set("id", str.__str__(id))
        self._set("name", str.__str__(id if name is None else name))
        self._set("deadline_s", None if deadline_s is None else float(deadline_s))
        self._set("on_compensation_failure", on_compensation_failure)
        self._set("max_concurrent", max_concurrent)
        self._set("priority", priority)
        self._set("steps", ())
        self._set("created_at", datetime.now(UTC))
        self._set("step_specs", ())

    def add_step(self, step: SagaStep, name: str | None = None) -> SagaDefinition:
        """A new definition with this step at its end. ``name`` is the step's name in this saga, in place of its own::

            saga = saga.add_step(pay("A", 100), name="deposit").add_step(pay("A", 900), name="rest")

        Raises InvalidStepError, which names the step, what is wrong and what to do; NotSerializableError, one of those,
        for a field that can't travel.
        """
        if not isinstance(step, SagaStep):
            raise InvalidStepError(f"saga {self.id!r}: {_not_a_step(step)}")
        added = step_spec(step, name)
        for index, earlier in enumerate(self.step_specs):
            if earlier.name == added.name:
                raise InvalidStepError(
                    f"saga {self.id!r}: steps {index} and {len(self.steps)} are both called {added.name!r}. Give one a "
                    "name of its own: add_step(step, name=...), a field or class attribute `name`, or @step(name=...)"
                )
        new = object.__new__(type(self))
        copy_to = partial(object.__setattr__, new)
        for attribute in _fields_of(cast(Any, type(self))):
            copy_to(attribute, getattr(self, attribute))
        new._set("steps", (*self.steps, step))
        new._set("step_specs", (*self.step_specs, added))
        return new

    @property
    def status(self) -> SagaStatus:
        """Always NOT_STARTED: the orchestrator knows what became of a saga."""
        return SagaStatus.NOT_STARTED

    @property
    def metadata(self) -> SagaMetadata:
        """The saga as monitoring would show it before it starts."""
        return SagaMetadata(
            id=self.id,
            name=self.name,
            status=SagaStatus.NOT_STARTED,
            steps_executed=0,
            total_steps=len(self.steps),
            created_at=self.created_at,
            updated_at=self.created_at,
            steps=tuple(
                StepRecord(each.name, index, StepStatus.PENDING, 0, False, None, None, None, None)
                for index, each in enumerate(self.step_specs)
            ),
        )

    def spec(self, max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES) -> SagaSpec:
        """The spec that is accepted and journaled. Raises PayloadTooLargeError for a step whose packed input is over
        ``max_payload_bytes``, and for the step with which the whole definition is over ``MAX_DEFINITION_BYTES``."""
        size = 0
        for index, each in enumerate(self.step_specs):
            what = f"saga {self.id!r}: the input of step {index} ({each.name})"
            check_size(each.input + each.computed, max_payload_bytes, what)
            size += len(each.input) + len(each.computed) + _STEP_BYTES
            if size > MAX_DEFINITION_BYTES:
                raise PayloadTooLargeError(
                    f"saga {self.id!r}: with step {index} ({each.name}) of {len(self.step_specs)} the definition takes"
                    f" more than {MAX_DEFINITION_BYTES} bytes, the limit of a saga: store the inputs elsewhere and pass"
                    " references to them, or make several sagas of it"
                )
        return SagaSpec(
            id=self.id,
            name=self.name,
            deadline_s=self.deadline_s,
            park_on_failure=self.on_compensation_failure == "park",
            steps=self.step_specs,
            origin=origin_of(source_of(step) for step in self.steps),
            max_concurrent=self.max_concurrent,
            priority=self.priority,
        )

    def _set(self, attribute: str, value: Any) -> None:
        object.__setattr__(self, attribute, value)


def checked_saga(thing: object) -> SagaDefinition:
    """The thing, where it is a saga. Raises InvalidDefinitionError for anything else."""
    if not isinstance(thing, SagaDefinition):
        raise InvalidDefinitionError(
            f'{short(thing)} is no saga: pass a SagaDefinition, such as SagaDefinition("transfer-100").add_step(...)'
        )
    return thing


@functools.cache
def _fields_of(cls: type[SagaDefinition]) -> tuple[str, ...]:
    return tuple(each.name for each in fields(cls))


def _not_a_step(thing: object) -> str:
    if isinstance(thing, type) and issubclass(thing, SagaStep):
        return f"add_step got the class {thing.__qualname__} and not a step: add {thing.__qualname__}(...)"
    if isinstance(thing, StepFunction):
        return f"add_step got the step function {thing.__name__} and not a step: add {thing.__name__}(...)"
    if inspect.isroutine(thing):
        return f"add_step got the function {thing.__name__}: put @step above it, and add {thing.__name__}(...)"
    if callable(getattr(thing, "execute", None)):
        return f"{short(thing)} is no step: let its class inherit from SagaStep"
    return f"{short(thing)} is no step: add an instance of a SagaStep, or the call of a function under @step"
