"""The spans of a saga, made of its journal's entries: pure, without OpenTelemetry.

A saga is one span. Below it are its attempts (also those of compensations and checks) and its waits; below an attempt
is the kill of its process. Every span has the machine's times of its entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from antistrophe.journal import JournalRecord
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
from antistrophe.saga.step_state import leaves_doubt
from antistrophe.saga.trace_ids import ROOT, TraceContext, attempt_part, parse_traceparent, span_of


@dataclass(slots=True)
class SpanEvent:
    """Something at one moment of a span."""

    name: str
    at: float
    attributes: dict[str, Any]


@dataclass(slots=True)
class SagaSpan:
    """A span: times in seconds since the epoch. ``ended_seq``: the seq of the entry that ended it; 0 while it lasts.
    ``error``: what went wrong, or None. ``of_caller``: the parent is a span of the saga's caller."""

    name: str
    context: TraceContext
    parent: TraceContext | None
    began_at: float
    attributes: dict[str, Any]
    ended_at: float = 0.0
    ended_seq: int = 0
    error: str | None = None
    of_caller: bool = False
    events: list[SpanEvent] = field(default_factory=list)

    def end(self, at: float, seq: int, error: str | None = None) -> None:
        """End the span, not before it began: the machine's clock may have been set."""
        self.ended_at, self.ended_seq = max(at, self.began_at), seq
        self.error = error


def spans_of(records: Sequence[JournalRecord]) -> list[SagaSpan]:
    """All spans of a saga that have ended; none where its trace is not recorded. ``records``: its entries from the
    first."""
    course = _Course()
    for record in records:
        course.add(record)
    return [span for span in course.spans if span.ended_seq] if course.recorded else []


class _Course:
    def __init__(self) -> None:
        self.spans: list[SagaSpan] = []
        self.recorded = False
        self._attempt: SagaSpan | None = None
        self._wait: SagaSpan | None = None
        self._kill: SagaSpan | None = None

    def add(self, record: JournalRecord) -> None:
        """Go on by one entry."""
        entry, seq = record.entry, record.seq
        at = entry.at if record.wall_at is None else record.wall_at
        match entry:
            case SagaAccepted():
                self._accept(entry, at)
            case SagaWaits():
                self._wait_from(at, seq, "wait", {"antistrophe.reason": entry.reason})
            case RetryScheduled():
                name = self._spec.steps[entry.step].name
                self._wait_from(at, seq, f"wait to retry {name}", _of_step(name, entry.step, entry.action))
            case AttemptStarted():
                self._start(entry, at, seq)
            case AttemptExpired():
                self._expire(entry, at, seq)
            case AttemptSucceeded() | AttemptFailed() | VerdictGiven():
                self._settle(entry, at, seq)
            case _:
                self._happen(entry, at, seq)

    def _accept(self, entry: SagaAccepted, at: float) -> None:
        self._spec, self._request_id = entry.spec, entry.request_id
        began_at = at if entry.created_at is None else min(at, entry.created_at)
        attributes = {"antistrophe.saga.id": entry.spec.id, "antistrophe.saga.name": entry.spec.name}
        parent = parse_traceparent(entry.spec.traceparent)
        self.root = SagaSpan(f"saga {entry.spec.name}", self._context(ROOT), parent, began_at, attributes)
        self.root.of_caller = parent is not None
        self.spans.append(self.root)
        self.recorded = bool(self.root.context.flags)

    def _context(self, part: str) -> TraceContext:
        return span_of(self._spec.id, self._request_id, self._spec.traceparent, part)

    def _begin(self, name: str, part: str, at: float, attributes: dict[str, Any], below: SagaSpan) -> SagaSpan:
        saga = {"antistrophe.saga.id": self._spec.id}
        span = SagaSpan(name, self._context(part), below.context, at, saga | attributes)
        self.spans.append(span)
        return span

    def _wait_from(self, at: float, seq: int, name: str, attributes: dict[str, Any]) -> None:
        self._end_wait(at, seq)
        self._wait = self._begin(name, f"wait {seq}", at, attributes, self.root)

    def _end_wait(self, at: float, seq: int) -> None:
        if self._wait is not None:
            self._wait.end(at, seq)
            self._wait = None

    def _start(self, entry: AttemptStarted, at: float, seq: int) -> None:
        self._end_wait(at, seq)
        name = self._spec.steps[entry.step].name
        attributes = _of_step(name, entry.step, entry.action) | {
            "antistrophe.attempt": entry.attempt,
            "antistrophe.timeout_s": entry.limit_s,
            "process.pid": entry.lease.pid,
        }
        part = attempt_part(entry.step, entry.action, entry.attempt)
        self._attempt = self._begin(f"{entry.action.value} {name}", part, at, attributes, self.root)

    def _expire(self, entry: AttemptExpired, at: float, seq: int) -> None:
        if self._attempt is not None:
            cause = {"antistrophe.cause": entry.note or "timeout"}
            self._kill = self._begin("kill", f"kill {seq}", at, cause, self._attempt)

    def _settle(self, entry: AttemptSucceeded | AttemptFailed | VerdictGiven, at: float, seq: int) -> None:
        error: str | None = None
        attributes: dict[str, Any] = {}
        if isinstance(entry, AttemptFailed):
            error = describe(entry.failure)
            attributes = self._failed(entry)
        elif isinstance(entry, VerdictGiven):
            attributes = {"antistrophe.verdict": entry.verdict.value}
            error = entry.detail or "nobody knows" if entry.verdict is Verdict.UNKNOWN else None
        elif entry.adopted:
            attributes = {"antistrophe.adopted": True}
        if self._kill is not None:
            self._kill.attributes |= attributes
            self._kill.end(at, seq)
            self._kill = None
        if self._attempt is not None:
            self._attempt.attributes |= attributes
            if error is not None and not isinstance(entry, AttemptSucceeded) and entry.traceback is not None:
                told = {"exception.message": error, "exception.stacktrace": entry.traceback}
                self._attempt.events.append(SpanEvent("exception", at, told))
            self._attempt.end(at, seq, error)
            self._attempt = None

    def _failed(self, entry: AttemptFailed) -> dict[str, Any]:
        failure = entry.failure
        found = {
            "antistrophe.cause": failure.kind.value,
            "error.type": failure.error_type or None,
            "antistrophe.exit_code": failure.exit_code,
            "antistrophe.signal": failure.signal,
        }
        if entry.action is Action.EXECUTE:
            found["antistrophe.in_doubt"] = leaves_doubt(self._spec.steps[entry.step], failure)
        return {name: value for name, value in found.items() if value is not None}

    def _happen(self, entry: Entry, at: float, seq: int) -> None:
        said: dict[str, Any] = {}
        match entry:
            case TurnedBack():
                said = {"antistrophe.cause": entry.cause.reason.value}
                self.root.error = entry.cause.reason.value
            case CancelRequested() | CompensationRetried() | RestoreAcknowledged() | SagaRelocated():
                said = {"antistrophe.by": entry.by}
            case StepResolved():
                said = {"antistrophe.by": entry.by, "antistrophe.step.name": self._spec.steps[entry.step].name}
            case CompensationGivenUp():
                said = {"antistrophe.step.name": self._spec.steps[entry.step].name}
            case SagaParked():
                self._wait_from(at, seq, "parked: a person has to act", {})
            case SagaCompleted() | SagaCompensated():
                self._end_wait(at, seq)
                done = isinstance(entry, SagaCompleted)
                self.root.attributes["antistrophe.saga.status"] = "completed" if done else "compensated"
                self.root.end(at, seq, None if done else f"compensated: {self.root.error}")
        self.root.events.append(SpanEvent(type(entry).__name__, at, said))


def _of_step(name: str, step: int, action: Action) -> dict[str, Any]:
    return {
        "antistrophe.step.name": name,
        "antistrophe.step.index": step,
        "antistrophe.action": action.value,
    }


def newly_ended(spans: Iterable[SagaSpan], after_seq: int, up_to_seq: int) -> list[SagaSpan]:
    """The spans that ended behind one entry, up to another."""
    return [span for span in spans if after_seq < span.ended_seq <= up_to_seq]
