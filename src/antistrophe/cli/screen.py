"""How output looks: colours, tables, times and JSON, on a terminal and in a pipe."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from antistrophe.records import SagaMetadata, SagaStatus, StepRecord, StepStatus
from antistrophe.serialization.printable import printable

PIPE_WIDTH = 400
"""The width of lines where the output is not a terminal, in columns."""

STYLES: Mapping[str, str] = {
    SagaStatus.NOT_STARTED.value: "dim",
    SagaStatus.EXECUTING.value: "cyan",
    SagaStatus.COMPENSATING.value: "yellow",
    SagaStatus.COMPLETED.value: "green",
    SagaStatus.COMPENSATED.value: "magenta",
    SagaStatus.FAILED.value: "bold red",
    StepStatus.PENDING.value: "dim",
    StepStatus.RUNNING.value: "cyan",
    StepStatus.SUCCEEDED.value: "green",
    StepStatus.IN_DOUBT.value: "bold yellow",
    StepStatus.COMPENSATION_FAILED.value: "bold red",
    StepStatus.SKIPPED.value: "dim",
    StepStatus.RESOLVED.value: "magenta",
}


def output() -> Console:
    """Standard output. A pipe gets no colours, and its lines are not folded to a narrow screen."""
    return Console(markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def errors() -> Console:
    """Standard error: for problems and progress."""
    return Console(
        stderr=True, markup=False, emoji=False, highlight=False, width=None if sys.stderr.isatty() else PIPE_WIDTH
    )


def print_json(value: Any) -> None:
    """Print a value as one JSON document."""
    sys.stdout.write(json.dumps(json_value(value), indent=2) + "\n")


def print_json_line(value: Any) -> None:
    """Print a value as one line of JSON, and flush it: a program may be following."""
    sys.stdout.write(json.dumps(json_value(value)) + "\n")
    sys.stdout.flush()


def json_value(value: Any) -> Any:
    """A value that JSON can hold: times in ISO 8601, durations in seconds, bytes in hexadecimal."""
    if isinstance(value, Enum):
        return json_value(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(json_value(key)): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [json_value(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: json_value(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex()
    return str(value) if isinstance(value, Path) else repr(value)


def safe(text: str, style: str = "") -> Text:
    """A text from anywhere, without control characters but line breaks: it must not control the terminal."""
    return Text(printable(text, keep="\n"), style=style)


def safe_line(text: str, style: str = "") -> Text:
    """The text in one line, without control characters."""
    return safe(" ".join(text.split()), style)


def status_text(status: Enum) -> Text:
    """A status in its colour."""
    word = str(status.value)
    return safe(word.replace("_", " "), style=STYLES.get(word, ""))


def section(console: Console, title: str, body: RenderableType) -> None:
    """Print a part of the output: an empty line, a title, a body."""
    console.print(safe(f"\n{title}", style="bold"))
    console.print(body)


def table(*columns: str) -> Table:
    """An empty table with these columns."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def grid(columns: int) -> Table:
    """An empty table without headers."""
    made = table(*[""] * columns)
    made.show_header = False
    return made


def pairs(rows: Iterable[tuple[str, Any]]) -> Table:
    """A table of names and values, one pair a line."""
    made = grid(2)
    for name, value in rows:
        made.add_row(safe(name, style="dim"), value if isinstance(value, Text) else safe(str(value)))
    return made


def local_time(moment: datetime | None, *, date: bool = True) -> str:
    """A moment in the reader's time zone, to the millisecond; without the day where ``date`` is False."""
    if moment is None:
        return ""
    form = "%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S"
    local = moment.astimezone()
    return f"{local.strftime(form)}.{local.microsecond // 1000:03}"


def sagas_table(sagas: Iterable[SagaMetadata]) -> Table:
    """A table of sagas, one a line."""
    made = table("saga", "name", "status", "steps", "changed", "why")
    for saga in sagas:
        made.add_row(
            safe(saga.id),
            safe(saga.name),
            status_text(saga.status),
            f"{saga.steps_executed}/{saga.total_steps}",
            local_time(saga.updated_at),
            safe(_why(saga)),
        )
    return made


def parked_table(sagas: Iterable[SagaMetadata], now: datetime) -> Table:
    """A table of parked sagas, one a line: for how long, and which undo failed, how often and why."""
    made = table("saga", "name", "parked for", "the undo that failed")
    for saga in sagas:
        failed = [step for step in saga.steps if step.status is StepStatus.COMPENSATION_FAILED]
        undo = "; ".join(f"{step.name}{_how_often(step)}: {step.error}" for step in failed) or _why(saga)
        made.add_row(safe(saga.id), safe(saga.name), age(now - saga.updated_at), safe_line(undo))
    return made


def times(number: int) -> str:
    """`once`, `12 times`."""
    return "once" if number == 1 else f"{number} times"


def _how_often(step: StepRecord) -> str:
    return f" (failed {times(step.undo_failures)})" if step.undo_failures else ""


def age(passed: timedelta) -> str:
    """A duration in its two largest units, such as `2 h 5 min`."""
    parts: list[str] = []
    left = max(0, int(passed.total_seconds()))
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        number, left = divmod(left, seconds)
        if number or (unit == "s" and not parts):
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def _why(saga: SagaMetadata) -> str:
    """Why a saga does not go on: its reason to wait, or its error. A parked saga shows its error first."""
    first, second = saga.waiting, saga.error
    if saga.status is SagaStatus.FAILED:
        first, second = second, first
    return first or second or ""


def steps_table(steps: Iterable[StepRecord]) -> Table:
    """A table of one saga's steps, one a line."""
    made = table("step", "", "status", "attempts", "from", "to", "why")
    for step in steps:
        status = status_text(step.status)
        if step.in_doubt and step.status is not StepStatus.IN_DOUBT:
            status.append(" (was in doubt)", style="yellow")
        made.add_row(
            str(step.index),
            safe(step.name),
            status,
            str(step.attempts),
            local_time(step.started_at, date=False),
            local_time(step.finished_at, date=False),
            safe(step.error or ""),
        )
    return made
