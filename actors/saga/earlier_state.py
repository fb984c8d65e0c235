"""Notices a database that lacks what this actor has committed there: a standby that lagged behind has taken over.

A fail-over ends every connection. So the last commit is looked for whenever a connection was made anew, and at no other
time. Where it is missing, no host may go on: what the journal does not know would be done again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from antistrophe.actors.base import log
from antistrophe.hosts.stored_restores import StoredRestores, lacks_commits
from antistrophe.journal.postgres_last_append import LastAppend
from antistrophe.storage.postgres_database import PostgresDatabase
from antistrophe.storage.postgres_waiting import BoundedConnection


class EarlierState:
    """Looks with each new connection of the journal. ``opens`` opens another one, and ``host`` names this host."""

    def __init__(self, last: LastAppend, opens: Callable[[], PostgresDatabase], host: str) -> None:
        self._last = last
        self._opens = opens
        self._host = host
        self._begun = False

    def look(self, connection: BoundedConnection) -> None:
        """Raise JournalError where the server lacks the last commit, until a person has acknowledged that."""
        if not self._last.is_missing(connection):
            return
        with closing(self._opens()) as database:
            restores = StoredRestores(database)
            if restores.done_since(self._last.at_s):
                self._last.forget()
                self._begun = False
                return
            error = lacks_commits(database.where)
            if not self._begun:
                restores.begin(f"host {self._host}")
                self._begun = True
                log.error("%s", error)
        raise error
