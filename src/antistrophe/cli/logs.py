"""`logs`: what the attempts of a saga have logged and printed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import tee

import click
from rich.text import Text

from antistrophe.cli import columns, screen
from antistrophe.cli.completion import saga_ids
from antistrophe.cli.exit_codes import DONE, INTERRUPTED
from antistrophe.cli.invocation import Invocation, everywhere, pass_invocation
from antistrophe.client.stored_home import find_saga, stored_journal
from antistrophe.journal import StoredJournal
from antistrophe.logs.reading import StepLogReader
from antistrophe.narration import times
from antistrophe.records import LogRecord

POLL_S = 0.1
_INDENT = "    "
_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red", "stderr": "yellow"}


@click.command("logs", short_help="Show what the steps of a saga have logged and printed.")
@click.argument("saga_id", metavar="ID", shell_complete=saga_ids)
@click.option("-f", "--follow", is_flag=True, help="Go on until the saga has ended or is parked.")
@everywhere
@pass_invocation
def logs_verb(invocation: Invocation, saga_id: str, follow: bool) -> int:
    """Show what the attempts of a saga have logged and printed: one line for each record, or with `--json` one object.

    What is kept is bounded (`step_log_bytes`), so of a saga of long ago there may be nothing left.
    """
    with stored_journal(invocation.stored_place()) as journal:
        find_saga(journal, saga_id, invocation.shown_place)
        reader = StepLogReader(invocation.home, saga_id)
        records = _following(journal, reader, saga_id) if follow else iter(reader.more())
        try:
            shown = _print_json(records) if invocation.as_json else _print(records)
        except KeyboardInterrupt:
            return INTERRUPTED
    if not shown and not invocation.as_json:
        screen.output().print("its steps have logged and printed nothing, or so long ago that it is not kept any more")
    return DONE


def _following(journal: StoredJournal, reader: StepLogReader, saga_id: str) -> Iterator[LogRecord]:
    while True:
        # Look at the saga first, then at the log: it has all of a saga that had ended by then.
        saga = journal.metadata(saga_id)
        found = reader.more()
        yield from found
        if not found:
            if saga is None or not saga.status.running:
                return
            screen.pause_while_read(POLL_S)


def _print_json(records: Iterator[LogRecord]) -> bool:
    shown = False
    for record in records:
        screen.print_json_line(record)
        shown = True
    return shown


def _print(records: Iterator[LogRecord]) -> bool:
    """Print the records. The columns are as wide as the widest cell so far."""
    console, wide, shown = screen.output(), [0, 0, len("stdout")], False
    told, moments = tee(records)
    for record, moment in zip(told, times.moments(record.at for record in moments), strict=True):
        how = record.level or record.source
        first, *others = record.text.split("\n")
        row = [
            screen.safe(moment, style="dim"),
            screen.safe_line(f"{record.step_name} {record.action} {record.attempt}"),
            screen.safe_line(how, style=_STYLES.get(how, "dim")),
            screen.safe(first),
        ]
        wide[:] = [max(width, cell.cell_len) for width, cell in zip(wide, row, strict=False)]
        more = [Text(_INDENT).append_text(screen.safe(each)) for each in others]
        columns.print_lines(console, [columns.row_as_line(row, wide, None), *more])
        shown = True
    return shown
