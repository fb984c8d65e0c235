"""How an attempt ends: the entries that follow from its answer, or from the death of its process."""

from __future__ import annotations

from dataclasses import replace
from signal import Signals
from typing import Any

from antistrophe.definition.spec import ResourceLimits
from antistrophe.saga.entries import (
    Action,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    Entry,
    Failure,
    FailureKind,
    SagaWaits,
    Verdict,
    VerdictGiven,
)
from antistrophe.saga.inputs import Answer, Exited, Fenced, Raised, Refused, Returned, Unencodable, Verified
from antistrophe.saga.state import Saga

_WITHOUT_CALL = frozenset({FailureKind.NEVER_RAN, FailureKind.REFUSED})

_NOT_ITS_DOING = frozenset({FailureKind.NEVER_RAN, FailureKind.INTERRUPTED})
"""Kinds of death that say nothing about a ``verify``, so that verify is asked again."""


def entries_of_answer(
    current: AttemptStarted, answer: Answer, now: float, *, adopted: bool = False
) -> tuple[Entry, ...]:
    """The entries that follow from the answer of the current attempt. ``adopted``: the answer was read from what the
    dead process left."""
    match answer:
        case Refused(reason):
            return (_failed(current, Failure(FailureKind.REFUSED, reason), now), SagaWaits(now, reason))
        case _ if current.action is Action.VERIFY:
            return (_verdict(current, answer, now),)
        case Returned(output, events):
            result = AttemptSucceeded(
                now, current.step, current.action, current.attempt, output, events, adopted=adopted
            )
            return (result,)
        case Unencodable(error, error_type) if current.action is Action.COMPENSATE:
            # The undo did run, and nobody needs the result of an undo.
            warning = f"{error_type}: {error}"
            done = AttemptSucceeded(
                now, current.step, current.action, current.attempt, warning=warning, adopted=adopted
            )
            return (done,)
        case Unencodable(error, error_type):
            return (_failed(current, Failure(FailureKind.UNENCODABLE, error, error_type), now),)
        case Raised(kind, error, error_type, after_s, traceback):
            return (_failed(current, Failure(kind, error, error_type, after_s=after_s), now, traceback),)
        case Exited(exit_code, text, traceback):
            crash = Failure(FailureKind.CRASH, _exit_in_words(exit_code, text), exit_code=exit_code)
            return (_failed(current, crash, now, traceback),)
        case Verified():
            wrong = Failure(FailureKind.IN_DOUBT, "it gave a verdict where a result was due", "TypeError")
            return (_failed(current, wrong, now),)


def entries_of_death(saga: Saga, current: AttemptStarted, fenced: Fenced, now: float) -> tuple[Entry, ...]:
    """The entries that follow from the proven death of the current attempt's process: those of the outcome that the
    process left, or else those of its death."""
    if fenced.answer is not None:
        adopted = entries_of_answer(current, fenced.answer, now, adopted=True)
        return tuple(_with_detail(each, fenced.detail) for each in adopted)
    if saga.restored and fenced.began is False:
        # What shows it may be that its process has run a later attempt since, which the journal does not know any more.
        fenced = replace(fenced, began=None)
    failure = _death(saga, current, fenced)
    stood: dict[str, Any] = {"stack": fenced.stack, "no_stack": fenced.no_stack}
    if current.action is Action.VERIFY and failure.kind not in _NOT_ITS_DOING:
        return (replace(_no_verdict(current, f"verify did not answer: {failure.error}", now), **stood),)
    return (replace(_failed(current, failure, now), **stood, lost=fenced.lost and fenced.began is not False),)


def _with_detail(entry: Entry, detail: str | None) -> Entry:
    """The entry of an outcome with what there is to say about the end of its process."""
    match entry:
        case AttemptSucceeded() if detail is not None:
            return replace(entry, warning="; ".join(filter(None, (entry.warning, detail))))
        case AttemptFailed(failure=failure) if detail is not None:
            return replace(entry, failure=replace(failure, error=f"{failure.error} ({detail})"))
        case _:
            return entry


def _verdict(current: AttemptStarted, answer: Answer, now: float) -> VerdictGiven:
    match answer:
        case Verified(verdict, output, events, detail):
            return VerdictGiven(now, current.step, current.attempt, verdict, output, events, detail)
        case Raised(_, error, error_type, _, traceback):
            return _no_verdict(current, f"verify raised {error_type}: {error}", now, traceback)
        case Exited(exit_code, text, traceback):
            return _no_verdict(current, f"verify did not answer: {_exit_in_words(exit_code, text)}", now, traceback)
        case Unencodable(error, _):
            return _no_verdict(current, f"verify returned what can't be stored: {error}", now)
        case _:
            return _no_verdict(current, "verify gave no verdict", now)


def _no_verdict(current: AttemptStarted, detail: str, now: float, traceback: str | None = None) -> VerdictGiven:
    return VerdictGiven(now, current.step, current.attempt, Verdict.UNKNOWN, detail=detail, traceback=traceback)


def _failed(current: AttemptStarted, failure: Failure, now: float, traceback: str | None = None) -> AttemptFailed:
    # A compensation or verify that the system itself ended is repeated, however often that happens.
    spared = failure.kind is FailureKind.INTERRUPTED and current.action is not Action.EXECUTE
    counts = failure.kind not in _WITHOUT_CALL and not spared
    return AttemptFailed(now, current.step, current.action, current.attempt, failure, counts, traceback=traceback)


def _death(saga: Saga, current: AttemptStarted, fenced: Fenced) -> Failure:
    exit_code, signal, detail = fenced.exit_code, fenced.signal, fenced.detail
    if fenced.began is False:
        # A compensation is never given up because the system ended it before its call.
        spared = fenced.by_system and current.action is Action.COMPENSATE
        kind = FailureKind.INTERRUPTED if spared else FailureKind.NEVER_RAN
        return Failure(kind, detail or "its process ended before the call", exit_code=exit_code, signal=signal)
    if fenced.by_system:
        # This holds for an expired attempt, too: after a long stop it is past its limit although it never ran that
        # long.
        text = detail or "the actor system stopped, and drain_s was over before it came to its end"
        return Failure(FailureKind.INTERRUPTED, text, exit_code=exit_code, signal=signal)
    if saga.expired:
        text = detail or f"ended after {current.limit_s:g} s"
        return Failure(FailureKind.TIMEOUT, text, exit_code=exit_code, signal=signal, duration_s=current.limit_s)
    if saga.ending:
        text = detail or "ended because the saga was cancelled"
        return Failure(FailureKind.INTERRUPTED, text, exit_code=exit_code, signal=signal)
    text = detail or f"its process ended: {_how_it_ended(saga.spec.steps[current.step].limits, exit_code, signal)}"
    return Failure(FailureKind.CRASH, text, exit_code=exit_code, signal=signal)


def _exit_in_words(exit_code: int, text: str) -> str:
    return f"its process ended: exit code {exit_code}, by sys.exit: {text}"


def _how_it_ended(limits: ResourceLimits | None, exit_code: int | None, signal: int | None) -> str:
    if signal is None:
        return f"exit code {exit_code}"
    if signal == Signals.SIGXCPU and limits is not None and limits.cpu_s is not None:
        return f"it used more processor time than limits.cpu_s={limits.cpu_s:g} allows (SIGXCPU)"
    names = {each.value: each.name for each in Signals}
    return f"signal {signal} ({names[signal]})" if signal in names else f"signal {signal}"
