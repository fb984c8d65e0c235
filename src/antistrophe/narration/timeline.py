"""The timeline of a saga, ready to be drawn: a row for each step with its attempts, and moments of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from antistrophe.definition.spec import SagaSpec
from antistrophe.narration.times import duration
from antistrophe.saga.course import Span, course_of
from antistrophe.saga.effects import next_work
from antistrophe.saga.entries import (
    Action,
    AttemptExpired,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CancelRequested,
    CompensationRetried,
    Entry,
    Failure,
    RetryScheduled,
    SagaAccepted,
    SagaCompensated,
    SagaCompleted,
    SagaParked,
    SagaWaits,
    StepResolved,
    TurnedBack,
    Verdict,
    VerdictGiven,
)
from antistrophe.saga.outcome import describe
from antistrophe.saga.state import replay
from antistrophe.saga.step_state import leaves_doubt

MOST_ROWS = 200
MOST_BARS = 300
"""So many steps, and so many attempts of one step, are drawn; the rest is counted."""


class MarkKind(str, Enum):
    """What a moment of the whole saga is."""

    TURNED = "turned"
    CANCELLED = "cancelled"
    PARKED = "parked"
    ORDER = "order"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment of the whole saga, in a few words."""

    at: float
    kind: MarkKind
    text: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt. ``told`` says how it ended, in a few words; ``doubt``: it may have taken effect."""

    span: Span
    told: str
    doubt: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """The step was not tried from then to then, and why. ``ended_at`` is None while it waits."""

    action: Action
    began_at: float
    ended_at: float | None
    why: str


@dataclass(slots=True)
class Row:
    """One step: its attempts and waits in order."""

    name: str
    bars: list[Bar] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Timeline:
    """``began`` and ``ended`` are seconds since the epoch; ``running``: it has not ended, and goes up to now."""

    rows: tuple[Row, ...]
    marks: tuple[Mark, ...]
    began: float
    ended: float
    running: bool
    steps_left_out: int = 0


def timeline_of(entries: Sequence[Entry], now: float) -> Timeline | None:
    """The timeline of a saga from all its entries; None where there are none. ``now`` is the end of what still runs."""
    if not entries or not isinstance(entries[0], SagaAccepted):
        return None
    spec = entries[0].spec
    rows = [Row(step.name) for step in spec.steps[:MOST_ROWS]]
    for span, end in zip(course_of(entries), _ends(entries), strict=True):
        if span.step < len(rows):
            _add(rows[span.step], _bar(spec, span, end))
    _add_waits(entries, rows)
    running = not isinstance(entries[-1], SagaCompleted | SagaCompensated | SagaParked)
    last = entries[-1].at
    return Timeline(
        rows=tuple(rows),
        marks=tuple(_marks(entries, spec)),
        began=entries[0].at,
        ended=max(now, last) if running else last,
        running=running,
        steps_left_out=max(0, len(spec.steps) - MOST_ROWS),
    )


def _ends(entries: Sequence[Entry]) -> list[Entry | None]:
    """How each attempt ended, in the order of their beginnings; None for one that runs."""
    found: list[Entry | None] = []
    for entry in entries:
        if isinstance(entry, AttemptStarted):
            found.append(None)
        elif isinstance(entry, AttemptSucceeded | AttemptFailed | VerdictGiven) and found and found[-1] is None:
            found[-1] = entry
    return found


def _add(row: Row, bar: Bar) -> None:
    if len(row.bars) < MOST_BARS:
        row.bars.append(bar)
    else:
        row.left_out += 1


def _bar(spec: SagaSpec, span: Span, end: Entry | None) -> Bar:
    match end:
        case AttemptFailed():
            doubt = span.action is Action.EXECUTE and leaves_doubt(spec.steps[span.step], end.failure)
            return Bar(span, failure_in_short(end.failure), doubt)
        case VerdictGiven():
            words = {Verdict.APPLIED: "it took effect", Verdict.NOT_APPLIED: "it took no effect"}
            return Bar(span, words.get(end.verdict, "nobody knows"), end.verdict is Verdict.UNKNOWN)
        case None:
            return Bar(span, f"runs in process {span.pid}")
        case _:
            return Bar(span, "")


_WORDS = {
    "raised": "raised",
    "retryable": "asked for a retry",
    "fatal": "failed for good",
    "in_doubt": "in doubt",
    "timeout": "killed",
    "crash": "died",
    "interrupted": "interrupted",
    "unencodable": "returned what can't be stored",
    "never_ran": "never started",
    "refused": "could not be called",
}


def failure_in_short(failure: Failure) -> str:
    """How an attempt failed, in a few words: the limit, the signal, the exit code or the type of the error."""
    word = _WORDS[failure.kind.value]
    if failure.kind.value == "timeout":
        return f"{word} after {duration(failure.duration_s or 0.0)}"
    if failure.signal is not None:
        return f"{word}: signal {signal_name(failure.signal)}"
    if failure.exit_code is not None:
        return f"{word}: exit code {failure.exit_code}"
    return f"{word}: {failure.error_type or describe(failure)}" if describe(failure) else word


_SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    13: "SIGPIPE",
    15: "SIGTERM",
    24: "SIGXCPU",
}


def signal_name(number: int) -> str:
    """`SIGKILL`, or the number where that says more."""
    return _SIGNALS.get(number, str(number))


_LEAST_WAIT_S = 0.001


@dataclass(slots=True)
class _Open:
    """A wait that has not ended: of which step, and for what; ``step`` is None: of the one that comes next."""

    at: float
    why: str = "for a step process"
    step: int | None = None
    action: Action = Action.EXECUTE


def _add_waits(entries: Sequence[Entry], rows: list[Row]) -> None:
    """Each wait ends with the start of the next attempt, or with an order, or with the saga."""
    waits: _Open | None = None
    for entry in entries:
        match entry:
            case AttemptStarted():
                if waits is not None:
                    _add_wait(rows, waits, entry.step, entry.action, entry.at)
                waits = None
            case RetryScheduled():
                waits = _Open(entry.at, "until it is tried again", entry.step, entry.action)
            case SagaWaits():
                waits = _Open(entry.at, entry.reason) if waits is None else replace(waits, why=entry.reason)
            case SagaParked() | SagaCompleted() | SagaCompensated():
                waits = None
            case AttemptExpired() | CancelRequested():
                pass
            case _:
                waits = _Open(entry.at)
    if waits is None:
        return
    if waits.step is not None:
        _add_wait(rows, waits, waits.step, waits.action, None)
    elif (work := next_work(replay(entries))) is not None:
        _add_wait(rows, waits, work.step, work.action, None)


def _add_wait(rows: list[Row], wait: _Open, step: int, action: Action, until: float | None) -> None:
    long = until is None or until - wait.at >= _LEAST_WAIT_S
    if long and step < len(rows) and len(rows[step].waits) < MOST_BARS:
        rows[step].waits.append(Wait(action, wait.at, until, wait.why))


def _marks(entries: Sequence[Entry], spec: SagaSpec) -> list[Mark]:
    found: list[Mark] = []
    for entry in entries:
        match entry:
            case TurnedBack():
                found.append(
                    Mark(entry.at, MarkKind.TURNED, f"turned back: {entry.cause.reason.value.replace('_', ' ')}")
                )
            case CancelRequested():
                found.append(Mark(entry.at, MarkKind.CANCELLED, f"cancelled by {entry.by}"))
            case SagaParked():
                found.append(Mark(entry.at, MarkKind.PARKED, "parked"))
            case CompensationRetried():
                found.append(Mark(entry.at, MarkKind.ORDER, f"retried by {entry.by}"))
            case StepResolved():
                found.append(Mark(entry.at, MarkKind.ORDER, f"{spec.steps[entry.step].name} resolved by {entry.by}"))
            case SagaCompleted():
                found.append(Mark(entry.at, MarkKind.DONE, "completed"))
            case SagaCompensated():
                found.append(Mark(entry.at, MarkKind.DONE, "compensated"))
            case _:
                pass
    return found
