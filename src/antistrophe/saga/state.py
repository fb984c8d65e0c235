"""The state of one saga: the fold of its entries.

``evolve`` is the only way from one state to the next. A state is never changed in place, so every prefix of a journal
has a state of its own. A changed copy of a Struct costs a tenth of what one of a dataclass does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace as changed

from antistrophe.definition.spec import SagaSpec
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
    FailureKind,
    RestoreAcknowledged,
    RetryScheduled,
    SagaAccepted,
    SagaCompensated,
    SagaCompleted,
    SagaParked,
    SagaRelocated,
    SagaWaits,
    StepResolved,
    TurnCause,
    TurnedBack,
    Verdict,
    VerdictGiven,
)
from antistrophe.saga.long_tuples import sequence_of, with_last, with_value
from antistrophe.saga.step_state import KEPT_BYTES, StepState, is_owed, leaves_doubt, times_lost

Changes: TypeAlias = dict[str, Any]
"""What an entry changes of a saga, by field."""


class Saga(Struct, frozen=True):
    """The state of one saga. ``current``: the attempt that may be running. ``unsettled``: an attempt that has ended,
    while it is not yet decided what follows. ``not_before``: the earliest moment of the next attempt. ``first_starts``:
    the steps in the order in which they were first attempted.

    Three numbers keep what comes next from being looked for among all steps: the first ``ahead`` steps have succeeded,
    nothing is left to do about the last ``settled`` of ``first_starts``, and of ``given_up`` steps the compensation
    failed for good. ``settled`` counts once the saga has turned back.

    ``kept_bytes``: the size of the outputs and events that the steps keep. ``events_left``: there are others, which are
    in the journal alone. ``restored``: the journal was put back, and what the saga has done since is not known."""

    spec: SagaSpec
    request_id: str
    accepted_at: float
    created_at: float
    updated_at: float
    seq: int
    steps: Sequence[StepState]
    current: AttemptStarted | None = None
    expired: bool = False
    unsettled: AttemptFailed | None = None
    verdict: Verdict | None = None
    not_before: float | None = None
    first_starts: Sequence[int] = ()
    ahead: int = 0
    settled: int = 0
    given_up: int = 0
    kept_bytes: int = 0
    events_left: bool = False
    cancel: CancelRequested | None = None
    cause: TurnCause | None = None
    parked: bool = False
    completed: bool = False
    compensated: bool = False
    waiting: str | None = None
    restored: bool = False

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


def owed(saga: Saga) -> tuple[int, ...]:
    """The steps still to compensate, in the order of compensation: the reverse of their first starts."""
    return tuple(i for i in reversed(saga.first_starts) if is_owed(saga.spec.steps[i], saga.steps[i]))


def first_state(entry: SagaAccepted) -> Saga:
    """The state of a saga that has just been accepted."""
    return Saga(
        spec=entry.spec,
        request_id=entry.request_id,
        accepted_at=entry.at,
        created_at=entry.at if entry.created_at is None else entry.created_at,
        updated_at=entry.at,
        seq=1,
        steps=sequence_of([StepState()] * len(entry.spec.steps)),
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
    return changed(saga, seq=saga.seq + 1, updated_at=entry.at, **fold(saga, entry))


def replay(entries: Iterable[Entry]) -> Saga:
    """The fold over a whole journal of one saga. Raises ValueError on an empty or broken one."""
    saga: Saga | None = None
    for entry in entries:
        saga = evolve(saga, entry)
    if saga is None:
        raise ValueError("a saga without entries")
    return saga


def _with_step(saga: Saga, index: int, **changes: Any) -> Sequence[StepState]:
    return with_value(saga.steps, index, changed(saga.steps[index], **changes))


def _ahead(saga: Saga, steps: Sequence[StepState]) -> int:
    """How many steps from the first on have succeeded by now."""
    number = saga.ahead
    while number < len(steps) and steps[number].succeeded:
        number += 1
    return number


def _settled(saga: Saga, steps: Sequence[StepState], number: int) -> int:
    """How many of ``first_starts``, from the last on, have nothing left to do about them; at least ``number``."""
    starts = saga.first_starts
    while number < len(starts):
        index = starts[-1 - number]
        if is_owed(saga.spec.steps[index], steps[index]) and steps[index].given_up is None:
            break
        number += 1
    return number


def _attempt_started(saga: Saga, entry: AttemptStarted) -> Changes:
    step = saga.steps[entry.step]
    if saga.current is not None:
        raise ValueError(f"saga {saga.id!r}: an attempt starts while another may be running")
    changes: dict[str, Any] = {"pid": entry.lease.pid, "host": entry.lease.host or None}
    if entry.action is Action.EXECUTE:
        changes |= {"started": entry.attempt, "finished_at": None, "failure": None}
        changes |= {"started_at": entry.at} if step.started_at is None else {}
    elif entry.action is Action.COMPENSATE:
        changes |= {"undo_started": entry.attempt}
    else:
        changes |= {"verify_started": entry.attempt}
    first = saga.first_starts
    if entry.action is Action.EXECUTE and step.started_at is None:
        first = with_last(first, entry.step)
    # A verify leaves the attempt that it asks about unsettled until it has answered.
    unsettled = saga.unsettled if entry.action is Action.VERIFY else None
    return {
        "steps": _with_step(saga, entry.step, **changes),
        "current": entry,
        "expired": False,
        "unsettled": unsettled,
        "verdict": None,
        "not_before": None,
        "first_starts": first,
        "waiting": None,
    }


def _returned(saga: Saga, entry: AttemptSucceeded | VerdictGiven) -> dict[str, Any]:
    """What the result of an ``execute`` changes of the saga."""
    output, events = entry.output, entry.events
    result: dict[str, Any] = {"output_seq": None if output is None else saga.seq + 1}
    size = saga.kept_bytes + len(output or b"") + sum([len(event.data) for event in events])
    kept: dict[str, Any] = {"events_left": True} if events else {}
    if size <= KEPT_BYTES:
        result |= {"output": output, "events": events}
        kept = {"kept_bytes": size}
    steps = _with_step(saga, entry.step, succeeded=True, in_doubt=False, failure=None, finished_at=entry.at, **result)
    return kept | {"steps": steps, "ahead": _ahead(saga, steps)}


def _attempt_succeeded(saga: Saga, entry: AttemptSucceeded) -> Changes:
    if entry.action is Action.EXECUTE:
        changes = _returned(saga, entry)
    else:
        given_up = saga.given_up - (saga.steps[entry.step].given_up is not None)
        steps = _with_step(saga, entry.step, finished_at=entry.at, undone=True, given_up=None)
        changes = {"steps": steps, "given_up": given_up, "settled": _settled(saga, steps, saga.settled)}
    return dict(current=None, expired=False, unsettled=None, verdict=None, **changes)


def _attempt_failed(saga: Saga, entry: AttemptFailed) -> Changes:
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
            "undo_lost": times_lost(step.undo_lost, entry),
        }
    elif entry.action is Action.VERIFY:
        changes = {
            "verify_never_ran": step.verify_never_ran + never_ran,
            "verify_refused": step.verify_refused + refused,
            "verify_lost": times_lost(step.verify_lost, entry),
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
            "lost": times_lost(step.lost, entry),
        }
    return {
        "steps": _with_step(saga, entry.step, **changes),
        "current": None,
        "expired": False,
        # A verify that could not be asked leaves open what it was to be asked about.
        "unsettled": saga.unsettled if entry.action is Action.VERIFY else entry,
        "verdict": None,
    }


def _verdict_given(saga: Saga, entry: VerdictGiven) -> Changes:
    changes: dict[str, Any] = {}
    if entry.verdict is Verdict.APPLIED:
        changes = _returned(saga, entry) | {"unsettled": None}
    elif entry.verdict is Verdict.NOT_APPLIED:
        # What comes behind a step that was not done was not done either.
        changes = {"steps": _with_step(saga, entry.step, in_doubt=False), "restored": False}
    return dict(current=None, expired=False, verdict=entry.verdict, **changes)


def _retry_scheduled(_saga: Saga, entry: RetryScheduled) -> Changes:
    if entry.action is Action.VERIFY:
        return {"not_before": entry.not_before}
    return {"not_before": entry.not_before, "unsettled": None, "verdict": None}


def _turned_back(saga: Saga, entry: TurnedBack) -> Changes:
    settled = _settled(saga, saga.steps, 0)
    return {
        "cause": entry.cause,
        "unsettled": None,
        "verdict": None,
        "not_before": None,
        "waiting": None,
        "settled": settled,
    }


def _given_up(saga: Saga, entry: CompensationGivenUp) -> Changes:
    steps = _with_step(saga, entry.step, given_up=entry.failure, finished_at=entry.at)
    given_up = saga.given_up + (saga.steps[entry.step].given_up is None)
    settled = _settled(saga, steps, saga.settled)
    return {"steps": steps, "unsettled": None, "not_before": None, "settled": settled, "given_up": given_up}


def _retried(saga: Saga, _entry: CompensationRetried) -> Changes:
    anew: dict[str, Any] = {
        "given_up": None,
        "undo_counted": 0,
        "undo_never_ran": 0,
        "undo_refused": 0,
        "undo_lost": 0,
        "finished_at": None,
    }
    steps = sequence_of(changed(step, **anew) if step.given_up else step for step in saga.steps)
    settled = _settled(saga, steps, 0)
    return {"steps": steps, "parked": False, "waiting": None, "settled": settled, "given_up": 0}


def _resolved(saga: Saga, entry: StepResolved) -> Changes:
    steps = _with_step(saga, entry.step, given_up=None, resolved=True, finished_at=entry.at)
    changes: dict[str, Any] = {"settled": _settled(saga, steps, saga.settled)}
    if saga.steps[entry.step].given_up is not None:
        changes |= {"given_up": saga.given_up - 1}
    else:  # it came next: what the saga has waited for was for it
        changes |= {"unsettled": None, "not_before": None, "waiting": None}
    return dict(steps=steps, parked=False, **changes)


_FOLDS: dict[type, Callable[[Saga, Any], Changes]] = {
    SagaWaits: lambda _saga, entry: {"waiting": entry.reason},
    AttemptStarted: _attempt_started,
    AttemptSucceeded: _attempt_succeeded,
    AttemptExpired: lambda _saga, _entry: {"expired": True},
    AttemptFailed: _attempt_failed,
    VerdictGiven: _verdict_given,
    RetryScheduled: _retry_scheduled,
    CancelRequested: lambda _saga, entry: {"cancel": entry},
    TurnedBack: _turned_back,
    CompensationGivenUp: _given_up,
    SagaParked: lambda _saga, _entry: {"parked": True, "not_before": None},
    CompensationRetried: _retried,
    StepResolved: _resolved,
    SagaRelocated: lambda saga, entry: {"spec": replace(saga.spec, origin=entry.origin), "waiting": None},
    RestoreAcknowledged: lambda _saga, _entry: {"restored": True},
    SagaCompleted: lambda _saga, _entry: {"completed": True, "waiting": None},
    SagaCompensated: lambda _saga, _entry: {"compensated": True, "waiting": None},
}
