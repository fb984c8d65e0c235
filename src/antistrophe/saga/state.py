"""The state of one saga: the fold of its entries.

``evolve`` is the only way from one state to the next. A state is never changed in place, so every prefix of a journal
has a state of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from antistrophe.definition.events import EncodedEvent
from antistrophe.definition.spec import SagaSpec, StepSpec
from antistrophe.saga.entries import (
    Action,
    AttemptExpired,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CancelRequested,
    CompensationGivenUp,
    CompensationRetried,
    Entry,
    Failure,
    FailureKind,
    RetryScheduled,
    SagaAccepted,
    SagaCompensated,
    SagaCompleted,
    SagaParked,
    SagaWaits,
    StepResolved,
    TurnCause,
    TurnedBack,
    Verdict,
    VerdictGiven,
)
from antistrophe.serialization.fast_records import changed

_DOUBTFUL = frozenset(
    {FailureKind.IN_DOUBT, FailureKind.TIMEOUT, FailureKind.CRASH, FailureKind.INTERRUPTED, FailureKind.UNENCODABLE}
)
"""The failures after which an ``execute`` may have taken effect, or surely has."""

_EXCEPTIONS = frozenset({FailureKind.RAISED, FailureKind.RETRYABLE, FailureKind.FATAL})


@dataclass(frozen=True, slots=True)
class StepState:
    """The state of one step. ``started`` counts the intents, and numbers the attempts. ``never_ran`` counts the
    attempts that died before the call, ``refused`` those whose process could not make the call, ``counted`` those that
    count against the policy. ``undo_*`` are the same numbers for compensate, ``verify_*`` for verify. ``undo_failures``
    is never reset, not even by an operator's retry, which resets ``undo_counted``. ``traceback`` and
    ``undo_traceback``: of what the last attempt raised, or None."""

    started: int = 0
    never_ran: int = 0
    refused: int = 0
    counted: int = 0
    undo_started: int = 0
    undo_never_ran: int = 0
    undo_refused: int = 0
    undo_counted: int = 0
    undo_failures: int = 0
    verify_started: int = 0
    verify_never_ran: int = 0
    verify_refused: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    pid: int | None = None
    succeeded: bool = False
    in_doubt: bool = False
    output: bytes | None = None
    events: tuple[EncodedEvent, ...] = ()
    failure: Failure | None = None
    undone: bool = False
    given_up: Failure | None = None
    resolved: bool = False
    traceback: str | None = None
    undo_traceback: str | None = None

    @property
    def settled_back(self) -> bool:
        """True if nothing is left to compensate, or an operator has said so."""
        return self.undone or self.resolved


@dataclass(frozen=True, slots=True)
class Saga:
    """The state of one saga. ``current``: the attempt that may be running. ``unsettled``: an attempt that has ended,
    while it is not yet decided what follows. ``not_before``: the earliest moment of the next attempt."""

    spec: SagaSpec
    request_id: str
    accepted_at: float
    updated_at: float
    seq: int
    steps: tuple[StepState, ...]
    current: AttemptStarted | None = None
    expired: bool = False
    unsettled: AttemptFailed | None = None
    verdict: Verdict | None = None
    not_before: float | None = None
    first_starts: tuple[int, ...] = ()
    cancel: CancelRequested | None = None
    cause: TurnCause | None = None
    parked: bool = False
    completed: bool = False
    compensated: bool = False
    waiting: str | None = None

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def ended(self) -> bool:
        """True once the journal has a final entry."""
        return self.completed or self.compensated

    @property
    def backward(self) -> bool:
        """True once the saga has turned back, which it does at most once."""
        return self.cause is not None

    @property
    def ending(self) -> bool:
        """True while the current attempt's process is being ended. Only the death of the process settles the attempt
        then."""
        return self.current is not None and (self.expired or (self.cancel is not None and not self.backward))

    @property
    def deadline(self) -> float | None:
        """The end of the forward phase, in seconds since the epoch; None without a limit."""
        return None if self.spec.deadline_s is None else self.accepted_at + self.spec.deadline_s


def leaves_doubt(spec: StepSpec, failure: Failure) -> bool:
    """True if an ``execute`` that ended like this may have taken effect. In a step that is not atomic, any exception
    may."""
    return failure.kind in _DOUBTFUL or (not spec.atomic and failure.kind in _EXCEPTIONS)


def is_owed(spec: StepSpec, state: StepState) -> bool:
    """True if the step took effect, or may have, and still has to be undone."""
    return spec.requires_compensation and (state.succeeded or state.in_doubt) and not state.settled_back


def owed(saga: Saga) -> tuple[int, ...]:
    """The steps still to compensate, in the order of compensation: the reverse of their first starts."""
    return tuple(i for i in reversed(saga.first_starts) if is_owed(saga.spec.steps[i], saga.steps[i]))


def first_state(entry: SagaAccepted) -> Saga:
    """The state of a saga that has just been accepted."""
    return Saga(
        spec=entry.spec,
        request_id=entry.request_id,
        accepted_at=entry.at,
        updated_at=entry.at,
        seq=1,
        steps=tuple(StepState() for _ in entry.spec.steps),
    )


def evolve(saga: Saga | None, entry: Entry) -> Saga:
    """The state after ``entry``. Raises ValueError where the entry can't follow (a broken journal)."""
    if saga is None:
        if not isinstance(entry, SagaAccepted):
            raise ValueError(f"the first entry of a saga must be SagaAccepted, not {type(entry).__name__}")
        return first_state(entry)
    if saga.ended:
        raise ValueError(f"{type(entry).__name__} follows the final entry of saga {saga.id!r}")
    fold = _FOLDS.get(type(entry))
    step = getattr(entry, "step", None)
    if fold is None or (step is not None and not 0 <= step < len(saga.steps)):
        raise ValueError(f"{type(entry).__name__} can't follow in saga {saga.id!r}")
    return changed(fold(saga, entry), seq=saga.seq + 1, updated_at=entry.at)


def replay(entries: Iterable[Entry]) -> Saga:
    """The fold over a whole journal of one saga. Raises ValueError on an empty or broken one."""
    saga: Saga | None = None
    for entry in entries:
        saga = evolve(saga, entry)
    if saga is None:
        raise ValueError("a saga without entries")
    return saga


def _with_step(saga: Saga, index: int, **changes: Any) -> tuple[StepState, ...]:
    steps = list(saga.steps)
    steps[index] = changed(steps[index], **changes)
    return tuple(steps)


def _attempt_started(saga: Saga, entry: AttemptStarted) -> Saga:
    step = saga.steps[entry.step]
    if saga.current is not None:
        raise ValueError(f"saga {saga.id!r}: an attempt starts while another may be running")
    changes: dict[str, Any] = {"pid": entry.lease.pid}
    if entry.action is Action.EXECUTE:
        changes |= {"started": entry.attempt, "finished_at": None, "failure": None}
        changes |= {"started_at": entry.at} if step.started_at is None else {}
    elif entry.action is Action.COMPENSATE:
        changes |= {"undo_started": entry.attempt}
    else:
        changes |= {"verify_started": entry.attempt}
    first = saga.first_starts
    if entry.action is Action.EXECUTE and entry.step not in first:
        first = (*first, entry.step)
    # A verify leaves the attempt that it asks about unsettled until it has answered.
    unsettled = saga.unsettled if entry.action is Action.VERIFY else None
    return changed(
        saga,
        steps=_with_step(saga, entry.step, **changes),
        current=entry,
        expired=False,
        unsettled=unsettled,
        verdict=None,
        not_before=None,
        first_starts=first,
        waiting=None,
    )


def _attempt_succeeded(saga: Saga, entry: AttemptSucceeded) -> Saga:
    if entry.action is Action.EXECUTE:
        changes: dict[str, Any] = {
            "succeeded": True,
            "in_doubt": False,
            "output": entry.output,
            "events": entry.events,
            "failure": None,
        }
    else:
        changes = {"undone": True, "given_up": None}
    steps = _with_step(saga, entry.step, finished_at=entry.at, **changes)
    return changed(saga, steps=steps, current=None, expired=False, unsettled=None, verdict=None)


def _attempt_expired(saga: Saga, _entry: AttemptExpired) -> Saga:
    return changed(saga, expired=True)


def _attempt_failed(saga: Saga, entry: AttemptFailed) -> Saga:
    step = saga.steps[entry.step]
    never_ran = entry.failure.kind is FailureKind.NEVER_RAN
    refused = entry.failure.kind is FailureKind.REFUSED
    if entry.action is Action.COMPENSATE:
        changes: dict[str, Any] = {
            "undo_counted": step.undo_counted + entry.counts,
            "undo_failures": step.undo_failures + entry.counts,
            "undo_never_ran": step.undo_never_ran + never_ran,
            "undo_refused": step.undo_refused + refused,
            "undo_traceback": entry.traceback,
        }
    elif entry.action is Action.VERIFY:
        changes = {
            "verify_never_ran": step.verify_never_ran + never_ran,
            "verify_refused": step.verify_refused + refused,
        }
    else:
        changes = {
            "counted": step.counted + entry.counts,
            "never_ran": step.never_ran + never_ran,
            "refused": step.refused + refused,
            # Doubt is sticky: a later attempt that failed cleanly says nothing about this one.
            "in_doubt": step.in_doubt or leaves_doubt(saga.spec.steps[entry.step], entry.failure),
            "failure": entry.failure,
            "traceback": entry.traceback,
            "finished_at": entry.at,
        }
    return changed(
        saga,
        steps=_with_step(saga, entry.step, **changes),
        current=None,
        expired=False,
        # A verify that could not be asked leaves open what it was to be asked about.
        unsettled=saga.unsettled if entry.action is Action.VERIFY else entry,
        verdict=None,
    )


def _verdict_given(saga: Saga, entry: VerdictGiven) -> Saga:
    changes: dict[str, Any] = {}
    if entry.verdict is Verdict.APPLIED:
        changes = {"succeeded": True, "in_doubt": False, "output": entry.output, "events": entry.events}
        changes |= {"failure": None, "finished_at": entry.at}
    elif entry.verdict is Verdict.NOT_APPLIED:
        changes = {"in_doubt": False}
    unsettled = None if entry.verdict is Verdict.APPLIED else saga.unsettled
    steps = _with_step(saga, entry.step, **changes)
    return changed(saga, steps=steps, current=None, expired=False, unsettled=unsettled, verdict=entry.verdict)


def _retry_scheduled(saga: Saga, entry: RetryScheduled) -> Saga:
    if entry.action is Action.VERIFY:
        return changed(saga, not_before=entry.not_before)
    return changed(saga, not_before=entry.not_before, unsettled=None, verdict=None)


def _turned_back(saga: Saga, entry: TurnedBack) -> Saga:
    return changed(saga, cause=entry.cause, unsettled=None, verdict=None, not_before=None, waiting=None)


def _given_up(saga: Saga, entry: CompensationGivenUp) -> Saga:
    steps = _with_step(saga, entry.step, given_up=entry.failure, finished_at=entry.at)
    return changed(saga, steps=steps, unsettled=None, not_before=None)


def _retried(saga: Saga, _entry: CompensationRetried) -> Saga:
    anew: dict[str, Any] = {
        "given_up": None,
        "undo_counted": 0,
        "undo_never_ran": 0,
        "undo_refused": 0,
        "finished_at": None,
    }
    steps = tuple(changed(step, **anew) if step.given_up else step for step in saga.steps)
    return changed(saga, steps=steps, parked=False, waiting=None)


def _resolved(saga: Saga, entry: StepResolved) -> Saga:
    steps = _with_step(saga, entry.step, given_up=None, resolved=True, finished_at=entry.at)
    return changed(saga, steps=steps, parked=False)


_FOLDS: dict[type, Callable[[Saga, Any], Saga]] = {
    SagaWaits: lambda saga, entry: changed(saga, waiting=entry.reason),
    AttemptStarted: _attempt_started,
    AttemptSucceeded: _attempt_succeeded,
    AttemptExpired: _attempt_expired,
    AttemptFailed: _attempt_failed,
    VerdictGiven: _verdict_given,
    RetryScheduled: _retry_scheduled,
    CancelRequested: lambda saga, entry: changed(saga, cancel=entry),
    TurnedBack: _turned_back,
    CompensationGivenUp: _given_up,
    SagaParked: lambda saga, _entry: changed(saga, parked=True, not_before=None),
    CompensationRetried: _retried,
    StepResolved: _resolved,
    SagaCompleted: lambda saga, _entry: changed(saga, completed=True, waiting=None),
    SagaCompensated: lambda saga, _entry: changed(saga, compensated=True, waiting=None),
}
