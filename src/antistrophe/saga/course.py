"""The course of a saga over time: its attempts, from when to when, and how each ended. Pictures are made of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import Enum

from antistrophe.saga.entries import (
    Action,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    Entry,
    FailureKind,
    Verdict,
    VerdictGiven,
)
from antistrophe.serialization.struct_dataclass import dataclass


class End(str, Enum):
    """How an attempt ended."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # it raised, or could not be called
    KILLED = "killed"  # the system ended its process
    DIED = "died"  # its process died of itself


@dataclass(frozen=True, slots=True)
class Span:
    """One attempt of a step. ``began_at`` and ``ended_at`` are seconds since the epoch; ``ended_at`` is None while the
    attempt runs."""

    step: int
    action: Action
    attempt: int
    pid: int
    began_at: float
    ended_at: float | None = None
    end: End = End.RUNNING


_ENDS = {FailureKind.TIMEOUT: End.KILLED, FailureKind.INTERRUPTED: End.KILLED, FailureKind.CRASH: End.DIED}


def course_of(entries: Iterable[Entry]) -> tuple[Span, ...]:
    """The attempts of a saga in the order of their beginnings."""
    spans: list[Span] = []
    for entry in entries:
        match entry:
            case AttemptStarted():
                spans.append(Span(entry.step, entry.action, entry.attempt, entry.lease.pid, entry.at))
            case AttemptSucceeded():
                _end(spans, entry.at, End.DONE)
            case AttemptFailed():
                _end(spans, entry.at, _ENDS.get(entry.failure.kind, End.FAILED))
            case VerdictGiven():
                _end(spans, entry.at, End.FAILED if entry.verdict is Verdict.UNKNOWN else End.DONE)
            case _:
                pass
    return tuple(spans)


def _end(spans: list[Span], at: float, end: End) -> None:
    # A saga has at most one attempt at a time, so an end is that of the last one.
    if spans and spans[-1].ended_at is None:
        spans[-1] = replace(spans[-1], ended_at=at, end=end)
