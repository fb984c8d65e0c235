"""What the shell offers for an id: the sagas of the home that begin with what was typed, the last accepted first. For a
host: the names of the live ones."""

from __future__ import annotations

import click

from antistrophe.cli.invocation import Invocation
from antistrophe.client.host_list import list_hosts
from antistrophe.client.stored_home import stored_journal
from antistrophe.errors import AntistropheError

MOST = 50


def saga_ids(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """At most MOST ids; none where the home can't be read: a shell that completes shows no errors."""
    invocation = context.find_object(Invocation) or Invocation()
    try:
        with stored_journal(invocation.stored_place()) as journal:
            page = journal.list(text=typed or None, limit=MOST)
    except AntistropheError:
        return []
    return [saga.id for saga in page.sagas if saga.id.startswith(typed)]


def host_names(context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
    """The names of the hosts that hold a lease; none where the database can't be read."""
    invocation = context.find_object(Invocation) or Invocation()
    try:
        names = {host.name for host in list_hosts(invocation.place).live}
    except AntistropheError:
        return []
    return sorted(name for name in names if name.startswith(typed))[:MOST]
