"""What the page of one saga shows: its picture, its story, what each step got and gave, and what can be ordered."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from typing import Any

from markupsafe import Markup

from antistrophe.client.stored_home import find_saga
from antistrophe.dashboard.cutting import cut
from antistrophe.dashboard.limits import Limits, limits_now
from antistrophe.dashboard.look import Look
from antistrophe.dashboard.stored import StoredHome
from antistrophe.errors import JournalError
from antistrophe.hosts.limits import limits_on
from antistrophe.narration.explanation import Explanation, explain
from antistrophe.narration.json_values import json_value
from antistrophe.narration.timeline import failure_in_short, timeline_of
from antistrophe.narration.timeline_picture import timeline_picture
from antistrophe.records import SagaMetadata, SagaStatus, StepRecord, StepStatus, TimelineEntry
from antistrophe.saga.entries import Entry, Failure, FailureKind
from antistrophe.saga.resolving import resolvable
from antistrophe.saga.state import Saga, evolve

MOST_BYTES = 16 << 20
"""Of a saga whose entries take more, only the steps are shown: a page of it would help nobody."""

MOST_ATTEMPTS = 50
MOST_ENTRIES = 500
MOST_STEPS = 200
_ORDINARY = (StepStatus.PENDING, StepStatus.SUCCEEDED, StepStatus.COMPENSATED, StepStatus.SKIPPED)
_LEFT_OUT = frozenset({"step", "spec", "lease", "deadline", "boot_id"})


@dataclass(slots=True)
class Attempt:
    """One attempt of a step, as a person reads it. ``seconds`` is None while it runs."""

    action: str
    number: int
    pid: int | None
    began: datetime
    seconds: float | None = None
    how: str = "runs"
    failed: bool = False
    error: str | None = None
    stood: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Step:
    """One step: as monitoring shows it, what it got, what it gave, and its attempts, the last ones."""

    record: StepRecord
    class_ref: str = ""
    input: str | None = None
    output: str | None = None
    events: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class SagaPage:
    """Everything that the page shows. ``explanation`` is None where the saga is too large for a page: ``problem`` says
    so. ``limits``: those that may keep it from its next attempt. ``orders``: `cancel`, `retry`, `resolve`, where they
    are possible now."""

    saga: SagaMetadata
    steps: list[Step]
    picture: Markup | None = None
    explanation: Explanation | None = None
    limits: Limits | None = None
    problem: str | None = None
    steps_left_out: int = 0
    orders: tuple[str, ...] = ()
    resolvable: tuple[str, ...] = ()
    entries: tuple[tuple[TimelineEntry, str, str], ...] = ()
    entries_left_out: int = 0


def saga_page(look: Look, stored: StoredHome, saga_id: str) -> SagaPage:
    """Read one saga. Raises SagaNotFoundError, SagaExistsError where it was purged, and JournalError."""
    saga = find_saga(look.journal, saga_id, stored.where(look))
    steps = [Step(record) for record in saga.steps]
    size = look.database.row("SELECT sum(length(entry)) FROM journal WHERE saga_id = ?", (saga_id,))[0] or 0
    if size > MOST_BYTES:
        problem = f"Its journal has {size:,} bytes, too many for a page: `antistrophe export` writes all of it."
        return SagaPage(saga, steps, problem=problem)
    try:
        return _whole(look, stored, saga, steps)
    except JournalError:
        raise
    except Exception as error:  # what is read is of the right types, and may still make no sense
        return SagaPage(saga, steps, problem=f"Its entries make no sense ({error!r}): `antistrophe doctor` says more.")


def _whole(look: Look, stored: StoredHome, saga: SagaMetadata, steps: list[Step]) -> SagaPage:
    """The page of a saga whose entries make sense."""
    entries, timeline = look.journal.load(saga.id), look.journal.timeline(saga.id)
    _fill(steps, timeline)
    state = _state(entries)
    drawn = timeline_of(entries, time.time())
    return SagaPage(
        saga,
        _worth_showing(steps),
        steps_left_out=max(0, len(steps) - MOST_STEPS),
        picture=None if drawn is None else Markup(timeline_picture(drawn, f"the timeline of saga {saga.id}")),
        explanation=explain(entries, system_runs=stored.standing().works),
        limits=limits_now(stored, look, limits_on(state)),
        orders=_orders(saga, state),
        resolvable=tuple(state.spec.steps[index].name for index in resolvable(state)),
        entries=tuple(_row(entry, saga) for entry in timeline[:MOST_ENTRIES]),
        entries_left_out=max(0, len(timeline) - MOST_ENTRIES),
    )


def _worth_showing(steps: list[Step]) -> list[Step]:
    """Of many steps those that need a look, then the first ones; in their order."""
    looked_for = sorted(steps, key=lambda step: step.record.status in _ORDINARY and not step.record.error)
    return sorted(looked_for[:MOST_STEPS], key=lambda step: step.record.index)


def _state(entries: Sequence[Entry]) -> Saga:
    state = reduce(evolve, entries, None)
    assert state is not None, "a saga that is found has entries"
    return state


def _orders(saga: SagaMetadata, state: Saga) -> tuple[str, ...]:
    possible = {
        "cancel": saga.status is SagaStatus.EXECUTING,
        "retry": saga.status is SagaStatus.FAILED,
        "resolve": bool(resolvable(state)),
    }
    return tuple(order for order, can_be in possible.items() if can_be)


def _fill(steps: list[Step], timeline: Sequence[TimelineEntry]) -> None:
    """Give each step its values and attempts, from the entries of the journal."""
    for entry in timeline:
        data: dict[str, Any] = entry.data
        if entry.kind == "SagaAccepted":
            for step, spec in zip(steps, data["spec"]["steps"], strict=False):
                step.class_ref, step.input = spec["class_ref"], shown(spec["input"])
            continue
        index = data.get("step")
        if not isinstance(index, int) or not 0 <= index < len(steps):
            continue
        if entry.kind == "AttemptStarted":
            _begin(steps[index], entry)
        elif entry.kind in ("AttemptSucceeded", "AttemptFailed", "VerdictGiven"):
            _end(steps[index], entry)


def _begin(step: Step, entry: TimelineEntry) -> None:
    data: dict[str, Any] = entry.data
    step.attempts.append(Attempt(data["action"], data["attempt"], (data.get("lease") or {}).get("pid"), entry.at))
    if len(step.attempts) > MOST_ATTEMPTS:
        del step.attempts[0]
        step.left_out += 1


def _end(step: Step, entry: TimelineEntry) -> None:
    data: dict[str, Any] = entry.data
    if data.get("output") is not None:
        step.output = shown(data["output"])
    if data.get("events"):
        step.events = shown(data["events"])
    attempt = step.attempts[-1] if step.attempts else None
    if attempt is None or attempt.seconds is not None:
        return
    attempt.seconds = max(0.0, (entry.at - attempt.began).total_seconds())
    attempt.how = "returned, as its process wrote down before it died" if data.get("adopted") else "returned"
    if entry.kind == "VerdictGiven":
        attempt.how, attempt.error = str(data["verdict"]).replace("_", " "), data.get("detail")
        attempt.failed = data["verdict"] == "unknown"
    if entry.kind == "AttemptFailed":
        failure = data["failure"]
        attempt.failed, attempt.how = True, failure_in_short(_failure(failure))
        attempt.error = ": ".join(filter(None, (failure["error_type"], failure["error"])))
    for name in ("traceback", "stack"):
        if isinstance(data.get(name), str):
            attempt.stood.append((name, cut(data[name])))
    if data.get("no_stack"):
        attempt.stood.append(("stack", f"not known: {data['no_stack']}"))


def _failure(data: dict[str, Any]) -> Failure:
    return Failure(**{**data, "kind": FailureKind(data["kind"])})


def _row(entry: TimelineEntry, saga: SagaMetadata) -> tuple[TimelineEntry, str, str]:
    """An entry of the journal, the name of its step, and the rest of what it says in one line."""
    index = entry.data.get("step")
    name = saga.steps[index].name if isinstance(index, int) and 0 <= index < len(saga.steps) else ""
    rest = {
        each: json_value(value)
        for each, value in entry.data.items()
        if each not in _LEFT_OUT and value not in (None, "", [], False)
    }
    return entry, name, cut(json.dumps(rest, ensure_ascii=False, default=str), 2_000) if rest else ""


def shown(value: object) -> str:
    """A value as a person reads it: JSON with indents, cut where it is long."""
    return cut(json.dumps(json_value(value), indent=2, ensure_ascii=False, default=str))
