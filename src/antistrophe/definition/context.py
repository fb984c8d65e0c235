"""What a step gets when it runs (StepContext), and what it gives back (StepResult, NOT_APPLIED, UNKNOWN)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Protocol, TypeAlias

from antistrophe.definition.events import event_key
from antistrophe.definition.result import is_iterable_of_events, read_events
from antistrophe.definition.worker_start import Worker
from antistrophe.errors import InvalidResultError, OutputNotFoundError
from antistrophe.fast_dataclass import dataclass
from antistrophe.serialization.type_hints import short

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # a default needs Python 3.13; every type checker brings this module

    T = TypeVar("T", default=Any)  # so that a bare StepResult is one with any output
else:
    from typing import TypeVar

    T = TypeVar("T")


class LaterOutputs(Protocol):
    """Outputs that are read when a step asks for them."""

    def names(self) -> Collection[str]:
        """The steps that have an output, those whose output is at hand included, in step order."""

    def read(self, step_name: str) -> Any:
        """The output of one of these steps."""


class Outputs(Mapping[str, Any]):
    """The outputs of earlier steps, by the step's name: ``ctx.outputs["Debit"]``.

    Small outputs come with the call. Those of a saga whose outputs are large, or many, are read from the journal when
    they are asked for.

    Raises OutputNotFoundError, which is a KeyError, for a step without an output, and InDoubtError where an output
    can't be read.
    """

    __slots__ = ("_asked_by", "_later", "_outputs")

    def __init__(self, outputs: Mapping[str, Any], asked_by: str, later: LaterOutputs | None = None) -> None:
        self._outputs = dict(outputs)
        self._asked_by = asked_by
        self._later = later

    def __getitem__(self, step_name: str) -> Any:
        if step_name not in self._outputs and self._later is not None and step_name in self._later.names():
            self._outputs[step_name] = self._later.read(step_name)
        try:
            return self._outputs[step_name]
        except KeyError:
            there = ", ".join(map(repr, self._names())) or "none"
            raise OutputNotFoundError(
                f"step {step_name!r} has no output that step {self._asked_by!r} could read: it returned none "
                f"(StepResult(output=...)), it is in doubt, it comes later, or there is no such step. "
                f"Steps with an output: {there}"
            ) from None

    def _names(self) -> Collection[str]:
        return self._outputs if self._later is None else self._later.names()

    def __contains__(self, step_name: object) -> bool:
        return step_name in self._outputs or step_name in self._names()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def __repr__(self) -> str:
        if self._later is None:
            return f"Outputs({self._outputs!r})"
        return f"Outputs of {', '.join(self._names())}"


@dataclass(frozen=True, slots=True)
class StepContext:
    """What one attempt knows about itself.

    ``saga_id``, ``step_name``, ``step_index``: which step this is; indexes count from 0.
    ``attempt``: counts from 1, separately for ``execute`` and ``compensate``.
    ``idempotency_key``: a text that is the same in all attempts of one direction, and differs between forward and
    compensation. ``forward_key``: the key of the forward direction in both. In ``execute`` and ``verify`` the two are
    equal.
    ``outputs``: the outputs of earlier steps by name. ``output``: in a compensation the step's own output, None where
    the step returned none or is in doubt.
    ``in_doubt``: True where nobody knows whether ``execute`` took effect.
    ``deadline``: when this attempt is ended, an aware datetime in UTC.
    ``log``: a logger whose records go to the log of the home.
    ``worker``: what the functions under ``@on_worker_start`` have made in this process, by name.
    ``traceparent``: the span of this attempt as a W3C traceparent, for the headers of a request, or as the parent of
    spans of the step's own.
    ``fencing_token``: a number that grows each time that another host takes over the saga. A system that keeps the
    largest one it has seen can refuse what comes with a smaller one. 1 where the journal is a file of the home.

    A compensation that uses them::

        def compensate(self, ctx: StepContext):
            bank.refund(self.account, self.amount, key=ctx.idempotency_key, undoes=ctx.forward_key)
    """

    saga_id: str
    step_name: str
    step_index: int
    attempt: int
    idempotency_key: str
    forward_key: str
    outputs: Mapping[str, Any]
    output: Any
    in_doubt: bool
    deadline: datetime
    log: logging.Logger
    worker: Mapping[str, Any] = field(default_factory=Worker)
    traceparent: str = ""
    fencing_token: int = 1


@dataclass(frozen=True, slots=True)
class StepResult(Generic[T]):
    """What a step gives back: an ``output``, and ``events``.

    ::

        return StepResult(output=booking.id, events=[Booked(booking.id)])

    Later steps and the step's own compensation can read the output. It is None or a value that travels without a
    declared type: bool, int, float, str, bytes, list, tuple, dict, set, frozenset, datetime, date, time, timedelta,
    Decimal or UUID, or a pydantic model, also within a list, tuple or dict. The events are a list, or any other
    iterable of events, and are kept as a tuple. Raises InvalidResultError, which is a TypeError, for events of another
    type. Within a step that error says that the step is in doubt.
    """

    output: T | None = None
    events: Sequence[object] = ()

    def __post_init__(self) -> None:
        events = self.events
        if type(events) is not tuple and type(events) is not list:
            if not is_iterable_of_events(type(events)):
                raise InvalidResultError(f"StepResult(events=...) takes a list of events, not {short(events)}")
            events = read_events(events)
        object.__setattr__(self, "events", tuple(events))


class Finding(Enum):
    """What ``verify`` found where the step was not applied, or where nobody can tell. (A StepResult says: applied.)"""

    NOT_APPLIED = "NOT_APPLIED"
    UNKNOWN = "UNKNOWN"

    def __repr__(self) -> str:
        return self.name


NOT_APPLIED: Final[Literal[Finding.NOT_APPLIED]] = Finding.NOT_APPLIED
"""Returned by ``verify``: the step did not take effect. The attempt counts as one that raised."""
UNKNOWN: Final[Literal[Finding.UNKNOWN]] = Finding.UNKNOWN
"""Returned by ``verify``: nobody can tell. The step stays in doubt."""
Verified: TypeAlias = StepResult[Any] | Finding
"""What ``verify`` returns, for its annotation: a StepResult, NOT_APPLIED or UNKNOWN."""


def normalise_result(value: Any) -> StepResult[Any]:
    """The StepResult for what ``execute`` or ``compensate`` returned. Raises TypeError, which says what a step returns,
    for everything else."""
    if value is None:
        return StepResult()
    if isinstance(value, StepResult):
        result = value
    elif is_iterable_of_events(type(value)):
        result = StepResult(events=value)
    elif event_key(type(value)) is not None:
        raise TypeError(f"a step returns its events in a list: [{short(value)}]")
    else:
        raise TypeError(f"a step returns None, a list of events, or StepResult(...), not {short(value)}")
    for event in result.events:
        if event_key(type(event)) is None:
            raise TypeError(f"a step returned {short(event)} among its events: put @event above its class")
    return result
