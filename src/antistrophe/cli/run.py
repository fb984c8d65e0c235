"""`run`: one saga for each line of a file, many at a time. A line that was run before is joined, not repeated."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from antistrophe.cli import screen
from antistrophe.cli.batch import Batch, Result, Totals
from antistrophe.cli.exit_codes import DONE, INTERRUPTED, SAGA_FAILED, WRONG_USE
from antistrophe.cli.input_file import count_lines, kept_input, read_lines
from antistrophe.cli.invocation import Invocation, after_restore_option, everywhere, pass_invocation
from antistrophe.cli.target import HOOK, Source, find_source
from antistrophe.client.orchestrator import SagaOrchestrator
from antistrophe.exception_text import name_and_text
from antistrophe.records import SagaStatus
from antistrophe.settings import Settings

MOST_AT_A_TIME = 1_000
EXAMPLES_SHOWN = 3
TOLD_EVERY_S = 5.0
"""Where no bar can be drawn, a line says so often how far the run has come."""


@click.command("run", short_help="Run one saga for each line of a file.")
@click.argument("target", metavar="MODULE:SAGA")
@click.option(
    "--input",
    "file",
    required=True,
    metavar="FILE.jsonl",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True, path_type=Path),
    help="One JSON object a line; each line is one saga. - is the standard input.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, MOST_AT_A_TIME),
    help="How many sagas run at the same time; by default as many as the system runs (max_running_sagas).",
)
@click.option(
    "--allow-compensated",
    is_flag=True,
    help="Count a compensated saga as done: the exit code is 1 only where a saga is parked.",
)
@after_restore_option
@everywhere
@pass_invocation
def run_verb(
    invocation: Invocation,
    target: str,
    file: Path,
    concurrency: int | None,
    allow_compensated: bool,
    after_restore: bool,
) -> int:
    """Run one saga for each line of a file.

    MODULE is a dotted module or the path of a .py file, both as seen from the current folder. SAGA is a function in it:
    it gets a line's JSON object as a dict, and returns a SagaDefinition.

    A line whose saga has finished gives its recorded outcome; a line whose saga is live waits for that saga. So a run
    that was killed goes on when you run it again. A wrong line is reported, and the other lines still run.

    If the module has a function after_run, it is called at the end with a dict from each saga's id to its SagaStatus.
    What it returns (a text, or a mapping) is printed; if it raises, the run has failed.

    Exit code: 0 every saga completed, 1 a saga was compensated or is parked, 2 a line was wrong.
    """
    source = _quietly(invocation, lambda: find_source(target))
    with kept_input(file) as readable:
        run = _Run(invocation, source, file, readable)
        began = time.monotonic()
        try:
            run.go(concurrency, after_restore=after_restore)
        except KeyboardInterrupt:
            run.say_how_to_go_on()
            return INTERRUPTED
    return run.finish(time.monotonic() - began, allow_compensated=allow_compensated)


class _Run:
    """One call of the verb."""

    def __init__(self, invocation: Invocation, source: Source, file: Path, readable: Path) -> None:
        """``file`` as people know it; its lines are read at ``readable``."""
        self._invocation = invocation
        self._source = source
        self._file, self._readable = file, readable
        self._totals = Totals()
        self._total = count_lines(readable)
        self._told: set[str] = set()
        self._errors = screen.errors()
        self._tell_at = time.monotonic() + TOLD_EVERY_S

    def go(self, concurrency: int | None, *, after_restore: bool) -> None:
        """Run every line. A wrong line is reported at once."""
        settings = self._invocation.settings()
        at_a_time = concurrency or min((settings or Settings()).max_running_sagas, MOST_AT_A_TIME)
        lines = read_lines(self._readable, self._make)
        with ExitStack() as stack:
            # These are closed in the opposite order: closing the orchestrator ends the waits in the pool's threads.
            progress = stack.enter_context(self._progress())
            pool = stack.enter_context(ThreadPoolExecutor(at_a_time, "antistrophe-run"))
            orchestrator = stack.enter_context(
                SagaOrchestrator(
                    self._invocation.home,
                    settings=settings,
                    journal=self._invocation.journal_option,
                    after_restore=after_restore,
                )
            )
            batch = Batch(orchestrator, pool, at_a_time)
            task = progress.add_task("", total=self._total, totals="")
            for result in batch.run(lines):
                if result is None:
                    self._tell_once(batch.waiting())
                else:
                    self._take(result, progress, task)

    def _make(self, fields: dict[str, Any]) -> Any:
        return _quietly(self._invocation, lambda: self._source.make(fields))

    def _take(self, result: Result, progress: Progress, task: TaskID) -> None:
        totals = self._totals
        totals.add(result)
        if result.status is None:
            self._errors.print(screen.safe_line(f"{self._file}:{result.line}: {result.error}", "red"), soft_wrap=True)
        if self._invocation.as_json:
            word = "wrong" if result.status is None else result.status.value
            screen.print_json_line({"line": result.line, "id": result.saga_id, "status": word, "error": result.error})
        text = f"{totals.completed} completed · {totals.compensated} compensated · {totals.parked} parked"
        progress.update(task, completed=totals.done, totals=text)
        if progress.disable and time.monotonic() >= self._tell_at:
            self._tell_at = time.monotonic() + TOLD_EVERY_S
            self._errors.print(screen.safe(f"{totals.done} of {self._total}: {text}"), soft_wrap=True)

    def _tell_once(self, waiting: str | None) -> None:
        if waiting is not None and waiting not in self._told:
            self._told.add(waiting)
            self._errors.print(screen.safe_line(waiting, "yellow"), soft_wrap=True)

    def _progress(self) -> Progress:
        return Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[totals]}"),
            console=self._errors,
            transient=True,
            disable=not self._errors.is_terminal,
        )

    # --- the end -----------------------------------------------------------------------------------------------

    def say_how_to_go_on(self) -> None:
        """After Ctrl-C."""
        self._errors.print(
            screen.safe(
                f"stopped: {self._totals.done} of {self._total} lines are settled. Sagas that were started go on when"
                " the home is opened again; run the same command again to wait for them and to run the rest"
            ),
            soft_wrap=True,
        )

    def finish(self, seconds: float, *, allow_compensated: bool) -> int:
        """Print the results, and return the exit code."""
        totals = self._totals
        said, failure = self._after_run()
        if self._invocation.as_json:
            self._print_summary_line(seconds, said, failure)
        else:
            self._print_summary(seconds, said)
        if failure is not None:
            self._errors.print(screen.safe_line(failure, "bold red"), soft_wrap=True)
        if totals.wrong:
            return WRONG_USE
        undone = 0 if allow_compensated else totals.compensated
        return SAGA_FAILED if undone or totals.parked or failure is not None else DONE

    def _after_run(self) -> tuple[Any, str | None]:
        hook = self._source.after_run
        if hook is None:
            return None, None
        try:
            return _quietly(self._invocation, lambda: hook(dict(self._totals.statuses))), None
        except Exception as error:  # the user's own code
            return None, f"{HOOK}: {name_and_text(error)}"

    def _print_summary_line(self, seconds: float, said: Any, failure: str | None) -> None:
        totals = self._totals
        summary = {
            "completed": totals.completed,
            "compensated": totals.compensated,
            "parked": totals.parked,
            "wrong": totals.wrong,
            "seconds": round(seconds, 3),
            HOOK: said,
            "error": failure,
        }
        screen.print_json_line({"summary": summary})

    def _print_summary(self, seconds: float, said: Any) -> None:
        totals = self._totals
        rows: list[tuple[str, Any]] = [
            ("completed", screen.safe(str(totals.completed), style="green")),
            ("compensated", screen.safe(str(totals.compensated), style="magenta" if totals.compensated else "")),
            ("parked", screen.safe(str(totals.parked), style="bold red" if totals.parked else "")),
        ]
        if totals.wrong:
            rows.append(("wrong lines", screen.safe(str(totals.wrong), style="bold red")))
        console = screen.output()
        console.print(screen.safe(f"{self._total} lines in {seconds:.1f} s", style="bold"))
        console.print(screen.pairs(rows))
        if totals.reasons:
            reasons = screen.table("why", "sagas", "such as")
            for why, ids in sorted(totals.reasons.items(), key=lambda item: -len(item[1])):
                reasons.add_row(screen.safe(why), str(len(ids)), screen.safe(", ".join(ids[:EXAMPLES_SHOWN])))
            screen.section(console, "Why they turned back", reasons)
        parked = [saga_id for saga_id, status in totals.statuses.items() if status is SagaStatus.FAILED]
        if parked:
            lines = [screen.safe("  " + self._invocation.command("explain", each)) for each in parked[:EXAMPLES_SHOWN]]
            screen.section(console, "Parked sagas need a person; these commands say what to do", Group(*lines))
        if isinstance(said, Mapping):
            screen.section(console, "After the run", screen.pairs((str(name), value) for name, value in said.items()))
        elif said is not None:
            console.print(screen.safe(f"\n{said}"))


def _quietly(invocation: Invocation, call: Any) -> Any:
    """Call the user's code. With `--json`, what it prints goes to standard error, because programs read the output."""
    with contextlib.redirect_stdout(sys.stderr if invocation.as_json else sys.stdout):
        return call()
