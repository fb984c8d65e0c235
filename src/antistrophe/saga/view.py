"""A saga's state as monitoring shows it, and what some entries change of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from antistrophe.definition.spec import StepSpec
from antistrophe.records import SagaMetadata, SagaStatus, StepRecord, StepStatus
from antistrophe.saga.effects import Work, next_work
from antistrophe.saga.entries import Action, Entry, TurnedBack
from antistrophe.saga.outcome import describe, error_of, outcome_of, status_of
from antistrophe.saga.state import Saga
from antistrophe.saga.step_state import ALONE_FROM, StepState, is_owed
from antistrophe.serialization.struct_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class SagaView:
    """One saga as the journal keeps it whole for monitoring: the result of ``metadata_of`` in plain values. Each step
    is a list of the fields of StepRecord without the index, and without the host where there is none. Moments are
    seconds since the epoch."""

    id: str
    name: str
    status: SagaStatus
    steps_executed: int
    created_at: float
    updated_at: float
    error: str | None
    waiting: str | None
    steps: list[list[Any]]


@dataclass(frozen=True, slots=True)
class ViewChange:
    """What some entries change of the view of a saga; ``error`` is as it was. Each of ``steps`` is a step that changed:
    its index, and the values that SagaView has of it, without the name."""

    id: str
    status: SagaStatus
    steps_executed: int
    updated_at: float
    error: str | None
    waiting: str | None
    steps: list[list[Any]]


WHOLE_EVERY = 32
"""A view is kept whole at least once in so many entries, or in two for each step where that is more: so whoever reads
a view reads few changes, and the whole views add little to what the journal keeps of each step."""


def view_after(
    before: Saga | None, after: Saga, entries: Sequence[Entry], ahead_s: float = 0.0
) -> SagaView | ViewChange:
    """What the journal keeps of the state that these entries lead to: the change, or the whole view where the saga
    begins, turns back, is final, is parked or was, or where it is time. ``ahead_s``: how far the machine's clock, which
    people see, is ahead of the system's."""
    every = max(WHOLE_EVERY, 2 * len(after.steps))
    if before is None or before.parked or after.parked or after.ended or before.seq // every != after.seq // every:
        return view_of(after, ahead_s)
    changed: dict[int, None] = {}
    for entry in entries:
        if isinstance(entry, TurnedBack):  # it changes how every step is shown, and the error
            return view_of(after, ahead_s)
        step = getattr(entry, "step", None)
        if step is not None:
            changed[step] = None
    return ViewChange(
        id=after.id,
        status=status_of(after),
        steps_executed=after.ahead,
        updated_at=_shown(after, after.updated_at, ahead_s),
        error=error_text(after),
        waiting=_waiting(after, ahead_s),
        steps=[[index, *_step_values(after, index, after.steps[index], ahead_s)[1:]] for index in changed],
    )


def view_of(saga: Saga, ahead_s: float = 0.0) -> SagaView:
    """The view of a saga, in less than half the time of ``metadata_of``."""
    return SagaView(
        id=saga.id,
        name=saga.spec.name,
        status=status_of(saga),
        steps_executed=saga.ahead,
        created_at=saga.created_at,
        updated_at=_shown(saga, saga.updated_at, ahead_s),
        error=error_text(saga),
        waiting=_waiting(saga, ahead_s),
        steps=[_step_values(saga, index, state, ahead_s) for index, state in enumerate(saga.steps)],
    )


def _step_values(saga: Saga, index: int, state: StepState, ahead_s: float) -> list[Any]:
    failure = state.given_up or state.failure
    return [
        saga.spec.steps[index].name,
        _step_status(saga, index, state).value,
        state.started - state.never_ran - state.refused,
        state.in_doubt,
        None if state.started_at is None else _shown(saga, state.started_at, ahead_s),
        None if state.finished_at is None else _shown(saga, state.finished_at, ahead_s),
        None if failure is None else describe(failure),
        state.pid,
        state.undo_failures,
        *([] if state.host is None else [state.host]),
    ]


def _shown(saga: Saga, moment: float, ahead_s: float) -> float:
    """What people see of a moment of the system's clock. That of the acceptance is ``created_at``: the two clocks are
    not read at once, and nothing of a saga is to be seen before it was created."""
    return saga.created_at if moment == saga.accepted_at else moment + ahead_s


def at(seconds: float) -> datetime:
    """Seconds since the epoch as an aware UTC datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def metadata_of(saga: Saga) -> SagaMetadata:
    """One saga as monitoring shows it."""
    shot = view_of(saga)
    return SagaMetadata(
        id=shot.id,
        name=shot.name,
        status=shot.status,
        steps_executed=shot.steps_executed,
        total_steps=len(shot.steps),
        created_at=at(shot.created_at),
        updated_at=at(shot.updated_at),
        error=shot.error,
        waiting=shot.waiting,
        steps=tuple(_step_record(index, values) for index, values in enumerate(shot.steps)),
    )


def _step_record(index: int, values: list[Any]) -> StepRecord:
    name, status, attempts, in_doubt, started_at, finished_at, error, pid, undo_failures, *host = values
    return StepRecord(
        name=name,
        index=index,
        status=StepStatus(status),
        attempts=attempts,
        in_doubt=in_doubt,
        started_at=None if started_at is None else at(started_at),
        finished_at=None if finished_at is None else at(finished_at),
        error=error,
        pid=pid,
        undo_failures=undo_failures,
        host=host[0] if host else None,
    )


def error_text(saga: Saga) -> str | None:
    """What went wrong, in words; None where nothing did."""
    if saga.cause is None:
        return None
    outcome = outcome_of(saga)
    if outcome is not None:
        return None if (error := error_of(outcome)) is None else str(error)
    failure = saga.cause.failure
    return describe(failure) if failure is not None else (saga.cause.note or saga.cause.reason.value)


def obstacle(saga: Saga, ahead_s: float) -> str | None:
    """Why the saga waits, where it is for more than a free step process; else None."""
    if saga.waiting is not None:
        return saga.waiting
    if saga.parked:
        return "an operator must retry or resolve the compensation that failed"
    current = saga.current
    if current is not None and saga.ending:
        name = saga.spec.steps[current.step].name
        return f"process {current.lease.pid}, which runs the attempt to {current.action.value} {name}, is being ended"
    work = next_work(saga)
    if work is None:
        return None
    step = saga.spec.steps[work.step]
    if saga.not_before is not None and saga.not_before > saga.updated_at:
        due = at(saga.not_before + ahead_s).isoformat()
        action = work.action.value
        return f"the next attempt to {action} {step.name} comes at {due}, in the first step process that is free then"
    lost = saga.steps[work.step].times_lost(work.action)
    if not step.throttled and lost < ALONE_FROM:
        return None
    suspect = f"; the actor system has died {lost} times in a row while that ran" if lost >= ALONE_FROM else ""
    return f"{_process_for(saga, work)}{_limits(step)}{suspect}"


def _waiting(saga: Saga, ahead_s: float) -> str | None:
    reason = obstacle(saga, ahead_s)
    if reason is not None or saga.current is not None:
        return reason
    work = next_work(saga)
    return None if work is None else _process_for(saga, work)


def _process_for(saga: Saga, work: Work) -> str:
    return f"a step process to {work.action.value} {saga.spec.steps[work.step].name} in"


def _limits(step: StepSpec) -> str:
    """The limits of the step's class in words, for the reason why the saga waits."""
    limits = [] if step.max_concurrent is None else [f"at most {step.max_concurrent} run at the same time"]
    limits += [] if step.max_per_second is None else [f"at most {step.max_per_second:g} start in a second"]
    return f" (of its class, {' and '.join(limits)})" if limits else ""


def _step_status(saga: Saga, index: int, state: StepState) -> StepStatus:
    current = saga.current
    if current is not None and current.step == index:
        return StepStatus.COMPENSATING if current.action is Action.COMPENSATE else StepStatus.RUNNING
    if state.resolved:
        return StepStatus.RESOLVED
    if state.undone:
        return StepStatus.COMPENSATED
    if state.given_up is not None:
        return StepStatus.COMPENSATION_FAILED
    if saga.backward and is_owed(saga.spec.steps[index], state) and state.undo_started:
        return StepStatus.COMPENSATING
    if state.succeeded:
        return StepStatus.SUCCEEDED
    if state.in_doubt:
        return StepStatus.IN_DOUBT
    if not saga.backward:
        return StepStatus.PENDING
    return StepStatus.FAILED if state.failure is not None else StepStatus.SKIPPED
