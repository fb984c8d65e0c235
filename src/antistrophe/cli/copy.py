"""`copy`: what is in a home's file gets into a database that several hosts share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from antistrophe.cli import screen
from antistrophe.cli.exit_codes import DONE
from antistrophe.cli.invocation import Invocation, everywhere, pass_invocation, url_of_argument
from antistrophe.client.copying import Copying
from antistrophe.settings import Settings
from antistrophe.settings.journal_url import JOURNAL_VARIABLE

if TYPE_CHECKING:
    from antistrophe.moving.copying import CopyReport

_TOLD_EVERY_S = 2.0


@click.command("copy", short_help="Copy the journal of a home into a database of PostgreSQL.")
@click.option(
    "--to",
    metavar="URL",
    callback=lambda _context, _parameter, value: None if value is None else url_of_argument(value, "--to"),
    help=f"The database; by default the one that --journal, --settings or ${JOURNAL_VARIABLE} names.",
)
@click.option(
    "--events",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Copy this event store, a file of its own, and not the home.",
)
@click.option("--dry-run", is_flag=True, help="Copy nothing, and say what would be copied.")
@click.option("--undo", is_flag=True, help="Call off a copy that is not complete: the file is what it was.")
@everywhere
@pass_invocation
def copy_verb(invocation: Invocation, to: str | None, events: Path | None, dry_run: bool, undo: bool) -> int:
    """Copy the journal of a home into a database of PostgreSQL: sagas, events, ids and keys. Only while no system runs.

    All of it counts there at once, when it is complete and was compared with the file; from then on the home is opened
    with the URL. The same call again goes on with a copy that was interrupted. The file is kept, under the name
    journal.moved.db. Nothing in the database is overwritten.
    """
    url = to or invocation.journal_url
    if url is None:
        raise click.UsageError("name the database: --to postgresql://HOST/DATABASE")
    if undo and dry_run:
        raise click.UsageError("--undo calls a copy off, and --dry-run changes nothing: give one of them")
    copying = Copying(invocation.home, url, events)
    if undo:
        copying.call_off()
        if invocation.as_json:
            screen.print_json_line({"called_off": True})
        else:
            screen.output().print(screen.safe("the copy is called off: the file is what it was"), soft_wrap=True)
        return DONE
    report = copying.look() if dry_run else copying.make(invocation.settings() or Settings(), _say, _progress())
    if invocation.as_json:
        screen.print_json_line(asdict(report))
        return DONE
    for line in _lines(report, events):
        screen.output().print(screen.safe(line), soft_wrap=True)
    return DONE


def _say(line: str) -> None:
    screen.errors().print(screen.safe(line), soft_wrap=True)


def _progress() -> Callable[[str, int], None]:
    told_at = time.monotonic()

    def tell(table: str, rows: int) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= _TOLD_EVERY_S:
            told_at = time.monotonic()
            _say(f"{table}: {rows:,} rows")

    return tell


def _lines(report: CopyReport, events: Path | None) -> list[str]:
    """The report in words."""
    word = "would be copied" if report.dry_run else "were copied before" if report.before else "are copied"
    counted = f"{report.events:,} events, {report.snapshots:,} snapshots, {report.keys:,} idempotency keys"
    if events is None:
        counted = (
            f"{report.sagas:,} sagas ({report.live:,} of them go on), {report.entries:,} entries,"
            f" {report.purged:,} ids of purged sagas, {counted}"
        )
    lines = [f"{counted} {word} to {report.database}"]
    if not report.dry_run and not report.before:
        lines[0] += ", and were compared with the file"
    if report.already_there:
        lines.append(f"{report.already_there:,} sagas, streams or keys are there already with the same content")
    for what, grown in (("the journal", report.journal_grown), ("events", report.events_grown)):
        if grown:
            lines.append(f"positions of {what} are larger by {grown:,} there")
    if report.built_anew:
        lines.append(f"these projections are built anew there: {', '.join(report.built_anew)}")
    return lines
