"""`verify`: shows that a saga can be undone whatever goes wrong, or where it can't."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from antistrophe.cli import screen
from antistrophe.cli.exit_codes import DONE, INTERRUPTED, SAGA_FAILED
from antistrophe.cli.input_file import kept_input, read_lines
from antistrophe.cli.invocation import Invocation, everywhere, pass_invocation
from antistrophe.cli.target import InputError, find_object
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.exception_text import name_and_text
from antistrophe.testing.verification.points import Point
from antistrophe.testing.verification.report import Report
from antistrophe.testing.verification.run import Bounds
from antistrophe.testing.verification.verify import verify_compensable

_BOUNDS = Bounds()


@click.command("verify", short_help="Show that a saga can be undone, or where it can't.")
@click.argument("target", metavar="MODULE:SAGA")
@click.option(
    "--world", metavar="MODULE:CALLABLE", help="Returns a snapshot of everything the saga changes, as plain values."
)
@click.option("--reset", metavar="MODULE:CALLABLE", help="Called before each run: resets the world to its first state.")
@click.option(
    "--input",
    "file",
    metavar="FILE.jsonl",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True, path_type=Path),
    help="SAGA takes a JSON object, as with run; it gets the first line's.",
)
@click.option("--only", metavar="POINT", multiple=True, help="Run only this point, or those of a pattern; repeatable.")
@click.option("--sample", metavar="N", type=click.IntRange(1), help="Run at most N points, drawn at random.")
@click.option("--seed", metavar="N", type=click.IntRange(0), help="Draw the sample of this seed again.")
@click.option(
    "--lines",
    type=click.IntRange(0),
    default=_BOUNDS.lines,
    show_default=True,
    help="Kill each call before so many lines of its code.",
)
@click.option(
    "--limit",
    "total_s",
    metavar="SECONDS",
    type=click.FloatRange(0.0, min_open=True),
    default=_BOUNDS.total_s,
    show_default=True,
    help="Start no further run after so many seconds.",
)
@everywhere
@pass_invocation
def verify_verb(
    invocation: Invocation,
    target: str,
    world: str | None,
    reset: str | None,
    file: Path | None,
    only: tuple[str, ...],
    sample: int | None,
    seed: int | None,
    lines: int,
    total_s: float,
) -> int:
    """Run a saga again and again in real processes. Each time something else goes wrong, and the saga must be undone.

    SAGA is a SagaDefinition, a function that makes one for a saga's id, or, with --input, one for a JSON object. Its
    steps must succeed by themselves. CALLABLE takes nothing, or a saga's id. The saga is run for real: give it a world
    to play with. Without --home the runs use a temporary home.

    Exit code: 0 everything was undone at every point, 1 something was not, 2 wrong use.
    """
    saga = _saga(invocation, target, file)
    try:
        with _shown_progress() as progress, _quiet(invocation):
            report = verify_compensable(
                saga,
                _callable(world),
                invocation.home_option,
                only=only or None,
                reset=_callable(reset),
                bounds=Bounds(lines=lines, total_s=total_s),
                sample=sample,
                seed=seed,
                progress=progress,
            )
    except KeyboardInterrupt:
        return INTERRUPTED
    if invocation.as_json:
        screen.print_json(_plain(report))
    else:
        screen.output().print(report)
    return DONE if report.ok else SAGA_FAILED


def _saga(invocation: Invocation, target: str, file: Path | None) -> SagaDefinition | Callable[[str], SagaDefinition]:
    """The saga that MODULE:SAGA names, or the function that makes it. Raises InputError."""
    with _quiet(invocation):
        _, found = find_object(target, "a SagaDefinition, or a function that returns one")
        if file is not None:
            if not callable(found):
                raise InputError(f"{target} is {type(found).__name__}, not a function of a line's JSON object")
            return _of_line(file, found)
    if isinstance(found, SagaDefinition) or callable(found):
        made: SagaDefinition | Callable[[str], SagaDefinition] = found
        return made
    raise InputError(f"{target} is {type(found).__name__}, not a SagaDefinition or a function that returns one")


def _of_line(file: Path, make: Callable[[dict[str, Any]], Any]) -> SagaDefinition:
    with kept_input(file) as readable:
        line = next(read_lines(readable, make), None)
    if line is None:
        raise InputError(f"{file} has no line")
    if line.saga is None:
        raise InputError(f"{file}:{line.number}: {line.problem}")
    return line.saga


def _callable(target: str | None) -> Callable[..., Any] | None:
    """The function that an option names. Raises InputError."""
    if target is None:
        return None
    _, found = find_object(target, "a function")
    if not callable(found):
        raise InputError(f"{target} is {type(found).__name__}, not a function")

    @functools.wraps(found)
    def call(*arguments: Any) -> Any:
        try:
            return found(*arguments)
        except Exception as error:  # the user's own code
            raise InputError(f"{target} raised {name_and_text(error)}") from error

    return call


@contextlib.contextmanager
def _quiet(invocation: Invocation) -> Iterator[None]:
    """With `--json`, what the user's code prints goes to standard error, because programs read standard output."""
    with contextlib.redirect_stdout(sys.stderr if invocation.as_json else sys.stdout):
        yield


@contextlib.contextmanager
def _shown_progress() -> Iterator[Callable[[Point, int, int], None]]:
    console = screen.errors()
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def show(point: Point, done: int, total: int) -> None:
            progress.update(task, description=point.name, completed=done, total=total or None)

        yield show


def _plain(report: Report) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "saga": report.saga,
        "steps": report.steps,
        "findings": [dataclasses.asdict(finding) | {"replay": finding.replay} for finding in report.findings],
        "points": [
            {
                "point": each.point.name,
                "says": each.point.says,
                "outcome": each.outcome,
                "missed": each.missed,
                "record": each.record,
                "seconds": round(each.seconds, 3),
            }
            for each in report.checked
        ],
        "assumptions": report.assumptions,
        "runs": report.runs,
        "seconds": round(report.seconds, 3),
        "seed": report.seed,
    }
