"""Journal entries as sentences: one for each entry, but an attempt and its end make one sentence together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from antistrophe.narration.times import duration, with_local_times
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
    TurnedBack,
    Verdict,
    VerdictGiven,
)
from antistrophe.saga.outcome import describe
from antistrophe.saga.state import Saga
from antistrophe.saga.step_state import leaves_doubt
from antistrophe.saga.view import at
from antistrophe.serialization.printable import printable


@dataclass(frozen=True, slots=True)
class Sentence:
    """What happened at one moment, in one sentence."""

    at: datetime
    text: str


def sentences_of(before: Saga | None, entry: Entry, after: Saga) -> Iterable[Sentence]:
    """The sentences for one entry, between the states before and after it; none where a later entry says the same."""
    text = SENTENCES[type(entry)](before, entry, after)
    if text:
        yield Sentence(at(entry.at), text)


def running_attempt(saga: Saga) -> Iterable[Sentence]:
    """The sentence for the attempt that is running at the end of the journal, if there is one."""
    current = saga.current
    if current is not None:
        subject = _subject(saga, current.step, current.action)
        state = "it is being ended" if saga.ending else f"its limit is {current.limit_s:g} s"
        number = f", attempt {current.attempt}," if current.attempt > 1 else ""
        yield Sentence(at(current.at), _sentence(f"{subject}{number} started in process {current.lease.pid}; {state}"))


def _name(saga: Saga, step: int) -> str:
    return saga.spec.steps[step].name


def _subject(saga: Saga, step: int, action: Action) -> str:
    name = _name(saga, step)
    return {
        Action.EXECUTE: name,
        Action.COMPENSATE: f"the undo of {name}",
        Action.VERIFY: f"the check whether {name} took effect",
    }[action]


def _attempt(before: Saga, saga: Saga, entry: Any) -> str:
    """How a sentence names an attempt, such as `Debit, attempt 2 (process 4711, 0.021 s)`."""
    subject = _subject(saga, entry.step, entry.action)
    number = f", attempt {entry.attempt}" if entry.attempt > 1 else ""
    current = before.current
    if current is None:
        return f"{subject}{number}"
    return f"{subject}{number} (process {current.lease.pid}, {entry.at - current.at:.3f} s)"


def _accepted(_before: Saga | None, entry: SagaAccepted, after: Saga) -> str:
    names = ", ".join(step.name for step in entry.spec.steps)
    limit = "" if after.spec.deadline_s is None else f"; its deadline is {after.spec.deadline_s:g} s"
    return (
        f"The saga was accepted with {len(after.steps)} step{'s' * (len(after.steps) != 1)}: {names or 'none'}{limit}."
    )


def _succeeded(before: Saga, entry: AttemptSucceeded, after: Saga) -> str:
    done = "is done" if entry.action is Action.COMPENSATE else "succeeded"
    adopted = "; its process wrote down that result before it died" if entry.adopted else ""
    warning = f"; but {printable(entry.warning)}" if entry.warning else ""
    return _sentence(f"{_attempt(before, after, entry)} {done}{adopted}{warning}")


def _expired(_before: Saga, entry: AttemptExpired, after: Saga) -> str:
    current = after.current
    limit = "its time" if current is None else f"its limit of {current.limit_s:g} s"
    note = f" ({printable(entry.note)})" if entry.note else ""
    return _sentence(f"{_subject(after, entry.step, entry.action)} ran past {limit}, so its process is ended{note}")


_HOW = {
    FailureKind.RAISED: "raised {error}",
    FailureKind.RETRYABLE: "asked to be tried again: {error}",
    FailureKind.FATAL: "failed and must not be tried again: {error}",
    FailureKind.IN_DOUBT: "could not say whether it took effect: {error}",
    FailureKind.TIMEOUT: "was killed after {limit:g} s, and its process is proven dead",
    FailureKind.CRASH: "lost its process ({error})",
    FailureKind.INTERRUPTED: "was interrupted ({error})",
    FailureKind.UNENCODABLE: "returned a value that can't be stored: {error}",
    FailureKind.NEVER_RAN: "never started ({error})",
    FailureKind.REFUSED: "could not be called: {error}",
}


def _failed(before: Saga, entry: AttemptFailed, after: Saga) -> str:
    failure = entry.failure
    how = _HOW[failure.kind].format(error=printable(describe(failure)), limit=failure.duration_s or 0.0)
    doubt = ""
    if entry.action is Action.EXECUTE and leaves_doubt(after.spec.steps[entry.step], failure):
        doubt = ": nobody knows whether it took effect, so it is in doubt"
    return _sentence(f"{_attempt(before, after, entry)} {how}{doubt}") + _stack(entry)


def _stack(entry: AttemptFailed | VerdictGiven) -> str:
    if entry.traceback is not None:
        return "\n" + printable(entry.traceback, keep="\n")
    if entry.stack is not None:
        return f"\nIts stack at that moment:\n{entry.stack}"
    return "" if entry.no_stack is None else f"\nIts stack is not known: {printable(entry.no_stack)}."


_FOUND = {
    Verdict.APPLIED: "found that it did: the saga goes on as if the step had returned",
    Verdict.NOT_APPLIED: "found that it did not",
    Verdict.UNKNOWN: "could not find out",
}


def _verdict(_before: Saga, entry: VerdictGiven, after: Saga) -> str:
    detail = f" ({printable(entry.detail)})" if entry.detail else ""
    return _sentence(f"{_subject(after, entry.step, Action.VERIFY)} {_FOUND[entry.verdict]}{detail}") + _stack(entry)


def _retry(_before: Saga, entry: RetryScheduled, after: Saga) -> str:
    wait_s = max(0.0, entry.not_before - entry.at)
    when = "at once" if wait_s < 0.001 else f"in {duration(wait_s)}"
    return _sentence(f"{_subject(after, entry.step, entry.action)} is tried again {when}")


def _cancelled(_before: Saga, entry: CancelRequested, _after: Saga) -> str:
    reason = f": {printable(entry.reason)}" if entry.reason else ""
    return f"{entry.by} asked to cancel the saga{reason}."


def _turned(_before: Saga, _entry: TurnedBack, after: Saga) -> str:
    done = [_name(after, index) for index in after.first_starts if after.steps[index].succeeded]
    undo = f". Steps done: {', '.join(done)}" if done else ""
    return f"The saga turned back{undo}."


def _given_up(_before: Saga, entry: CompensationGivenUp, after: Saga) -> str:
    return _sentence(f"the undo of {_name(after, entry.step)} was given up: {printable(describe(entry.failure))}")


def _retried(_before: Saga, entry: CompensationRetried, _after: Saga) -> str:
    note = f": {printable(entry.note)}" if entry.note else ""
    return f"{entry.by} ordered a retry of the undo{note}."


def _resolved(_before: Saga, entry: StepResolved, after: Saga) -> str:
    return f"{entry.by} settled the undo of {_name(after, entry.step)} by other means: {printable(entry.note)}."


def _restored(_before: Saga, entry: RestoreAcknowledged, _after: Saga) -> str:
    return f"The journal was put back to an earlier state, as {entry.by} says: what was done since is in doubt."


def _relocated(before: Saga, entry: SagaRelocated, _after: Saga) -> str:
    note = f": {printable(entry.note)}" if entry.note else ""
    old, new = before.spec.origin.cwd, entry.origin.cwd
    return _sentence(f"{entry.by} moved the place of the saga's code from {printable(old)} to {printable(new)}{note}")


SENTENCES: dict[type, Callable[[Any, Any, Saga], str]] = {
    SagaAccepted: _accepted,
    SagaWaits: lambda _before, entry, _after: f"The saga waits: {printable(with_local_times(entry.reason))}.",
    AttemptStarted: lambda _before, _entry, _after: "",
    AttemptSucceeded: _succeeded,
    AttemptExpired: _expired,
    AttemptFailed: _failed,
    VerdictGiven: _verdict,
    RetryScheduled: _retry,
    CancelRequested: _cancelled,
    TurnedBack: _turned,
    CompensationGivenUp: _given_up,
    SagaParked: lambda _before, _entry, _after: "The saga was parked: a person has to settle the failed undo.",
    CompensationRetried: _retried,
    StepResolved: _resolved,
    SagaRelocated: _relocated,
    RestoreAcknowledged: _restored,
    SagaCompleted: lambda _before, _entry, _after: "The saga completed.",
    SagaCompensated: lambda _before, _entry, _after: "The saga was compensated.",
}


def _sentence(text: str) -> str:
    # A step's name keeps its own first letter, even at the beginning of a sentence.
    return f"The {text[4:]}." if text.startswith("the ") else f"{text}."
