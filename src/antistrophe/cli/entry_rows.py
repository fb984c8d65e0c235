"""The journal of one saga as a table: every entry, with what it says in short. `--json` shows all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from antistrophe.cli import screen
from antistrophe.cli.columns import can_print
from antistrophe.cli.saga_rows import is_wide
from antistrophe.narration import times
from antistrophe.narration.json_values import json_value
from antistrophe.records import SagaMetadata, TimelineEntry
from antistrophe.saga.entries import SagaAccepted

LONGEST_MOMENT = len("2026-11-29 04:04:56.650")
INDENT = len("2026-11-29 ")
_LEFT_OUT = ("deadline",)  # it follows from the limit


def entries_table(saga: SagaMetadata, timeline: Sequence[TimelineEntry], width: int | None) -> RenderableType:
    """One row for each entry; on a narrow terminal what the entry says stands below."""
    rows = list(_rows(saga, timeline))
    if not is_wide(width):
        return Group(*(part for row in rows for part in _below_each_other(*row)))
    made = screen.table("at", "entry", "step", "what")
    made.columns[0].justify = "right"
    for column in made.columns[:2]:
        column.no_wrap = True
    for moment, kind, name, details in rows:
        made.add_row(moment, kind, name, screen.paragraphs(details))
    return made


def _below_each_other(moment: str, kind: str, name: Text, details: str) -> Iterator[RenderableType]:
    # The steps above have their whole names.
    head = Text(f"{moment:>{LONGEST_MOMENT}}  {kind}", no_wrap=True, overflow="ellipsis" if can_print("…") else "crop")
    yield head.append("  ").append_text(name) if name else head
    if details:
        yield Padding(screen.paragraphs(details), (0, 0, 0, INDENT))


def _rows(saga: SagaMetadata, timeline: Sequence[TimelineEntry]) -> Iterator[tuple[str, str, Text, str]]:
    moments = times.moments(entry.at for entry in timeline)
    for entry, moment in zip(timeline, moments, strict=True):
        data = dict(entry.data)
        step = data.pop("step", None)
        name = saga.steps[step].name if isinstance(step, int) and 0 <= step < len(saga.steps) else ""
        yield moment, entry.kind, screen.safe(name), _details(entry, data)


def _details(entry: TimelineEntry, data: dict[str, object]) -> str:
    """The data of an entry in one line, and below it where its code stood."""
    if entry.kind == SagaAccepted.__name__:
        return ""
    lease = data.pop("lease", None)
    call = [str(json_value(data.pop(name))) for name in ("action", "attempt") if name in data]
    stood = [data.pop(name, None) for name in ("stack", "traceback")]
    if isinstance(lease, dict):
        data["pid"] = lease.get("pid")
    flat = {**data, **(_inner(data.pop("failure", None))), **(_inner(data.pop("cause", None)))}
    flat = {name: value for name, value in flat.items() if name in data or name not in ("failure", "cause")}
    said = {name: json_value(value) for name, value in flat.items() if value not in (None, "", [], False)}
    values = [f"{name}={value}" for name, value in said.items() if name not in _LEFT_OUT]
    line = "  ".join([*([" ".join(call)] if call else []), *values])
    return "\n".join(
        [times.with_local_times(line, exact=True, beside=entry.at), *(text for text in stood if isinstance(text, str))]
    )


def _inner(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        return {}
    inner = dict(value)
    return {**inner, **_inner(inner.pop("failure", None))}
