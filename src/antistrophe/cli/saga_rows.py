"""Sagas and steps as rows of a table: what a list of them shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.text import Text

from antistrophe.cli import columns, screen
from antistrophe.narration import times
from antistrophe.narration.phrases import how_often
from antistrophe.records import SagaMetadata, SagaStatus, StepRecord, StepStatus

WIDE = 100
"""A terminal with so many columns has room for the names of sagas, and for exact times."""


def saga_lines(sagas: Sequence[SagaMetadata], now: datetime, width: int | None) -> list[Text]:
    """One line for each saga."""
    wide = is_wide(width)
    heads = ["saga", *(["name"] if wide else []), "status", "steps", "changed", "why"]
    rows = [
        [
            screen.safe_line(saga.id),
            *([screen.safe_line(saga.name)] if wide else []),
            screen.status_text(saga.status),
            Text(f"{saga.steps_executed}/{saga.total_steps}"),
            Text(times.moment(saga.updated_at, exact=False) if wide else times.brief(saga.updated_at, now)),
            why(saga, now),
        ]
        for saga in sagas
    ]
    return columns.rows_as_lines(heads, rows, width)


def parked_lines(sagas: Sequence[SagaMetadata], now: datetime, width: int | None) -> list[Text]:
    """One line for each parked saga: for how long, and which undo failed, how often and why."""
    rows = []
    for saga in sagas:
        failed = [step for step in saga.steps if step.status is StepStatus.COMPENSATION_FAILED]
        undo = "; ".join(f"{step.name}{_how_often(step)}: {step.error}" for step in failed)
        since = Text(times.age(now - saga.updated_at))
        text = screen.safe_line(undo) if undo else why(saga, now)
        rows.append([screen.safe_line(saga.id), screen.safe_line(saga.name), since, text])
    return columns.rows_as_lines(["saga", "name", "parked for", "the undo that failed"], rows, width)


def step_lines(steps: Iterable[StepRecord], width: int | None) -> list[Text]:
    """One line for each step of one saga."""
    wide = is_wide(width)
    rows = []
    for step in steps:
        moments = [times.moment(at, date=False) for at in (step.started_at, step.finished_at)] if wide else []
        values = (Text(str(step.attempts)), *map(Text, moments), screen.safe_line(step.error or ""))
        rows.append([Text(str(step.index)), screen.safe_line(step.name), step_status(step), *values])
    heads = ["step", "", "status", "attempts", *(["from", "to"] if wide else []), "why"]
    return columns.rows_as_lines(heads, rows, width, names=1)


def step_status(step: StepRecord) -> Text:
    """The status of a step, and whether it was in doubt once."""
    status = screen.status_text(step.status)
    if step.in_doubt and step.status is not StepStatus.IN_DOUBT:
        status.append(" (was in doubt)", style="yellow")
    return status


def is_wide(width: int | None) -> bool:
    """Whether a terminal has room for more than what has to be shown; a pipe has."""
    return width is None or width >= WIDE


def why(saga: SagaMetadata, beside: datetime) -> Text:
    """Why a saga does not go on: its reason to wait, or its error. A parked saga shows its error first. A moment in it
    has its day where that is not the day of ``beside``."""
    first, second = saga.waiting, saga.error
    if saga.status is SagaStatus.FAILED:
        first, second = second, first
    return screen.safe_line(times.with_local_times(first or second or "", beside=beside))


def _how_often(step: StepRecord) -> str:
    return f" (failed {how_often(step.undo_failures)})" if step.undo_failures else ""
