"""The outcome of a saga for those who wait: its events, or the error that says how it ended."""

from __future__ import annotations

from typing import Any

from antistrophe.definition.events import EncodedEvent
from antistrophe.errors import (
    CompensationFailedError,
    SagaCancelledError,
    SagaError,
    StepCrashedError,
    StepFailedError,
    StepInterruptedError,
    StepTimeoutError,
)
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import Failure, FailureKind, TurnCause, TurnReason
from antistrophe.saga.state import Saga
from antistrophe.serialization.printable import printable
from antistrophe.serialization.struct_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The compensation that failed for good; of several the first in the order of compensation."""

    step: int
    step_name: str
    failure: Failure
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a saga ended, or that it is parked (FAILED), in values that can travel. ``events`` are in step order;
    ``traceback`` is that of the failure in ``cause``. ``events_stored``: the events are too large for a message; they
    are read from the journal."""

    saga_id: str
    status: SagaStatus
    events: tuple[EncodedEvent, ...] = ()
    cause: TurnCause | None = None
    step_name: str = ""
    deadline_s: float | None = None
    given_up: GivenUp | None = None
    traceback: str | None = None
    events_stored: bool = False


def status_of(saga: Saga) -> SagaStatus:
    """The saga's status as monitoring shows it."""
    if saga.completed:
        return SagaStatus.COMPLETED
    if saga.compensated:
        return SagaStatus.COMPENSATED
    if saga.parked:
        return SagaStatus.FAILED
    return SagaStatus.COMPENSATING if saga.backward else SagaStatus.EXECUTING


def outcome_of(saga: Saga) -> Outcome | None:
    """The outcome of a saga that has ended or is parked; None while it runs."""
    status = status_of(saga)
    if status.running:
        return None
    if saga.completed:
        if saga.events_left:
            return Outcome(saga.id, status, events_stored=True)
        return Outcome(saga.id, status, tuple(event for step in saga.steps for event in step.events))
    cause = saga.cause
    assert cause is not None, "only a saga that turned back can be compensated or parked"
    name = saga.spec.steps[cause.step].name if saga.spec.steps else ""
    return Outcome(
        saga.id,
        status,
        (),
        cause,
        name,
        deadline_s=saga.spec.deadline_s,
        given_up=_given_up(saga) if saga.parked else None,
        traceback=saga.steps[cause.step].traceback if cause.failure is not None else None,
    )


def _given_up(saga: Saga) -> GivenUp | None:
    for index in reversed(saga.first_starts):
        step = saga.steps[index]
        if step.given_up is not None:
            return GivenUp(index, saga.spec.steps[index].name, step.given_up, step.undo_traceback)
    return None


def error_of(outcome: Outcome) -> SagaError | None:
    """The exception that a caller gets; None if the saga completed. The ``__cause__`` of a failed compensation is what
    made the saga turn back."""
    if outcome.cause is None:
        return None
    turned = _with_traceback(_turn_error(outcome, outcome.cause), outcome.traceback)
    if outcome.given_up is None:
        return turned
    given = outcome.given_up
    error = CompensationFailedError(
        saga_id=outcome.saga_id,
        step_index=given.step,
        step_name=given.step_name,
        error=describe(given.failure),
    )
    error.__cause__ = turned
    return _with_traceback(error, given.traceback)


def _with_traceback(error: SagaError, traceback: str | None) -> SagaError:
    """The error, with the traceback from the step's process, also as a note, which is printed below it."""
    error.traceback = traceback
    if traceback is not None:
        error.add_note("What the step raised in its process:\n" + printable(traceback, keep="\n"))
    return error


def describe(failure: Failure) -> str:
    """A failure in words."""
    return ": ".join(part for part in (failure.error_type, failure.error) if part)


def _turn_error(outcome: Outcome, cause: TurnCause) -> SagaError:
    saga_id, step, name, failure = outcome.saga_id, cause.step, outcome.step_name, cause.failure
    if cause.reason is TurnReason.CANCELLED:
        return SagaCancelledError(saga_id=saga_id, reason=cause.note)
    where: dict[str, Any] = {"saga_id": saga_id, "step_index": step, "step_name": name}
    if cause.reason is TurnReason.DEADLINE:
        return StepTimeoutError(**where, duration_s=outcome.deadline_s or 0.0, detail="the saga's deadline has passed")
    assert failure is not None, "every other reason comes from a failure"
    if cause.reason is TurnReason.STEP_TIMED_OUT:
        return StepTimeoutError(**where, duration_s=failure.duration_s or 0.0)
    if cause.reason is TurnReason.STEP_CRASHED:
        error = StepInterruptedError if failure.kind is FailureKind.INTERRUPTED else StepCrashedError
        return error(**where, exit_code=failure.exit_code, signal=failure.signal, detail=failure.error)
    return StepFailedError(**where, error=failure.error, error_type=failure.error_type)
