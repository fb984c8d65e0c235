"""`watch`: prints the changes of all sagas as they are committed."""

from __future__ import annotations

import time

import click

from antistrophe.cli import screen
from antistrophe.cli.exit_codes import DONE
from antistrophe.cli.invocation import Invocation, everywhere, pass_invocation
from antistrophe.cli.stored_journal import open_journal
from antistrophe.journal import SqliteJournal
from antistrophe.records import SagaChange

POLL_S = 0.1
PAGE = 1_000


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
    with open_journal(invocation) as journal:
        position = journal.head() if from_position is None else from_position
        try:
            _follow(invocation, journal, position, until_idle)
        except KeyboardInterrupt:  # Ctrl-C is the normal end
            return DONE
    return DONE


def _follow(invocation: Invocation, journal: SqliteJournal, position: int, until_idle: bool) -> None:
    while True:
        # Count first, then read the changes: the changes include every saga that had ended when it was counted.
        idle = not any(number for status, number in journal.counts().items() if status.running)
        changes = journal.changes(position, PAGE)
        for change in changes:
            position = change.position
            _print(invocation, change)
        if changes:
            continue
        if until_idle and idle:
            return
        time.sleep(POLL_S)


def _print(invocation: Invocation, change: SagaChange) -> None:
    saga = change.saga
    if invocation.as_json:
        screen.print_json_line(change)
        return
    line = screen.safe(f"{screen.local_time(saga.updated_at, date=False)}  ", style="dim")
    line.append_text(screen.safe(f"{saga.id}  ", "default not dim"))
    line.append_text(screen.status_text(saga.status))
    line.append(f"  {saga.steps_executed}/{saga.total_steps}", style="default not dim")
    busy = [f"{step.name} {step.status.value.replace('_', ' ')}" for step in saga.steps if step.finished_at is None]
    busy = [each for each in busy if not each.endswith((" pending", " skipped"))]
    for each in (*busy, saga.waiting, saga.error):
        if each:
            line.append("  ").append_text(screen.safe_line(each, "default not dim"))
    screen.output().print(line, soft_wrap=True)
