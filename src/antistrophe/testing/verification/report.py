"""The report of a verification: each injection with its outcome, and each finding with the way to see it again."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from antistrophe.serialization.printable import printable
from antistrophe.testing.verification.points import Point

PRINTED_WIDTH = 110
MOST_NAMED = 3
KILL_LINE = "kill-line-"


class Kind(str, Enum):
    """What is wrong."""

    RESIDUE = "residue"
    NOT_IDEMPOTENT = "undo not idempotent"
    NEEDS_OUTPUT = "undo needs an output that it does not have in doubt"
    FAILS_IN_DOUBT = "undo fails in doubt"
    WRONG_ORDER = "wrong order"
    PAIR = "steps that can't be undone together"
    REPEATED = "execute not idempotent"
    PARKED = "parked"
    STUCK = "stuck"
    NOT_COMPLETED = "fails by itself"


WHAT_TO_DO: dict[Kind, str] = {
    Kind.RESIDUE: (
        "Let the undo take back exactly what execute did, and do nothing where execute did nothing: mark the effect"
        " with ctx.idempotency_key in execute, and look for ctx.forward_key in compensate."
    ),
    Kind.NOT_IDEMPOTENT: (
        "An undo runs again when nobody knows whether it has run. Let the undo find out what is left to do (by"
        " ctx.forward_key), or record under ctx.idempotency_key, together with its effect, that the undo is done."
    ),
    Kind.NEEDS_OUTPUT: (
        "In doubt ctx.output is None, because nobody knows what execute returned. Store what the undo needs under"
        " ctx.idempotency_key, together with the effect itself, and find it by ctx.forward_key."
    ),
    Kind.FAILS_IN_DOUBT: (
        "In doubt (ctx.in_doubt) execute may or may not have taken effect. The undo has to succeed in both cases, and"
        " to do nothing where there is nothing to undo."
    ),
    Kind.WRONG_ORDER: (
        "Undos run in the reverse order of the steps, so the effect of a later step is gone by then. Let the undo use"
        " only what its own step left, or swap the steps."
    ),
    Kind.PAIR: (
        "The undo of the first step works only as long as the second step has not run. Put the second step behind every"
        " step that may still fail, let its undo restore what the first needs, or give the first another undo."
    ),
    Kind.REPEATED: (
        "The step says idempotent = True, so execute runs again in doubt; but two runs do more than one. Do the work"
        " under ctx.idempotency_key, or remove idempotent = True."
    ),
    Kind.PARKED: "The undo fails for good, and the saga waits for an operator: see the error.",
    Kind.STUCK: (
        "The saga neither ended nor was parked within run_s: look for long waits between attempts, or raise run_s."
    ),
    Kind.NOT_COMPLETED: "Verify a saga whose steps succeed when nothing is injected. No other point was run.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    ``step``: the step whose undo (or ``execute``) is to blame, or None if nobody can tell. ``other``: the step that it
    can't be combined with, if there is one. ``injection``: what was injected. ``says``: what happened then.
    ``residue``: how the world after the run differs from the world before. ``point``: the name of the injection.
    ``traceback``: where the call that failed has raised, as a text, or None.
    ``replay``: the arguments that run this point again::

        again = verify_compensable(saga, world, **finding.replay)
    """

    kind: Kind
    point: str
    step: str | None
    other: str | None
    injection: str
    says: str
    residue: tuple[str, ...]
    what_to_do: str
    saga_id: str
    traceback: str | None = None

    @property
    def replay(self) -> dict[str, Any]:
        return {"only": self.point}

    def __str__(self) -> str:
        where = "" if self.step is None else f" ({self.step})"
        return "\n".join([f"{self.kind.value}{where}: {self.injection}, and {self.says}", *self.residue])


@dataclass(frozen=True, slots=True)
class Checked:
    """One injection and its outcome, in the run with that saga id. ``finding``: what is wrong, or None. ``missed``: why
    the injection did not happen, or None. ``record``: the last entry of the saga's journal when the supervisor was
    killed, counted from 1."""

    point: Point
    finding: Finding | None = None
    missed: str | None = None
    saga_id: str | None = None
    record: int | None = None
    seconds: float = 0.0

    @property
    def outcome(self) -> str:
        """``undone``, the kind of what is wrong, or ``missed``."""
        if self.finding is not None:
            return self.finding.kind.value
        return "undone" if self.missed is None else "missed"

    @property
    def well(self) -> bool:
        return self.finding is None and self.missed is None


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a verification. Printed, it is a report for people.

    ``ok``: every injection happened, and left the world as it was. ``checked``: every point, in the order of the runs.
    ``assumptions``: what was taken on trust. ``runs``: how many sagas were run, including those that only served to
    explain a finding. ``seed``: the seed of the sample, if a sample was drawn.

    An example, in a test::

        report = verify_compensable(order, world)
        assert report.ok, report
    """

    saga: str
    steps: tuple[str, ...]
    checked: tuple[Checked, ...]
    assumptions: tuple[str, ...]
    runs: int
    seconds: float
    seed: int | None = None

    @property
    def ok(self) -> bool:
        return bool(self.checked) and all(each.well for each in self.checked)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that is wrong, in the order of the runs."""
        return tuple(each.finding for each in self.checked if each.finding is not None)

    @property
    def missed(self) -> tuple[Checked, ...]:
        """The injections that did not happen, and so prove nothing."""
        return tuple(each for each in self.checked if each.missed is not None and each.finding is None)

    def __str__(self) -> str:
        return self.text(PRINTED_WIDTH)

    def __rich__(self) -> RenderableType:
        return Group(*_parts(self))

    def text(self, width: int) -> str:
        """The report as plain text, in lines of at most ``width`` characters."""
        console = Console(file=io.StringIO(), width=width, highlight=False, color_system=None)
        with console.capture() as captured:
            console.print(self)
        return "\n".join(line.rstrip() for line in captured.get().splitlines())


# --- how it looks -------------------------------------------------------------------------------------------------


def _parts(report: Report) -> Iterator[RenderableType]:
    yield _headline(report)
    for title, rows in _tables(report):
        yield Text(f"\n{title}", style="bold")
        yield _table(rows)
    for number, group in enumerate(_grouped(report.findings), start=1):
        yield from _finding(number, group)
    if report.missed:
        yield Text("\nInjections that did not happen, and so prove nothing", style="bold yellow")
        yield from (_indented(f"{each.point.name}: {each.missed}") for each in report.missed)
    if report.assumptions:
        yield Text("\nTaken on trust", style="bold")
        yield from (_indented(each) for each in report.assumptions)
    if report.seed is not None:
        yield Text(f"\nA sample of the points was run, drawn with seed {report.seed}.")


def _headline(report: Report) -> Text:
    points, runs = _number(len(report.checked), "point"), _number(report.runs, "run")
    took = f"{points}, {runs}, {report.seconds:.1f} s"
    if report.ok:
        return Text.assemble((f"{report.saga} can be undone: ", "bold green"), took)
    kinds = ", ".join(dict.fromkeys(finding.kind.value for finding in report.findings)) or "injections did not happen"
    return Text.assemble((f"{report.saga} failed the verification: ", "bold red"), f"{kinds} ({took})")


def _tables(report: Report) -> Iterator[tuple[str, list[tuple[str, list[Checked]]]]]:
    titles = {
        "execute": "Injected into execute",
        "compensate": "Injected into the undo",
        "supervisor": "Kills of the supervisor and of all processes",
    }
    for area, title in titles.items():
        rows: dict[str, list[Checked]] = {}
        for each in report.checked:
            if each.point.area == area:
                name = report.steps[each.point.step] if each.point.step < len(report.steps) else "(after all steps)"
                rows.setdefault(name, []).append(each)
        if rows:
            yield title, list(rows.items())


def _table(rows: list[tuple[str, list[Checked]]]) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("step", "injected", "", "outcome"):
        made.add_column(column, overflow="fold")
    for name, checked in rows:
        wells = [each.point.label for each in checked if each.well]
        if wells:
            made.add_row(Text(name), Text(_joined(wells)), Text("ok", style="green"), "undone")
            name = ""
        for (sign, outcome), labels in _bad(checked).items():
            style = "bold red" if sign == "X" else "yellow"
            made.add_row(Text(name), Text(_joined(labels)), Text(sign, style=style), Text(outcome, style=style))
            name = ""
    return made


def _joined(labels: list[str]) -> str:
    """The labels as one text; the labels of lines are joined to one word."""
    lines = [label.rpartition("-")[2] for label in labels if label.startswith(KILL_LINE)]
    words = [label for label in labels if not label.startswith(KILL_LINE)]
    return ", ".join([*words, *([KILL_LINE + "/".join(lines)] if lines else [])])


def _bad(checked: list[Checked]) -> dict[tuple[str, str], list[str]]:
    """The labels of the points that are not well, by sign and outcome."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in checked:
        if each.finding is not None:
            found.setdefault(("X", each.finding.kind.value), []).append(each.point.label)
        elif each.missed is not None:
            found.setdefault(("?", "did not happen"), []).append(each.point.label)
    return found


def _grouped(findings: tuple[Finding, ...]) -> list[list[Finding]]:
    groups: dict[tuple[Kind, str | None, str | None], list[Finding]] = {}
    for each in findings:
        groups.setdefault((each.kind, each.step, each.other), []).append(each)
    return list(groups.values())


def _finding(number: int, group: list[Finding]) -> Iterator[RenderableType]:
    first = group[0]
    names = " and ".join(name for name in (first.step, first.other) if name is not None)
    yield Text(f"\n{number}. {first.kind.value}{': ' if names else ''}{names}", style="bold red")
    yield _indented(f"{first.injection}, and {first.says}")
    for line in first.residue:
        yield _indented(line, by=6, style="yellow")
    if first.traceback is not None:
        yield _indented(first.traceback, by=6, style="dim")
    yield _indented(first.what_to_do, style="italic")
    yield _indented(f"run it again: verify_compensable(saga, world, only={first.point!r})")
    if len(group) > 1:
        named = ", ".join(each.point for each in group[1 : 1 + MOST_NAMED])
        more = len(group) - 1 - MOST_NAMED
        yield _indented(f"also at {named}" + (f" and {more} more" if more > 0 else ""), style="dim")


def _indented(text: str, by: int = 3, style: str = "") -> Padding:
    """The text, indented. Control characters are shown as escapes: the text may come from anywhere."""
    return Padding(Text(printable(text, keep="\n"), style=style), (0, 0, 0, by), expand=False)


def _number(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
