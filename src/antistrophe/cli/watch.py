"""`watch`: prints the changes of all sagas as they are committed."""

from __future__ import annotations

import click
from rich.console import Console
from rich.text import Text

from antistrophe.cli import columns, screen
from antistrophe.cli.exit_codes import DONE, INTERRUPTED
from antistrophe.cli.invocation import Invocation, everywhere, pass_invocation
from antistrophe.client.stored_home import stored_journal
from antistrophe.journal import StoredJournal
from antistrophe.narration import times
from antistrophe.records import SagaMetadata, SagaStatus

POLL_S = 0.1
PAGE = 1_000
WIDEST_STATUS = max(len(status.value) for status in SagaStatus if status is not SagaStatus.NOT_STARTED)


@click.command("watch", short_help="Follow the changes of all sagas.")
@click.option("--until-idle", is_flag=True, help="End as soon as no saga runs.")
@click.option(
    "--from", "from_position", type=click.IntRange(0), help="Show the changes after this position; 0: all changes."
)
@everywhere
@pass_invocation
def watch_verb(invocation: Invocation, until_idle: bool, from_position: int | None) -> int:
    """Follow the changes of all sagas, until Ctrl-C.

    `watch` only reads the journal: it neither starts the actor system nor keeps it running, and goes on when the system
    stops and comes back.
    """
    with stored_journal(invocation.stored_place()) as journal:
        position = journal.head() if from_position is None else from_position
        try:
            _follow(invocation, journal, position, until_idle)
        except KeyboardInterrupt:
            return INTERRUPTED
    return DONE


def _follow(invocation: Invocation, journal: StoredJournal, position: int, until_idle: bool) -> None:
    console = screen.output()
    wide = [0, 0, WIDEST_STATUS, 0]
    while True:
        # Count first, then read the changes: the changes include every saga that had ended when it was counted.
        idle = not any(number for status, number in journal.counts().items() if status.running)
        changes = journal.changes(position, PAGE)
        for change in changes:
            position = change.position
            if invocation.as_json:
                screen.print_json_line(change)
            else:
                _print(console, change.saga, wide)
        if changes:
            continue
        if until_idle and idle:
            return
        screen.pause_while_read(POLL_S)


def _print(console: Console, saga: SagaMetadata, wide: list[int]) -> None:
    """Print one change. The columns are as wide as the widest cell so far."""
    busy = [f"{step.name} {step.status.value.replace('_', ' ')}" for step in saga.steps if step.finished_at is None]
    busy = [each for each in busy if not each.endswith((" pending", " skipped"))]
    waits = saga.waiting and f"waits: {times.with_local_times(saga.waiting, beside=saga.updated_at)}"
    texts = (*busy, waits, saga.error)
    row = [
        screen.safe(times.moment(saga.updated_at, date=False), style="dim"),
        screen.safe_line(saga.id),
        screen.status_text(saga.status),
        Text(f"{saga.steps_executed}/{saga.total_steps}"),
        screen.safe_line(" · ".join(text for text in texts if text)),
    ]
    wide[:] = [max(width, cell.cell_len) for width, cell in zip(wide, row, strict=False)]
    columns.print_lines(console, [columns.row_as_line(row, wide, columns.width_of(console))])
