"""What the page of step classes shows: how often each was tried, how that ended, how long it took."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from antistrophe.dashboard.look import Look
from antistrophe.dashboard.saga_filter import SagaFilter, find
from antistrophe.dashboard.stored import WINDOW_S
from antistrophe.definition.spec import StepSpec
from antistrophe.records import SagaMetadata, StepStatus
from antistrophe.saga.entries import Action
from antistrophe.saga.statistics import AttemptOutcome, SagaStatistics

_LOST = (AttemptOutcome.CRASH, AttemptOutcome.TIMEOUT, AttemptOutcome.NEVER_RAN)
_RECENT_SAGAS = 100
_SPECS_S = 0.1
_NEXT = (StepStatus.PENDING, StepStatus.RUNNING, StepStatus.COMPENSATING)


@dataclass(slots=True)
class StepClass:
    """One step class. ``ref`` names it as the journal does, ``name`` in short. ``attempts`` and what follows count
    `execute`; ``undo`` is how often `compensate` was tried. Percentiles are in seconds, or None."""

    ref: str
    attempts: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    undos: int = 0
    undo_failures: int = 0
    retries: int = 0
    doubts: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    took: tuple[float, ...] | None = None
    undo_took: tuple[float, ...] | None = None
    limits: str = ""
    waiting: int = 0

    @property
    def name(self) -> str:
        """The class without its module."""
        return self.ref.rpartition(":")[2]

    @property
    def crashes(self) -> int:
        """Attempts that lost their process, or were killed."""
        return sum(self.outcomes.get(outcome.value, 0) for outcome in _LOST)

    @property
    def failures(self) -> int:
        """Attempts that did not return."""
        return self.attempts - self.outcomes.get(AttemptOutcome.RETURNED.value, 0)


def step_classes(statistics: SagaStatistics) -> list[StepClass]:
    """The classes that were tried of late, those that fail most first."""
    found: dict[str, StepClass] = {}
    for (label, action, outcome), number in list(statistics.attempts.items()):
        each = found.setdefault(label, StepClass(label))
        if action is Action.EXECUTE:
            each.attempts += number
            each.outcomes[outcome.value] = each.outcomes.get(outcome.value, 0) + number
        elif action is Action.COMPENSATE:
            each.undos += number
            each.undo_failures += 0 if outcome is AttemptOutcome.RETURNED else number
    since = time.time() - WINDOW_S
    for label, each in found.items():
        each.retries = sum(statistics.retries[label, action] for action in Action)
        each.doubts = statistics.doubts[label]
        each.kills = {cause.value: number for (name, cause), number in list(statistics.kills.items()) if name == label}
        took, undo = (
            statistics.attempt_durations.get((label, action)) for action in (Action.EXECUTE, Action.COMPENSATE)
        )
        each.took = None if took is None else took.percentiles(since)
        each.undo_took = None if undo is None else undo.percentiles(since)
    return sorted(found.values(), key=lambda each: (-each.failures - each.undo_failures, -each.attempts, each.ref))


def add_limits(look: Look, classes: list[StepClass]) -> None:
    """Say what limits each class has, as the sagas that were accepted last have it, and how many sagas wait for it."""
    by_ref = {each.ref: each for each in classes}
    until = time.monotonic() + _SPECS_S
    unfinished = find(look.journal, SagaFilter(waiting=True), None, _RECENT_SAGAS).sagas
    names: dict[str, str] = {}
    recent = look.journal.list(limit=_RECENT_SAGAS).sagas
    for saga in (*unfinished, *recent):
        if time.monotonic() > until:
            break
        accepted = look.journal.accepted(saga.id)
        for spec in () if accepted is None else accepted.spec.steps:
            names[spec.name] = spec.class_ref
            if spec.class_ref in by_ref and not by_ref[spec.class_ref].limits:
                by_ref[spec.class_ref].limits = _limits(spec)
    waiting = Counter(names.get(name, "") for name in map(_next_step, unfinished) if name)
    for ref, number in waiting.items():
        if ref in by_ref:
            by_ref[ref].waiting = number


def _limits(spec: StepSpec) -> str:
    said = [
        f"{spec.timeout_s:g} s",
        f"{spec.retry.max_attempts} attempts" if spec.retry.max_attempts > 1 else "1 attempt",
    ]
    said += [f"{spec.max_concurrent} at a time"] if spec.max_concurrent is not None else []
    said += [f"{spec.max_per_second:g} a second"] if spec.max_per_second is not None else []
    said += ["a fresh process"] if spec.fresh_process else ["shared process"] if spec.shared else []
    return ", ".join(said)


def _next_step(saga: SagaMetadata) -> str | None:
    """The name of the step that the saga waits to go on with."""
    return next((step.name for step in saga.steps if step.status in _NEXT), None)
