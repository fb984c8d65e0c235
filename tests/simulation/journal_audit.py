"""The audit of a journal: entry by entry, by the rules and without the machine, what should never have been written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

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
    RetryScheduled,
    SagaAccepted,
    SagaCompensated,
    SagaCompleted,
    SagaParked,
    StepResolved,
    TurnedBack,
    TurnReason,
    VerdictGiven,
)
from tests.simulation.effects_ledger import token_of
from tests.simulation.properties import Check, Violation
from tests.simulation.step_audit import StepBook, expected_count

_SLACK_S = 1e-6
"""How coarse a sum of times of this size is, generously."""

_REASONS = {
    FailureKind.TIMEOUT: TurnReason.STEP_TIMED_OUT,
    FailureKind.CRASH: TurnReason.STEP_CRASHED,
    FailureKind.INTERRUPTED: TurnReason.STEP_CRASHED,
    FailureKind.NEVER_RAN: TurnReason.STEP_CRASHED,
}


def audit(journal: Iterable[Entry]) -> list[Violation]:
    """Every promise that this journal breaks."""
    auditor: _Auditor | None = None
    for entry in journal:
        if auditor is None:
            assert isinstance(entry, SagaAccepted), "a journal begins with the acceptance"
            auditor = _Auditor(entry)
        else:
            auditor.take(entry)
    return auditor.found if auditor is not None else []


class _Auditor:
    def __init__(self, accepted: SagaAccepted) -> None:
        self.found: list[Violation] = []
        self._spec = accepted.spec
        self._deadline = None if self._spec.deadline_s is None else accepted.at + self._spec.deadline_s
        self._books = [StepBook(step) for step in self._spec.steps]
        self._order: list[int] = []
        self._current: AttemptStarted | None = None
        self._turned = self._cancelled = self._parked = self._final = False
        self._not_before = 0.0
        self._rules: dict[type, Callable[[Any], None]] = {
            AttemptStarted: self._started,
            AttemptSucceeded: self._succeeded,
            AttemptExpired: self._expired,
            AttemptFailed: self._failed,
            VerdictGiven: self._verdict,
            RetryScheduled: self._scheduled,
            CancelRequested: self._cancel,
            TurnedBack: self._turn,
            CompensationGivenUp: self._given_up,
            SagaParked: self._park,
            CompensationRetried: self._retried,
            StepResolved: self._resolved,
            SagaCompleted: self._completed,
            SagaCompensated: self._compensated,
        }

    def take(self, entry: Entry) -> None:
        """Check one more entry."""
        self._expect(not self._final, Check.ONE_END, f"{type(entry).__name__} follows the final entry")
        rule = self._rules.get(type(entry))
        if rule is not None:
            rule(entry)

    def _expect(self, right: bool, check: Check, text: str) -> None:
        if not right:
            self.found.append(Violation(check, text))

    def _past_deadline(self, at: float) -> bool:
        return self._deadline is not None and at >= self._deadline

    # --- attempts ----------------------------------------------------------------------------------------------

    def _started(self, entry: AttemptStarted) -> None:
        book, token = self._books[entry.step], token_of(entry)
        self._expect(self._current is None, Check.ALONE, f"{token} starts while another may run")
        self._expect(not self._parked, Check.PARK, f"{token} starts in a parked saga")
        self._expect(entry.at >= self._not_before, Check.BACKOFF, f"{token} starts before its wait is over")
        if entry.action is Action.COMPENSATE:
            self._compensate_started(entry, book)
        else:
            self._expect(not self._turned, Check.DIRECTION, f"{token} starts after the saga turned back")
            self._expect(not self._cancelled, Check.CANCEL, f"{token} starts after a cancel")
            if entry.action is Action.EXECUTE:
                self._execute_started(entry, book)
            else:
                self._expect(book.verify_due, Check.VERIFY, f"{token} is not due")
        number = book.started(entry.action)
        self._expect(number == entry.attempt, Check.ECHO, f"{token} should have number {number}")
        self._current, self._not_before = entry, 0.0

    def _execute_started(self, entry: AttemptStarted, book: StepBook) -> None:
        token = token_of(entry)
        self._expect(not self._past_deadline(entry.at), Check.DEADLINE, f"{token} starts after the deadline")
        left_s = float("inf") if self._deadline is None else self._deadline - entry.at
        limit_s = min(book.spec.timeout_s, left_s)
        self._expect(abs(entry.limit_s - limit_s) < _SLACK_S, Check.DEADLINE, f"{token} may run {entry.limit_s} s")
        before = all(earlier.applied for earlier in self._books[: entry.step])
        self._expect(before, Check.PROGRESS, f"{token} starts before the steps before it have succeeded")
        self._expect(not book.applied, Check.PROGRESS, f"{token} starts although the step has succeeded")
        if book.failed is not None:
            self._expect(not book.verify_due, Check.VERIFY, f"{token} starts without asking verify")
            self._expect(book.may_retry, Check.RETRIES, f"{token} is one too many after {book.failed.failure.kind}")
        if entry.step not in self._order:
            self._order.append(entry.step)

    def _compensate_started(self, entry: AttemptStarted, book: StepBook) -> None:
        token = token_of(entry)
        self._expect(self._turned, Check.DIRECTION, f"{token} starts in a saga that goes forward")
        self._expect(book.owed, Check.DOUBT, f"{token} undoes what is not owed")
        left = self._left_to_undo()
        self._expect(not left or left[0] == entry.step, Check.ORDER, f"{token} starts, but {left} are owed")
        stopped = self._spec.park_on_failure and any(each.given_up for each in self._books)
        self._expect(not stopped, Check.PARK, f"{token} starts although another was given up")
        self._expect(book.may_undo_again, Check.UNDO_RETRIES, f"{token} is one too many")

    def _left_to_undo(self) -> list[int]:
        return [i for i in reversed(self._order) if self._books[i].owed and not self._books[i].given_up]

    def _settle(self, entry: AttemptSucceeded | AttemptFailed | VerdictGiven) -> StepBook:
        current = self._current
        echoes = current is not None and token_of(current) == token_of(entry)
        self._expect(echoes, Check.ECHO, f"{token_of(entry)} is settled, but {current} is what may run")
        self._current = None
        return self._books[entry.step]

    def _succeeded(self, entry: AttemptSucceeded) -> None:
        book = self._settle(entry)
        if entry.action is Action.EXECUTE:
            book.applied, book.doubt = True, False
        else:
            book.undone = True

    def _failed(self, entry: AttemptFailed) -> None:
        book = self._settle(entry)
        book.take_failure(entry)
        check = Check.RETRIES if entry.action is Action.EXECUTE else Check.UNDO_RETRIES
        self._expect(entry.counts == expected_count(entry), check, f"{token_of(entry)} counts: {entry.counts}")
        ran = entry.action is Action.COMPENSATE and entry.failure.kind is FailureKind.UNENCODABLE
        self._expect(not ran, Check.UNDO_RETRIES, f"{token_of(entry)} has run: its result is nobody's")

    def _verdict(self, entry: VerdictGiven) -> None:
        self._settle(entry).take_verdict(entry.verdict)

    def _expired(self, entry: AttemptExpired) -> None:
        current = self._current
        echoes = current is not None and token_of(current) == token_of(entry)
        self._expect(echoes, Check.ECHO, f"{token_of(entry)} expires, but {current} is what may run")
        if current is not None:
            self._expect(entry.at >= current.deadline, Check.EARLY, f"{token_of(entry)} expires before its deadline")

    def _scheduled(self, entry: RetryScheduled) -> None:
        self._not_before = entry.not_before
        if entry.action is Action.VERIFY:
            return
        book = self._books[entry.step]
        failed = book.undo_failed if entry.action is Action.COMPENSATE else book.failed
        if failed is None:
            self._expect(False, Check.RETRIES, f"step {entry.step} is repeated although it has not failed")
            return
        least_s, most_s = book.waits_s(failed)
        wait_s = entry.not_before - entry.at
        fits = least_s - _SLACK_S <= wait_s <= most_s + _SLACK_S
        self._expect(fits, Check.BACKOFF, f"step {entry.step} waits {wait_s} s, not {least_s}..{most_s}")
        if entry.action is Action.COMPENSATE:
            self._expect(book.may_undo_again, Check.UNDO_RETRIES, f"step {entry.step}: one too many is planned")
            return
        self._expect(not book.verify_due, Check.VERIFY, f"step {entry.step} is retried without asking verify")
        self._expect(book.may_retry, Check.RETRIES, f"step {entry.step}: one too many is planned")
        self._expect(not self._cancelled, Check.CANCEL, f"step {entry.step} is planned after a cancel")

    # --- turning back ------------------------------------------------------------------------------------------

    def _cancel(self, _entry: CancelRequested) -> None:
        self._expect(not self._cancelled and not self._turned, Check.CANCEL, "a cancel is accepted that is none")
        self._cancelled = True

    def _turn(self, entry: TurnedBack) -> None:
        self._expect(not self._turned, Check.DIRECTION, "the saga turns back twice")
        self._expect(self._current is None, Check.ALONE, "the saga turns back while an attempt may run")
        self._turned, self._not_before = True, 0.0
        reason = entry.cause.reason
        failed = self._books[entry.cause.step].failed if entry.cause.step < len(self._books) else None
        cancelled = reason is TurnReason.CANCELLED
        self._expect(cancelled == self._cancelled, Check.CANCEL, f"the saga turns back because of {reason}")
        if cancelled:
            return
        unasked = any(book.verify_due for book in self._books)
        self._expect(not unasked, Check.VERIFY, "the saga turns back without asking verify")
        if reason is TurnReason.DEADLINE:
            self._expect(self._past_deadline(entry.at), Check.CAUSE, "the saga turns back before its deadline")
            return
        self._expect(failed is not None and failed.failure == entry.cause.failure, Check.CAUSE, "no such failure")
        if failed is not None:
            right = _REASONS.get(failed.failure.kind, TurnReason.STEP_FAILED)
            self._expect(reason is right, Check.CAUSE, f"{failed.failure.kind} is told as {reason}")
            self._expect(not self._books[failed.step].may_retry, Check.RETRIES, f"step {failed.step} gives up early")

    # --- compensations that failed for good --------------------------------------------------------------------

    def _given_up(self, entry: CompensationGivenUp) -> None:
        book = self._books[entry.step]
        ended = book.undo_failed is not None and not book.may_undo_again
        self._expect(ended, Check.UNDO_RETRIES, f"the compensation of step {entry.step} is given up early")
        book.given_up = True

    def _park(self, _entry: SagaParked) -> None:
        given_up = any(book.given_up for book in self._books)
        self._expect(given_up, Check.PARK, "the saga parks although nothing was given up")
        left = [] if self._spec.park_on_failure else self._left_to_undo()
        self._expect(not left, Check.PARK, f"the saga parks although {left} can still be undone")
        self._parked, self._not_before = True, 0.0

    def _retried(self, _entry: CompensationRetried) -> None:
        self._expect(self._parked, Check.PARK, "an operator retries what is not parked")
        self._parked = False
        for book in self._books:
            if book.given_up:
                book.given_up, book.undo_failed, book.undo_counted, book.undo_never_ran = False, None, 0, 0

    def _resolved(self, entry: StepResolved) -> None:
        book = self._books[entry.step]
        self._expect(self._turned and book.owed, Check.PARK, f"step {entry.step} is resolved without need")
        self._expect(self._current is None, Check.ALONE, f"step {entry.step} is resolved while an attempt may run")
        if not book.given_up:
            stopped = self._spec.park_on_failure and any(each.given_up for each in self._books)
            left = self._left_to_undo()
            first = bool(left) and left[0] == entry.step and not stopped
            self._expect(first, Check.ORDER, f"step {entry.step} is resolved, but {left} are owed")
            self._not_before = 0.0
        book.given_up, book.resolved = False, True
        self._parked = False

    # --- ends --------------------------------------------------------------------------------------------------

    def _completed(self, _entry: SagaCompleted) -> None:
        self._final = True
        self._expect(not self._turned, Check.DIRECTION, "completed after it turned back")
        self._expect(not self._cancelled, Check.CANCEL, "completed after a cancel was accepted")
        self._expect(all(book.applied for book in self._books), Check.PROOF, "completed without every step's success")
        self._expect(self._current is None, Check.ALONE, "completed while an attempt may run")

    def _compensated(self, _entry: SagaCompensated) -> None:
        self._final = True
        owed = [index for index, book in enumerate(self._books) if book.owed]
        forgotten = [index for index in owed if not self._books[index].compensates]
        self._expect(not forgotten, Check.DOUBT, f"compensated, but nobody tried to undo {forgotten}")
        self._expect(self._turned and not owed, Check.PROOF, f"compensated, but {owed} are owed")
        self._expect(not any(book.given_up for book in self._books), Check.PROOF, "compensated, but one was given up")
        self._expect(self._current is None, Check.ALONE, "compensated while an attempt may run")
