"""The pure registry: a saga's state as monitoring shows it."""

from __future__ import annotations

from datetime import UTC, datetime

from antistrophe.records import SagaMetadata, StepRecord, StepStatus
from antistrophe.saga.effects import next_work
from antistrophe.saga.entries import Action
from antistrophe.saga.outcome import describe, error_of, outcome_of, status_of
from antistrophe.saga.state import Saga, StepState, is_owed
from antistrophe.spec import StepSpec


def at(seconds: float) -> datetime:
    """Seconds since the epoch as an aware UTC datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def metadata_of(saga: Saga) -> SagaMetadata:
    """One saga as monitoring shows it."""
    return SagaMetadata(
        id=saga.id,
        name=saga.spec.name,
        status=status_of(saga),
        steps_executed=sum(step.succeeded for step in saga.steps),
        total_steps=len(saga.steps),
        created_at=at(saga.accepted_at),
        updated_at=at(saga.updated_at),
        error=_error_text(saga),
        waiting=_waiting(saga),
        steps=tuple(_step_record(saga, index) for index in range(len(saga.steps))),
    )


def _error_text(saga: Saga) -> str | None:
    outcome = outcome_of(saga)
    if outcome is not None:
        return None if (error := error_of(outcome)) is None else str(error)
    if saga.cause is None:
        return None
    failure = saga.cause.failure
    return describe(failure) if failure is not None else (saga.cause.note or saga.cause.reason.value)


def _waiting(saga: Saga) -> str | None:
    if saga.waiting is not None:
        return saga.waiting
    if saga.parked:
        return "an operator must retry or resolve the compensation that failed"
    current = saga.current
    if current is not None and saga.ending:
        name = saga.spec.steps[current.step].name
        return f"process {current.lease.pid} is being ended, in which the attempt to {current.action.value} {name} runs"
    work = next_work(saga)
    if work is None:
        return None
    name = saga.spec.steps[work.step].name
    if saga.not_before is not None and saga.not_before > saga.updated_at:
        due = at(saga.not_before).isoformat()
        return (
            f"the next attempt to {work.action.value} {name} comes at {due}, in the first step process free from then"
        )
    return f"a step process to {work.action.value} {name} in{_limits(saga.spec.steps[work.step])}"


def _limits(step: StepSpec) -> str:
    """How the limits of its class are told with what the saga waits for."""
    limits = [] if step.max_concurrent is None else [f"at most {step.max_concurrent} run at the same time"]
    limits += [] if step.max_per_second is None else [f"at most {step.max_per_second:g} start in a second"]
    return f" (of its class, {' and '.join(limits)})" if limits else ""


def _step_record(saga: Saga, index: int) -> StepRecord:
    state = saga.steps[index]
    failure = state.given_up or state.failure
    return StepRecord(
        name=saga.spec.steps[index].name,
        index=index,
        status=_step_status(saga, index, state),
        attempts=state.started - state.never_ran - state.refused,
        in_doubt=state.in_doubt,
        started_at=None if state.started_at is None else at(state.started_at),
        finished_at=None if state.finished_at is None else at(state.finished_at),
        error=None if failure is None else describe(failure),
        pid=state.pid,
        undo_failures=state.undo_failures,
    )


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
