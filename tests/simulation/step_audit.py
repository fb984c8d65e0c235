"""What an auditor notes of each step of a journal, in words of its own: no state of the machine is used here."""

from __future__ import annotations

from dataclasses import dataclass

from antistrophe.definition.spec import StepSpec
from antistrophe.saga.entries import Action, AttemptFailed, Failure, FailureKind, Verdict

LOST = frozenset({FailureKind.TIMEOUT, FailureKind.CRASH, FailureKind.INTERRUPTED})
RAISES = frozenset({FailureKind.RAISED, FailureKind.RETRYABLE, FailureKind.FATAL})
UNCALLED = frozenset({FailureKind.NEVER_RAN, FailureKind.REFUSED})
MOST_UNCALLED = 10
"""How often an attempt of a step may end before its call."""


@dataclass(slots=True)
class StepBook:
    """One step as its journal shows it so far."""

    spec: StepSpec
    executes: int = 0
    compensates: int = 0
    verifies: int = 0
    applied: bool = False
    doubt: bool = False
    failed: AttemptFailed | None = None
    verdict: Verdict | None = None
    counted: int = 0
    never_ran: int = 0
    verify_never_ran: int = 0
    undone: bool = False
    resolved: bool = False
    given_up: bool = False
    undo_failed: AttemptFailed | None = None
    undo_counted: int = 0
    undo_never_ran: int = 0

    @property
    def owed(self) -> bool:
        """True where the step may have had an effect that was not undone yet."""
        return self.spec.requires_compensation and (self.applied or self.doubt) and not (self.undone or self.resolved)

    def started(self, action: Action) -> int:
        """Count one more attempt of that action; its number."""
        match action:
            case Action.EXECUTE:
                self.executes += 1
                return self.executes
            case Action.COMPENSATE:
                self.compensates += 1
                return self.compensates
            case Action.VERIFY:
                self.verifies += 1
                return self.verifies

    def doubtful(self, failure: Failure) -> bool:
        """True where nobody can say from that failure of ``execute`` that it had no effect."""
        kind = failure.kind
        if kind in LOST or kind in (FailureKind.IN_DOUBT, FailureKind.UNENCODABLE):
            return True
        return kind in RAISES and not self.spec.atomic

    def take_failure(self, entry: AttemptFailed) -> None:
        """Note a failed attempt."""
        uncalled = entry.failure.kind is FailureKind.NEVER_RAN
        if entry.action is Action.VERIFY:
            self.verify_never_ran += uncalled
        elif entry.action is Action.COMPENSATE:
            self.undo_failed = entry
            self.undo_counted += expected_count(entry)
            self.undo_never_ran += uncalled
        else:
            self.failed, self.verdict = entry, None
            self.doubt = self.doubt or self.doubtful(entry.failure)
            self.counted += expected_count(entry)
            self.never_ran += uncalled

    def take_verdict(self, verdict: Verdict) -> None:
        """Note what verify found out."""
        self.verdict = verdict
        if verdict is Verdict.APPLIED:
            self.applied, self.doubt = True, False
        elif verdict is Verdict.NOT_APPLIED:
            self.doubt = False

    @property
    def verify_due(self) -> bool:
        """True where verify has to be asked about the last attempt before anything else is decided."""
        return (
            self.failed is not None
            and not self.applied
            and self.spec.has_verify
            and self.doubtful(self.failed.failure)
            and self.failed.failure.kind is not FailureKind.UNENCODABLE
            and self.verdict is None
            and self.verify_never_ran <= MOST_UNCALLED
        )

    @property
    def may_retry(self) -> bool:
        """True where the policy has another attempt of ``execute`` after the last one."""
        assert self.failed is not None, "only asked after a failure"
        failure = self.failed.failure
        if failure.kind is FailureKind.REFUSED:
            return True
        if failure.kind is FailureKind.NEVER_RAN:
            return self.never_ran <= MOST_UNCALLED
        if failure.kind in (FailureKind.FATAL, FailureKind.UNENCODABLE):
            return False
        if self.doubtful(failure) and self.verdict is not Verdict.NOT_APPLIED and not self.spec.idempotent:
            return False
        retryable = failure.kind is FailureKind.RETRYABLE
        return self.counted < (self.spec.retryable_attempts if retryable else self.spec.retry.max_attempts)

    @property
    def may_undo_again(self) -> bool:
        """True where the policy has another attempt of ``compensate`` after the last one."""
        if self.undo_failed is None or self.undo_failed.failure.kind is FailureKind.REFUSED:
            return True
        if self.undo_failed.failure.kind is FailureKind.NEVER_RAN:
            return self.undo_never_ran <= MOST_UNCALLED
        if self.undo_failed.failure.kind is FailureKind.FATAL:
            return False
        return self.undo_counted < self.spec.compensation_retry.max_attempts

    def waits_s(self, failed: AttemptFailed) -> tuple[float, float]:
        """The shortest and the longest wait that may follow this last failure, in seconds."""
        undo = failed.action is Action.COMPENSATE
        failure = failed.failure
        if failure.kind is FailureKind.NEVER_RAN or (undo and failure.kind is FailureKind.INTERRUPTED):
            return 0.0, 0.0
        if failure.kind is FailureKind.REFUSED:
            return 5.0, 300.0
        if failure.after_s is not None:
            return failure.after_s, failure.after_s
        policy = self.spec.compensation_retry if undo else self.spec.retry
        made = max(1, self.undo_counted if undo else self.counted)
        most = min(policy.max_s, policy.initial_s * policy.multiplier ** (made - 1))
        return (0.0 if policy.jitter else most), most


def expected_count(entry: AttemptFailed) -> bool:
    """True where that failure has to count against its policy."""
    if entry.failure.kind in UNCALLED:
        return False
    return entry.action is Action.EXECUTE or entry.failure.kind is not FailureKind.INTERRUPTED
