"""`hosts` and `drain`: the hosts that share a journal in PostgreSQL. They are asked and told by the database alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click
from rich.text import Text

from antistrophe.cli import columns, screen
from antistrophe.cli.completion import host_names
from antistrophe.cli.exit_codes import DONE
from antistrophe.cli.invocation import Invocation, everywhere, pass_invocation
from antistrophe.cli.limit_lines import limit_lines
from antistrophe.cli.saga_rows import is_wide
from antistrophe.client.host_list import drain_host, list_hosts
from antistrophe.client.host_words import ACKNOWLEDGE, PUT_BACK
from antistrophe.hosts.description import HostRecord
from antistrophe.hosts.differences import differences
from antistrophe.narration import times

_STYLES = {"live": "green", "draining": "yellow", "lease is over": "bold red"}


@click.command("hosts", short_help="List the hosts that share a journal in PostgreSQL.")
@click.option("--all", "with_ended", is_flag=True, help="Those whose lease has ended, too, until they are forgotten.")
@everywhere
@pass_invocation
def hosts_verb(invocation: Invocation, with_ended: bool) -> int:
    """List the hosts that share a journal in PostgreSQL: those that hold a lease, with what they have to do; and who
    uses the limits over all hosts, and who waits for them.
    """
    found = list_hosts(invocation.place)
    shown = found.hosts if with_ended else found.live
    if invocation.as_json:
        screen.print_json({"hosts": shown, "limits": found.limits})
        return DONE
    console = screen.output()
    if shown:
        columns.print_lines(console, host_lines(shown, found.at, columns.width_of(console)))
        for each in differences(found.live):
            console.print(screen.safe(f"{each.says}\n→ {each.what_to_do}", style="yellow"), soft_wrap=True)
    else:
        console.print(screen.safe("no host" if with_ended else "no live host (--all shows those that have ended)"))
    if found.put_back_by is not None:
        said = f"no host works: {PUT_BACK} ({found.put_back_by} knows)\n→ {ACKNOWLEDGE}"
        console.print(screen.safe(said, style="bold red"), soft_wrap=True)
    if found.limits:
        screen.section(console, "Limits over all hosts", limit_lines(found.limits, found.at))
    return DONE


def host_lines(hosts: Sequence[HostRecord], now: datetime, width: int | None) -> list[Text]:
    """One line for each host. ``now``: the present moment by the database's clock."""
    wide = is_wide(width)
    heads = ["host", *(["id"] if wide else []), "state", "sagas", "attempts", "seen", "release", "labels"]
    rows = [
        [
            screen.safe_line(host.name),
            *([screen.safe_line(host.id)] if wide else []),
            _state(host, now),
            Text(str(host.sagas)),
            Text(str(host.attempts) if host.ended is None else ""),
            Text(f"{times.age(now - host.seen_at)} ago"),
            screen.safe_line(host.release),
            screen.safe_line(" ".join(sorted(host.labels))),
        ]
        for host in hosts
    ]
    return columns.rows_as_lines(heads, rows, width)


def _state(host: HostRecord, now: datetime) -> Text:
    word = host.state(now)
    return screen.safe_line(word, _STYLES.get(word, "dim"))


@click.command("drain", short_help="Have a host take no more sagas.")
@click.argument("host", metavar="HOST", shell_complete=host_names)
@click.option("--end", is_flag=True, help="End the drain: the host takes sagas again.")
@everywhere
@pass_invocation
def drain_verb(invocation: Invocation, host: str, end: bool) -> int:
    """Have the host of this name or id take no more sagas, before it is stopped for example. It leaves to the other
    hosts what has not begun there, and brings to its end what has begun, compensations too. It is so until its system
    is stopped, or until --end.
    """
    drained = drain_host(invocation.place, host, draining=not end)
    if invocation.as_json:
        screen.print_json({"hosts": drained})
        return DONE
    for each in drained:
        line = f"{each.name} takes sagas again"
        if not end:
            left = invocation.command("hosts")
            line = (
                f"{each.name} takes no more sagas; it has {each.sagas} unfinished ones ({left} shows how many are left)"
            )
        screen.output().print(screen.safe_line(line), soft_wrap=True)
    return DONE
