"""What the shell offers for an id: the sagas of the home that begin with what was typed, the last accepted first."""

from __future__ import annotations

import click

from antistrophe.cli.invocation import Invocation
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
