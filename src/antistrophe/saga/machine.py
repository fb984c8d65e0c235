"""Decides what becomes true of a saga when it gets an input: ``decide``. Nothing else in the system decides.

The rules are the table "what happens when" in docs/explanation/guarantees.md; whether a failed attempt is made again
is in ``retries``. ``decide`` reads no clock: the caller says what time it is.
"""

from __future__ import annotations

from dataclasses import replace

from antistrophe.definition.spec import Origin
from antistrophe.saga.answers import entries_of_answer, entries_of_death
from antistrophe.saga.effects import next_work
from antistrophe.saga.entries import (
    Action,
    AttemptExpired,
    AttemptFailed,
    AttemptStarted,
    CancelRequested,
    CompensationGivenUp,
    CompensationRetried,
    Entry,
    Failure,
    FailureKind,
    Lease,
    RetryScheduled,
    SagaCompensated,
    SagaCompleted,
    SagaParked,
    SagaRelocated,
    SagaWaits,
    StepResolved,
    TurnCause,
    TurnedBack,
    TurnReason,
    Verdict,
)
from antistrophe.saga.inputs import (
    Answered,
    CancelAsked,
    Fenced,
    Input,
    Overdue,
    ProcessGranted,
    ProcessRefused,
    Refused,
    RelocateAsked,
    ResolveAsked,
    Resumed,
    RetryAsked,
    TimePassed,
)
from antistrophe.saga.resolving import resolvable
from antistrophe.saga.restored import doubt_of_next_step
from antistrophe.saga.retries import delay_s, may_ask_verify_again, may_retry, may_retry_undo, refused_delay_s
from antistrophe.saga.state import Saga, evolve
from antistrophe.saga.step_state import LOST_LIMIT, leaves_doubt

BY_THE_SYSTEM = "the system"
"""Who has relocated a saga that no person has."""

_ENDS_THE_SYSTEM = (
    f"the actor system died {LOST_LIMIT} times in a row while this ran, the last time while no other suspect did: it"
    " may be what ends the system, so it is not tried again before an operator says so"
)

_TURN_REASONS = {
    FailureKind.TIMEOUT: TurnReason.STEP_TIMED_OUT,
    FailureKind.CRASH: TurnReason.STEP_CRASHED,
    FailureKind.INTERRUPTED: TurnReason.STEP_CRASHED,
    FailureKind.NEVER_RAN: TurnReason.STEP_CRASHED,
}


def decide(saga: Saga, said: Input, now: float, *, dispatch: bool = True) -> tuple[Entry, ...]:
    """The entries that are now true; none if the input changes nothing (it is stale, doubled or too early).

    ``dispatch`` False: no further attempt starts, because the system stops.
    """
    return transition(saga, said, now, dispatch=dispatch)[0]


def transition(saga: Saga, said: Input, now: float, *, dispatch: bool = True) -> tuple[tuple[Entry, ...], Saga]:
    """The entries of ``decide``, and the state that they lead to, as ``evolve`` computes it."""
    draft = _Draft(saga, now)
    if not saga.ended:
        draft.hear(said, dispatch)
    return tuple(draft.entries), draft.saga


class _Draft:
    """The entries of one decision so far, and the state that they lead to."""

    def __init__(self, saga: Saga, now: float) -> None:
        self.saga = saga
        self.now = now
        self.entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        self.saga = evolve(self.saga, entry)
        self.entries.append(entry)

    def extend(self, entries: tuple[Entry, ...]) -> None:
        for entry in entries:
            self.add(entry)

    def hear(self, said: Input, dispatch: bool) -> None:
        """Add the entries that follow from an input."""
        saga, now = self.saga, self.now
        match said:
            case Answered(step, action, attempt, answer):
                current = saga.current
                if current is not None and _is(current, step, action, attempt) and not saga.ending:
                    self.extend(entries_of_answer(current, answer, now))
                    spec = saga.spec.steps[step]
                    spent = spec.fresh_process or spec.asks_anew or isinstance(answer, Refused)
                    self.advance(current.lease if dispatch and not spent else None, used=True)
            case ProcessGranted(lease, used, step_class):
                self.advance(lease if dispatch else None, used=used, step_class=step_class)
            case ProcessRefused(reason, found):
                if found is None:
                    self.wait(reason)
                elif saga.current is None and not saga.parked:
                    self.relocate(found, BY_THE_SYSTEM, "its place was gone")
            case Fenced() | Overdue():
                self.hear_end(said)
            case TimePassed(began_at, allowance_s):
                self.pass_time(began_at, allowance_s)
            case Resumed():
                self.advance(None)
            case CancelAsked(reason, by):
                self.cancel(reason, by)
            case RetryAsked(by, note):
                if saga.parked:
                    self.add(CompensationRetried(now, by, note))
                    self.advance(None)
            case ResolveAsked(step, note, by):
                if step in resolvable(saga):
                    self.add(StepResolved(now, step, note, by))
                    self.advance(None)
            case RelocateAsked(origin, by, note):
                self.relocate(origin, by, note)

    def hear_end(self, said: Fenced | Overdue) -> None:
        """Add what follows from the death of the current attempt, or from its being ended past its limit."""
        saga, current = self.saga, self.saga.current
        if current is None or not _is(current, said.step, said.action, said.attempt):
            return
        if isinstance(said, Overdue):
            if not saga.ending:
                self.expire(current)
            return
        if said.overdue and not saga.expired:
            self.expire(current)
        self.extend(entries_of_death(self.saga, current, said, self.now))
        self.advance(None)

    # --- what follows ------------------------------------------------------------------------------------------

    def advance(self, lease: Lease | None, *, used: bool = False, step_class: str | None = None) -> None:
        """Add everything that follows from the present state, up to the next attempt if ``lease`` can run it. ``used``:
        the process of the lease has run an attempt before. ``step_class``: the throttled class that the lease was
        granted for."""
        if self.saga.current is not None or self.saga.ended or self.saga.parked:
            return
        self.extend(doubt_of_next_step(self.saga, self.now) if self.saga.restored else ())
        if self.saga.unsettled is not None:
            if self.saga.backward:
                self._settle_backward(self.saga.unsettled)
            else:
                self._settle_forward(self.saga.unsettled)
        if not self.saga.backward and self.saga.unsettled is None:
            self._turn_if_due()
        work = next_work(self.saga)
        if work is None:
            self._finish()
        elif lease is not None and self._may_start(work.step, lease, used, step_class):
            self._start(work.step, work.action, lease)

    def _settle_forward(self, failed: AttemptFailed) -> None:
        """Decide what follows a failed attempt: ask verify (the attempt stays unsettled), try again, or turn back."""
        failure = failed.failure
        spec, step = self.saga.spec.steps[failed.step], self.saga.steps[failed.step]
        doubtful = leaves_doubt(spec, failure) and self.saga.verdict is not Verdict.NOT_APPLIED
        if doubtful and spec.has_verify and self._may_ask_verify(failed):
            if step.verify_refused and self.saga.not_before is None:
                not_before = self.now + refused_delay_s(step.verify_refused)
                self.add(RetryScheduled(self.now, failed.step, Action.VERIFY, not_before))
            return
        again = may_retry(spec, step, failure, doubtful=doubtful)
        if again and self.saga.cancel is None and not self._past_deadline():
            self.add(RetryScheduled(self.now, failed.step, Action.EXECUTE, self.now + delay_s(self.saga, failed)))
        elif again or (failure.kind is FailureKind.TIMEOUT and self._past_deadline()):
            self._turn(TurnReason.DEADLINE, failed.step, failure)
        else:
            self._turn(_TURN_REASONS.get(failure.kind, TurnReason.STEP_FAILED), failed.step, failure)
        if self.saga.restored and self.saga.backward and doubtful:
            self.add(CompensationGivenUp(self.now, failed.step, failure))

    def _may_ask_verify(self, failed: AttemptFailed) -> bool:
        asked = self.saga.verdict is not None or self.saga.cancel is not None
        answers = may_ask_verify_again(self.saga.steps[failed.step])
        return not asked and answers and failed.failure.kind is not FailureKind.UNENCODABLE

    def _settle_backward(self, failed: AttemptFailed) -> None:
        """Decide what follows a failed compensation: try again, or give up."""
        failure = failed.failure
        spec, step = self.saga.spec.steps[failed.step], self.saga.steps[failed.step]
        if may_retry_undo(spec, step, failure):
            self.add(RetryScheduled(self.now, failed.step, Action.COMPENSATE, self.now + delay_s(self.saga, failed)))
            return
        if step.undo_lost >= LOST_LIMIT and failure.kind not in (FailureKind.NEVER_RAN, FailureKind.REFUSED):
            failure = replace(failure, error=_ENDS_THE_SYSTEM)
        self.add(CompensationGivenUp(self.now, failed.step, failure))

    def _turn_if_due(self) -> None:
        if self.saga.cancel is None and not self._past_deadline():
            return
        work = next_work(self.saga)
        if self.saga.cancel is not None:
            # The saga turns back even if every step has succeeded meanwhile: the cancel was accepted first.
            step = work.step if work is not None else max(len(self.saga.steps) - 1, 0)
            self._turn(TurnReason.CANCELLED, step, None)
        elif work is not None:
            self._turn(TurnReason.DEADLINE, work.step, self.saga.steps[work.step].failure)

    def _turn(self, reason: TurnReason, step: int, failure: Failure | None) -> None:
        cancel = self.saga.cancel
        if cancel is not None:
            self.add(TurnedBack(self.now, TurnCause(TurnReason.CANCELLED, step, failure, cancel.reason)))
        else:
            self.add(TurnedBack(self.now, TurnCause(reason, step, failure)))

    def _past_deadline(self) -> bool:
        return self.saga.deadline is not None and self.now >= self.saga.deadline

    def _finish(self) -> None:
        if not self.saga.backward:
            self.add(SagaCompleted(self.now))
        elif self.saga.given_up:
            self.add(SagaParked(self.now))
        else:
            self.add(SagaCompensated(self.now))

    # --- the next attempt --------------------------------------------------------------------------------------

    def _may_start(self, index: int, lease: Lease, used: bool, step_class: str | None) -> bool:
        spec = self.saga.spec.steps[index]
        due = self.saga.not_before is None or self.now >= self.saga.not_before
        throttle = self.saga.spec.throttle(index)
        turn = throttle is None or throttle.step_class == step_class
        return due and turn and lease.shared == spec.shared and not (used and spec.fresh_process)

    def _start(self, index: int, action: Action, lease: Lease) -> None:
        spec, step = self.saga.spec.steps[index], self.saga.steps[index]
        limit_s = spec.compensation_timeout_s if action is Action.COMPENSATE else spec.timeout_s
        if action is Action.EXECUTE:
            number = step.started + 1
            if self.saga.deadline is not None:
                limit_s = min(limit_s, self.saga.deadline - self.now)
        else:
            number = (step.undo_started if action is Action.COMPENSATE else step.verify_started) + 1
        self.add(AttemptStarted(self.now, index, action, number, limit_s, self.now + limit_s, lease))

    # --- time and orders ---------------------------------------------------------------------------------------

    def wait(self, reason: str) -> None:
        if self.saga.current is None and not self.saga.parked and self.saga.waiting != reason:
            self.add(SagaWaits(self.now, reason))

    def relocate(self, origin: Origin, by: str, note: str | None) -> None:
        if origin != self.saga.spec.origin:
            self.add(SagaRelocated(self.now, origin, by, note))

    def pass_time(self, began_at: float | None, allowance_s: float) -> None:
        current = self.saga.current
        if current is None:
            if not self.saga.backward and self._past_deadline():
                self.advance(None)
            return
        if self.saga.ending:
            return
        latest = current.deadline + allowance_s
        due = latest if began_at is None else max(current.deadline, began_at + current.limit_s)
        if current.action is Action.EXECUTE and self.saga.deadline is not None:
            # The saga's own deadline counts from its acceptance, however late the call began.
            due = max(current.deadline, min(due, self.saga.deadline))
        if self.now >= due:
            self.expire(current)

    def expire(self, current: AttemptStarted) -> None:
        self.add(AttemptExpired(self.now, current.step, current.action, current.attempt))

    def cancel(self, reason: str | None, by: str) -> None:
        if self.saga.cancel is None and not self.saga.backward and not self.saga.parked:
            self.add(CancelRequested(self.now, reason, by))
            self.advance(None)


def _is(current: AttemptStarted, step: int, action: Action, attempt: int) -> bool:
    return (current.step, current.action, current.attempt) == (step, action, attempt)
