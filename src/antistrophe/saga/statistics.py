"""Statistics of many sagas: the fold of their entries to counters of a bounded number.

``SagaStatistics.add`` takes the entries of all sagas in the order of the journal. Names of sagas and step classes are
labels, and there may be any number of them: the first ``most_labels`` that are seen keep their name, and the rest is
counted together under ``other``. What has to be remembered of a saga until it ends is bounded too; a saga that was
forgotten, or began before the first entry, is counted as soon as ``begin`` has told its acceptance.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from enum import Enum

from antistrophe.saga.durations import Durations
from antistrophe.saga.entries import (
    Action,
    AttemptExpired,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CancelRequested,
    Entry,
    FailureKind,
    RetryScheduled,
    SagaAccepted,
    SagaCompensated,
    SagaCompleted,
    SagaParked,
    Verdict,
    VerdictGiven,
)
from antistrophe.saga.step_state import kind_leaves_doubt

OTHER = "other"
"""The label of what has no label of its own."""

MOST_LABELS = 50
"""How many names of sagas, and how many step classes, have a label of their own."""

_LONGEST_LABEL = 200
_SAGAS_KEPT = 10_000
_STEPS_KEPT = 200_000
"""Of so many sagas that run, and steps of theirs, it is remembered what they are. The oldest ones are forgotten."""


class AttemptOutcome(str, Enum):
    """How an attempt ended."""

    RETURNED = "returned"
    RAISED = "raised"
    TIMEOUT = "timeout"  # it was ended because it ran past its limit
    CRASH = "crash"  # its process died of itself
    INTERRUPTED = "interrupted"  # the system ended it: a cancel, a stop, a restart
    REFUSED = "refused"  # its process could not make the call
    UNENCODABLE = "unencodable"  # it returned what can't travel, or is too large
    NEVER_RAN = "never_ran"  # its process died before the call


class KillCause(str, Enum):
    """Why the process of an attempt was ended before the attempt was over."""

    TIMEOUT = "timeout"  # the attempt ran past its limit
    CANCEL = "cancel"  # its saga was cancelled
    SYSTEM = "system"  # the actor system stopped, or died
    SIGNAL = "signal"  # by a signal that the system has not sent: the kernel, a person, a segmentation fault


class SagaEvent(str, Enum):
    """What is counted of a saga as a whole."""

    ACCEPTED = "accepted"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    PARKED = "parked"


_OUTCOMES = {
    FailureKind.TIMEOUT: AttemptOutcome.TIMEOUT,
    FailureKind.CRASH: AttemptOutcome.CRASH,
    FailureKind.INTERRUPTED: AttemptOutcome.INTERRUPTED,
    FailureKind.REFUSED: AttemptOutcome.REFUSED,
    FailureKind.UNENCODABLE: AttemptOutcome.UNENCODABLE,
    FailureKind.NEVER_RAN: AttemptOutcome.NEVER_RAN,
}

_ENDS = {
    SagaCompleted: SagaEvent.COMPLETED,
    SagaCompensated: SagaEvent.COMPENSATED,
    SagaParked: SagaEvent.PARKED,
}


class _Labels:
    """The labels that are in use, of which there are no more than ``most`` beside ``other``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = {OTHER}

    def of(self, text: str) -> str:
        if len(text) > _LONGEST_LABEL:
            text = f"{text[: _LONGEST_LABEL - 1]}…"
        if text in self._known:
            return text
        if len(self._known) > self._most:
            return OTHER
        self._known.add(text)
        return text


class _Course:
    """What is remembered of a saga that runs. ``current``: the attempt that runs, where its start was seen."""

    __slots__ = ("accepted_at", "cancelled", "current", "expired", "name", "not_atomic", "step_labels")

    def __init__(self, accepted: SagaAccepted, name: str, step_labels: tuple[str, ...]) -> None:
        self.accepted_at = accepted.at
        self.name = name
        self.step_labels = step_labels
        self.not_atomic = frozenset(index for index, step in enumerate(accepted.spec.steps) if not step.atomic)
        self.current: AttemptStarted | None = None
        self.expired = False
        self.cancelled = False


class SagaStatistics:
    """Counters over the entries that were added. Read them, and leave them as they are.

    ``sagas``: by (name, event). ``attempts``: by (step class, action, outcome). ``retries``: by (step class, action).
    ``doubts``: attempts that left it in doubt whether they took effect, by step class. ``kills``: by (step class,
    cause). ``saga_durations``: from the acceptance to the end, by (name, event). ``attempt_durations``: by (step class,
    action). ``last_starts``: when the last attempt was started, by step class. A step class is named as in the journal,
    ``module:Class``.
    """

    def __init__(self, most_labels: int = MOST_LABELS) -> None:
        self.sagas: Counter[tuple[str, SagaEvent]] = Counter()
        self.attempts: Counter[tuple[str, Action, AttemptOutcome]] = Counter()
        self.retries: Counter[tuple[str, Action]] = Counter()
        self.doubts: Counter[str] = Counter()
        self.kills: Counter[tuple[str, KillCause]] = Counter()
        self.saga_durations: dict[tuple[str, SagaEvent], Durations] = {}
        self.attempt_durations: dict[tuple[str, Action], Durations] = {}
        self.last_starts: dict[str, float] = {}
        self._names = _Labels(most_labels)
        self._step_classes = _Labels(most_labels)
        self._courses: OrderedDict[str, _Course] = OrderedDict()
        self._steps_kept = 0

    def name_label(self, name: str) -> str:
        """The label of sagas of that name."""
        return self._names.of(name)

    def knows(self, saga_id: str) -> bool:
        """Whether the acceptance of this saga is remembered."""
        return saga_id in self._courses

    def begin(self, accepted: SagaAccepted) -> None:
        """Remember a saga that was accepted before; this counts nothing."""
        spec = accepted.spec
        labels = tuple([self._step_classes.of(step.class_ref) for step in spec.steps])
        self._forget(spec.id)
        self._courses[spec.id] = _Course(accepted, self._names.of(spec.name), labels)
        self._steps_kept += len(labels)
        while len(self._courses) > 1 and (len(self._courses) > _SAGAS_KEPT or self._steps_kept > _STEPS_KEPT):
            self._forget(next(iter(self._courses)))

    def forget_courses(self) -> None:
        """Forget all sagas that run: what follows are entries of another journal. What is counted stays."""
        self._courses.clear()
        self._steps_kept = 0

    def add(self, saga_id: str, entry: Entry, wall_at: float | None = None) -> None:
        """Count the next entry of the journal. One of a saga whose acceptance is not remembered counts as ``other``.
        ``wall_at``: the machine's time at its writing, by which percentiles know what is recent; durations are told by
        the system's steady clock, which no jump of the machine's moves."""
        at = entry.at if wall_at is None else wall_at
        if isinstance(entry, SagaAccepted):
            self.begin(entry)
        course = self._courses.get(saga_id)
        match entry:
            case SagaAccepted():
                self.sagas[self._names.of(entry.spec.name), SagaEvent.ACCEPTED] += 1
            case AttemptStarted() if course is not None:
                course.current, course.expired = entry, False
                self.last_starts[_label(course, entry.step)] = at
            case AttemptExpired():
                self.kills[_label(course, entry.step), KillCause.TIMEOUT] += 1
                if course is not None:
                    course.expired = True
            case AttemptSucceeded():
                self._ended(course, entry, entry.action, AttemptOutcome.RETURNED, at)
            case AttemptFailed():
                self._failed(course, entry, at)
            case VerdictGiven():
                self._ended(course, entry, Action.VERIFY, _outcome_of(entry, expired=_expired(course)), at)
            case RetryScheduled():
                self.retries[_label(course, entry.step), entry.action] += 1
            case CancelRequested() if course is not None:
                course.cancelled = True
            case SagaCompleted() | SagaCompensated() | SagaParked():
                self._finished(course, entry, at)
                if not isinstance(entry, SagaParked):
                    self._forget(saga_id)
            case _:
                pass

    def _failed(self, course: _Course | None, entry: AttemptFailed, at: float) -> None:
        failure, label = entry.failure, _label(course, entry.step)
        expired = _expired(course)
        self._ended(course, entry, entry.action, _OUTCOMES.get(failure.kind, AttemptOutcome.RAISED), at)
        if failure.kind is FailureKind.INTERRUPTED and not expired:  # what is past its limit is counted by then
            cancelled = course is not None and course.cancelled and entry.action is not Action.COMPENSATE
            self.kills[label, KillCause.CANCEL if cancelled and not entry.lost else KillCause.SYSTEM] += 1
        elif failure.kind is FailureKind.CRASH and failure.signal is not None:
            self.kills[label, KillCause.SIGNAL] += 1
        if entry.action is Action.EXECUTE and course is not None:
            self.doubts[label] += kind_leaves_doubt(failure.kind, atomic=entry.step not in course.not_atomic)

    def _ended(
        self,
        course: _Course | None,
        entry: AttemptSucceeded | AttemptFailed | VerdictGiven,
        action: Action,
        outcome: AttemptOutcome,
        at: float,
    ) -> None:
        label = _label(course, entry.step)
        self.attempts[label, action, outcome] += 1
        if course is None:
            return
        began, course.current, course.expired = course.current, None, False
        if began is not None and (began.step, began.action, began.attempt) == (entry.step, action, entry.attempt):
            durations = self.attempt_durations.setdefault((label, action), Durations())
            durations.add(at, entry.at - began.at)

    def _finished(self, course: _Course | None, entry: SagaCompleted | SagaCompensated | SagaParked, at: float) -> None:
        what = _ENDS[type(entry)]
        name = OTHER if course is None else course.name
        self.sagas[name, what] += 1
        if course is not None:
            durations = self.saga_durations.setdefault((name, what), Durations())
            durations.add(at, entry.at - course.accepted_at)

    def _forget(self, saga_id: str) -> None:
        course = self._courses.pop(saga_id, None)
        if course is not None:
            self._steps_kept -= len(course.step_labels)


def _label(course: _Course | None, step: int) -> str:
    """The label of a step's class. A broken journal may name a step that the saga does not have."""
    return course.step_labels[step] if course is not None and 0 <= step < len(course.step_labels) else OTHER


def _expired(course: _Course | None) -> bool:
    return course is not None and course.expired


def _outcome_of(entry: VerdictGiven, *, expired: bool) -> AttemptOutcome:
    """How ``verify`` ended. The journal has a verdict in either case."""
    if entry.verdict is not Verdict.UNKNOWN or entry.detail is None:
        return AttemptOutcome.RETURNED
    if expired:
        return AttemptOutcome.TIMEOUT
    if entry.traceback is not None:
        return AttemptOutcome.RAISED
    return AttemptOutcome.CRASH if (entry.stack or entry.no_stack) is not None else AttemptOutcome.RETURNED
