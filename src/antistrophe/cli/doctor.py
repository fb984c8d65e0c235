"""`doctor`: checks a home from outside, and says what is wrong and what to do."""

from __future__ import annotations

import shlex

import click

from antistrophe.cli import screen
from antistrophe.cli.checks import examine, examine_database
from antistrophe.cli.exit_codes import DONE, SAGA_FAILED
from antistrophe.cli.finding import Finding, Health
from antistrophe.cli.invocation import Invocation, everywhere, pass_invocation
from antistrophe.client.stored_home import system_state
from antistrophe.journal import JournalPlace
from antistrophe.launcher.control_protocol import Ready, unpack_settings
from antistrophe.settings import Settings

MARKS = {Health.WELL: ("ok", "green"), Health.NOTE: ("note", "yellow"), Health.WRONG: ("WRONG", "bold red")}


@click.command("doctor", short_help="Check a home, and say what is wrong.")
@click.option("--all", "all_sagas", is_flag=True, help="Replay every saga, not only the live and the last ones.")
@everywhere
@pass_invocation
def doctor_verb(invocation: Invocation, all_sagas: bool) -> int:
    """Check the home, its processes and its journal, and say what to do. Changes nothing. With --journal and no home:
    the journal in that database, and its hosts.

    Exit code: 0 all is well, 1 something is wrong.
    """
    if invocation.journal_option is not None and not invocation.home.exists():
        home, system = None, None
        findings = examine_database(invocation.place, all_sagas=all_sagas)
    else:
        home = invocation.existing_home()
        place = JournalPlace.of_home(home, invocation.journal_url)
        findings = examine(home, place, all_sagas=all_sagas)
        system = system_state(invocation.home)
    settings = unpack_settings(system.settings).without_secrets() if isinstance(system, Ready) else None
    wrong = any(finding.health is Health.WRONG for finding in findings)
    if invocation.as_json:
        shown = None if settings is None else _values(settings)
        screen.print_json({"home": home, "well": not wrong, "findings": findings, "settings": shown})
    else:
        _print(findings)
        _print_settings(settings)
    return SAGA_FAILED if wrong else DONE


def _values(settings: Settings) -> dict[str, dict[str, object]]:
    return {name: {"value": getattr(settings, name), "from": source} for name, source in settings.sources().items()}


def _print_settings(settings: Settings | None) -> None:
    if settings is None:
        return
    made = screen.grid(3)
    effective = {"max_step_processes": settings.step_processes, "max_async_processes": settings.async_processes}
    for name, each in _values(settings).items():
        value = effective.get(name, each["value"])
        made.add_row(screen.safe(name), screen.safe(_in_words(value)), screen.safe(str(each["from"]), style="dim"))
    screen.section(screen.output(), "Settings of the system that runs", made)


def _in_words(value: object) -> str:
    if value is None:
        return "not set"
    return shlex.join(value) if isinstance(value, tuple) else str(value)


def _print(findings: list[Finding]) -> None:
    made = screen.grid(3)
    for finding in findings:
        word, style = MARKS[finding.health]
        said = screen.safe(finding.says)
        if finding.what_to_do:
            said.append_text(screen.safe(f"\n→ {finding.what_to_do}", style="bold"))
        made.add_row(screen.safe(word, style=style), screen.safe(finding.subject), said)
    screen.output().print(made)
