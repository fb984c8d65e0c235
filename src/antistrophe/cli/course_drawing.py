"""Draws the course of a saga to scale: a line for each step, forward and back, with what ended each attempt."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

from rich.text import Text

from antistrophe.cli import columns, screen
from antistrophe.cli.saga_rows import step_status
from antistrophe.narration import times
from antistrophe.records import SagaMetadata
from antistrophe.saga.course import End, Span
from antistrophe.saga.entries import Action

PIPE_BARS = 60
"""The width of the drawing where the output is no terminal, in columns."""

LEAST_BARS = 16
LEAST_NAME = 8
_Marks = dict[Action | End, str]
_UNICODE: _Marks = {Action.EXECUTE: "━", Action.COMPENSATE: "┄", Action.VERIFY: "?", End.FAILED: "✗", End.KILLED: "†"}
_ASCII: _Marks = {Action.EXECUTE: "=", Action.COMPENSATE: "-", Action.VERIFY: "?", End.FAILED: "x", End.KILLED: "+"}
_STYLES = {Action.EXECUTE: "green", Action.COMPENSATE: "magenta", Action.VERIFY: "yellow"}


def drawing(saga: SagaMetadata, spans: Sequence[Span], now: float, width: int | None) -> Iterator[Text]:
    """The lines of the drawing. ``now`` (seconds since the epoch) is the end of what still runs."""
    if not spans:
        return
    marks = _UNICODE if columns.can_print("".join(_UNICODE.values())) else _ASCII
    names = [screen.safe_line(step.name) for step in saga.steps]
    states = [step_status(step) for step in saga.steps]
    named, stated = max(name.cell_len for name in names), max(state.cell_len for state in states)
    if width is not None:  # the steps below have their whole names
        named = min(named, max(LEAST_NAME, width - stated - 2 * len(columns.GAP) - LEAST_BARS))
        for name in names:
            name.truncate(named, overflow="ellipsis" if columns.can_print("…") else "crop")
    bars = PIPE_BARS if width is None else max(LEAST_BARS, width - named - stated - 2 * len(columns.GAP))
    began = saga.created_at.timestamp()
    ended = max(now if span.ended_at is None else span.ended_at for span in spans)
    of_steps: dict[int, list[Span]] = defaultdict(list)
    for span in spans:
        of_steps[span.step].append(span)
    scale = _Scale(began, max(ended - began, 0.001), bars)
    yield Text(" " * named + columns.GAP).append(scale.axis(), style="dim")
    for index, (name, state) in enumerate(zip(names, states, strict=True)):
        line = name.copy().append(" " * (named - name.cell_len)).append(columns.GAP)
        line.append_text(scale.bar(of_steps[index], ended, marks))
        yield line.append(columns.GAP).append_text(state)
    yield Text(
        f"{marks[Action.EXECUTE] * 2} forward  {marks[Action.COMPENSATE] * 2} undo  {marks[End.FAILED]} raised"
        f"  {marks[End.KILLED]} killed or died",
        style="dim",
    )


class _Scale:
    """So many columns for so many seconds."""

    def __init__(self, began: float, seconds: float, bars: int) -> None:
        self._began = began
        self._seconds = seconds
        self._bars = bars

    def axis(self) -> str:
        """The beginning, the middle and the end, in words."""
        ends = ["0 s", times.duration(self._seconds / 2), times.duration(self._seconds)]
        first = max(len(ends[0]), self._bars // 2 - len(ends[1]) // 2)
        line = f"{ends[0]:<{first}}{ends[1]}"
        return f"{line:<{max(len(line) + 1, self._bars - len(ends[2]))}}{ends[2]}"

    def bar(self, spans: Sequence[Span], ended: float, marks: _Marks) -> Text:
        """The attempts of one step. Each has one column at least."""
        cells: list[tuple[str, str]] = [(" ", "")] * self._bars
        for span in spans:
            first = self._column(span.began_at)
            last = max(first, math.ceil(self._place(ended if span.ended_at is None else span.ended_at)) - 1)
            for column in range(first, min(last, self._bars - 1) + 1):
                cells[column] = (marks[span.action], _STYLES[span.action])
            if span.end in (End.FAILED, End.KILLED, End.DIED):
                mark = marks[End.FAILED if span.end is End.FAILED else End.KILLED]
                cells[min(last, self._bars - 1)] = (mark, "bold red")
        return Text.assemble(*cells)

    def _place(self, at: float) -> float:
        return (at - self._began) / self._seconds * self._bars

    def _column(self, at: float) -> int:
        return min(max(0, int(self._place(at))), self._bars - 1)
