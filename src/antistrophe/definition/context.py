"""What a step is given when it runs, and what it gives back."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final, Generic, Literal, TypeVar

from antistrophe.definition.events import event_key
from antistrophe.errors import OutputNotFoundError
from antistrophe.serialization.type_hints import short

T = TypeVar("T")


class Outputs(Mapping[str, Any]):
    """The outputs of earlier steps, by the step's name. A missing one raises OutputNotFoundError (a KeyError)."""

    __slots__ = ("_asked_by", "_outputs")

    def __init__(self, outputs: Mapping[str, Any], asked_by: str) -> None:
        self._outputs = dict(outputs)
        self._asked_by = asked_by

    def __getitem__(self, step_name: str) -> Any:
        try:
            return self._outputs[step_name]
        except KeyError:
            there = ", ".join(map(repr, self._outputs)) or "none"
            raise OutputNotFoundError(
                f"step {step_name!r} has no output that step {self._asked_by!r} could read: it gave none "
                f"(StepResult(output=...)), it is in doubt, it comes later, or there is no such step. "
                f"Steps with an output: {there}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        return f"Outputs({self._outputs!r})"


@dataclass(frozen=True, slots=True)
class StepContext:
    """What one attempt knows about itself.

    ``step_index`` counts from 0; ``attempt`` from 1, separately forward and back. ``idempotency_key`` is the same over
    the attempts of one direction and differs between forward and compensation; ``forward_key`` is the forward
    direction's in both (in ``execute`` and ``verify`` the two are equal). ``outputs`` are those of earlier steps by
    name; ``output`` is the step's own in a compensation (None if it gave none, or is in doubt). ``in_doubt``: nobody
    knows whether ``execute`` took effect. ``deadline``: when this attempt is ended, an aware datetime in UTC.
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


@dataclass(frozen=True, slots=True)
class StepResult(Generic[T]):
    """What a step gives back: an ``output`` that later steps and its own compensation can read, and ``events``.

    Raises TypeError for events that are no list or tuple (which is kept as a tuple).
    """

    output: T | None = None
    events: Sequence[object] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.events, list | tuple):
            raise TypeError(f"StepResult(events=...) takes a list of events, not {short(self.events)}")
        object.__setattr__(self, "events", tuple(self.events))


class Finding(Enum):
    """What ``verify`` found, where it is not that the step was applied (which a StepResult says)."""

    NOT_APPLIED = "NOT_APPLIED"
    UNKNOWN = "UNKNOWN"

    def __repr__(self) -> str:
        return self.name


NOT_APPLIED: Final[Literal[Finding.NOT_APPLIED]] = Finding.NOT_APPLIED
"""``verify``: the step did not take effect; it counts as if it had raised."""
UNKNOWN: Final[Literal[Finding.UNKNOWN]] = Finding.UNKNOWN
"""``verify``: can't tell; the step stays in doubt."""


def normalise_result(value: Any) -> StepResult[Any]:
    """What ``execute`` or ``compensate`` returned as a StepResult. Raises TypeError that says what to return."""
    if value is None:
        return StepResult()
    if isinstance(value, StepResult):
        result = value
    elif type(value) in (list, tuple):
        result = StepResult(events=value)
    elif event_key(type(value)) is not None:
        raise TypeError(f"a step returns its events in a list: [{short(value)}]")
    else:
        raise TypeError(f"a step returns None, a list of events, or StepResult(...), not {short(value)}")
    for event in result.events:
        if event_key(type(event)) is None:
            raise TypeError(f"a step returned {short(event)} among its events: put @event above its class")
    return result
