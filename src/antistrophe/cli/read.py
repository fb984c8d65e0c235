"""`status`, `list`, `show` and `explain`: read the journal, whether a system runs or not."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table

from antistrophe.cli import columns, screen
from antistrophe.cli.completion import saga_ids
from antistrophe.cli.course_drawing import drawing
from antistrophe.cli.entry_rows import entries_table
from antistrophe.cli.exit_codes import DONE
from antistrophe.cli.invocation import Invocation, everywhere, pass_invocation
from antistrophe.cli.limit_lines import limit_line, limit_lines
from antistrophe.cli.saga_rows import parked_lines, saga_lines, step_lines
from antistrophe.cli.told_sagas import in_words, told_by
from antistrophe.client.host_list import LimitsNow, is_worked_on, limits_that_hold_up
from antistrophe.client.stored_home import find_saga, stored_journal, system_state
from antistrophe.launcher.control_protocol import Ready, State
from antistrophe.linux.termination import processes_of_home
from antistrophe.narration import times
from antistrophe.narration.entry_sentences import Sentence
from antistrophe.narration.explanation import Explanation, explain
from antistrophe.narration.json_values import json_value
from antistrophe.records import SagaMetadata, SagaStatus
from antistrophe.saga.course import course_of

STATUS_WORDS = [status.value for status in SagaStatus if status is not SagaStatus.NOT_STARTED]


@click.command("status", short_help="Does the system run, and how many sagas are there?")
@everywhere
@pass_invocation
def status_verb(invocation: Invocation) -> int:
    """Is the actor system running, and how many sagas are there in which status?"""
    with stored_journal(invocation.stored_place()) as journal:
        counts = {status: number for status, number in journal.counts().items() if status.value in STATUS_WORDS}
    system = system_state(invocation.home)
    processes = processes_of_home(invocation.home)
    launcher = system.launcher_pid if isinstance(system, Ready) else None
    running = sum(number for status, number in counts.items() if status.running)
    if invocation.as_json:
        screen.print_json(
            {
                "home": invocation.home,
                "system": None if system is None else {"state": _word(system), "launcher_pid": launcher},
                "processes": processes,
                "running": running,
                "history": sum(counts.values()) - running,
                "sagas": counts,
            }
        )
        return DONE
    up = screen.safe("does not run", "dim")
    if system is not None:
        up = screen.safe(f"{_word(system)}: {len(processes)} processes, launcher {launcher}", "green")
    elif processes:
        up = screen.safe(f"does not answer, but {len(processes)} processes are there; see antistrophe doctor", "red")
    rows: list[tuple[str, Any]] = [("home", invocation.home), ("actor system", up)]
    rows += [(status.value, str(number)) for status, number in counts.items()]
    console = screen.output()
    console.print(screen.pairs(rows))
    if counts[SagaStatus.FAILED]:
        advice = f"\nParked sagas need a person: {invocation.command('list --status failed')}"
        console.print(screen.safe(advice), soft_wrap=True)
    if running and system is None:
        advice = f"\nUnfinished sagas go on when a program opens the home, or now with: {invocation.command('serve')}"
        console.print(screen.safe(advice), soft_wrap=True)
    return DONE


def _word(state: State) -> str:
    return type(state).__name__.lower()


@click.command("list", short_help="List the sagas, the last accepted first.")
@click.option("--status", type=click.Choice(STATUS_WORDS, case_sensitive=False), help="Only sagas of this status.")
@click.option("--name", metavar="NAME", help="Only sagas of this name.")
@click.option("--text", metavar="TEXT", help="Only sagas with TEXT in their id, name, error or reason to wait.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many sagas.")
@click.option("--cursor", metavar="CURSOR", help="The cursor that the page before has shown: go on after it.")
@everywhere
@pass_invocation
def list_verb(
    invocation: Invocation, status: str | None, name: str | None, text: str | None, limit: int, cursor: str | None
) -> int:
    """List the sagas, the last accepted first."""
    wanted = None if status is None else SagaStatus(status)
    with stored_journal(invocation.stored_place()) as journal:
        page = journal.list(status=wanted, name=name, text=text, limit=limit, cursor=cursor)
    if invocation.as_json:
        screen.print_json({"sagas": page.sagas, "cursor": page.cursor})
        return DONE
    console = screen.output()
    if not page.sagas:
        given = {"--status": status, "--name": name, "--text": text, "--cursor": cursor}
        filters = " ".join(shlex.join([option, value]) for option, value in given.items() if value is not None)
        console.print(screen.safe_line(f"no saga for {filters}" if filters else "no saga"), soft_wrap=True)
        return DONE
    lines_of = parked_lines if wanted is SagaStatus.FAILED else saga_lines
    columns.print_lines(console, lines_of(page.sagas, datetime.now(UTC), columns.width_of(console)))
    if page.cursor is not None:
        console.print(screen.safe(f"there are more sagas: --cursor {page.cursor}", style="dim"))
    return DONE


@click.command("show", short_help="Show one saga: its steps, and every entry of its journal.")
@click.argument("saga_id", metavar="ID", shell_complete=saga_ids)
@everywhere
@pass_invocation
def show_verb(invocation: Invocation, saga_id: str) -> int:
    """Show one saga: its steps, and every entry of its journal."""
    with stored_journal(invocation.stored_place()) as journal:
        saga = find_saga(journal, saga_id, invocation.shown_place)
        timeline = journal.timeline(saga_id)
        needs_entries = not invocation.as_json or invocation.place.url is not None
        entries = journal.load(saga_id) if needs_entries else []
        told = told_by(journal, saga_id, timeline)
    limits = limits_that_hold_up(invocation.place, entries)
    if invocation.as_json:
        screen.print_json({"saga": saga, "timeline": timeline, "told_by": told, "limits": limits.limits})
        return DONE
    console = screen.output()
    width = columns.width_of(console)
    spans = course_of(entries)
    console.print(_head(saga, told, limits))
    drawn = list(drawing(saga, spans, time.time(), width))
    if drawn:
        screen.section(console, "Course", drawn)
    screen.section(console, "Steps", step_lines(saga.steps, width))
    screen.section(console, "Journal", entries_table(saga, timeline, width))
    return DONE


def _head(saga: SagaMetadata, told: Sequence[SagaMetadata], limits: LimitsNow) -> Table:
    rows: list[tuple[str, Any]] = [
        ("saga", saga.id),
        ("name", saga.name),
        ("status", screen.status_text(saga.status)),
        ("accepted", times.moment(saga.created_at)),
        ("changed", times.moment(saga.updated_at)),
    ]
    rows += [("error", saga.error)] if saga.error else []
    rows += [("waits", times.with_local_times(saga.waiting))] if saga.waiting else []
    rows += [("limit", limit_line(each, limits.at)) for each in limits.limits]
    rows += [("told", in_words(each)) for each in told]
    return screen.pairs(rows)


@click.command("explain", short_help="Explain what happened to a saga, and what to do.")
@click.argument("saga_id", metavar="ID", shell_complete=saga_ids)
@everywhere
@pass_invocation
def explain_verb(invocation: Invocation, saga_id: str) -> int:
    """Explain in sentences what happened to a saga, why it turned back, what is owed, and what to do now."""
    with stored_journal(invocation.stored_place()) as journal:
        find_saga(journal, saga_id, invocation.shown_place)
        entries = journal.load(saga_id)
    works = system_state(invocation.home) is not None or is_worked_on(invocation.place)
    explanation = explain(entries, system_runs=works)
    limits = limits_that_hold_up(invocation.place, entries)
    if invocation.as_json:
        orders = [invocation.command(order) for order in explanation.orders]
        screen.print_json({**json_value(explanation), "limits": limits.limits, "orders": orders})
    else:
        _print(invocation, explanation, limits)
    return DONE


def _print(invocation: Invocation, explanation: Explanation, limits: LimitsNow) -> None:
    console = screen.output()
    head = screen.safe(explanation.id, style="bold")
    if explanation.name != explanation.id:
        head.append_text(screen.safe(f" ({explanation.name})", style="not bold"))
    console.print(head, "  ", screen.status_text(explanation.status))
    console.print(screen.safe(explanation.standing))
    if limits.limits:
        screen.section(console, "Limits over all hosts", limit_lines(limits.limits, limits.at))
    screen.section(console, "What happened", _story_table(explanation.story))
    if explanation.turned_back is not None:
        screen.section(console, "Why it turned back", screen.safe(explanation.turned_back))
        screen.section(console, "What is owed", screen.paragraphs("\n".join(explanation.owed) or "nothing", 2))
    screen.section(console, "What to do", screen.safe("\n".join(explanation.advice)))
    for order in explanation.orders:
        console.print(screen.safe("  " + invocation.command(order), style="cyan"), soft_wrap=True)


def _story_table(story: Sequence[Sentence]) -> Table:
    """A table of sentences with their times, one a line."""
    made = screen.grid(2)
    made.columns[0].no_wrap, made.columns[0].justify = True, "right"
    for sentence, moment in zip(story, times.moments(each.at for each in story), strict=True):
        made.add_row(screen.safe(moment, style="dim"), screen.paragraphs(sentence.text))
    return made
