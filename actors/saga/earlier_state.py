"""Notices a database that lacks what this actor has committed there: a standby that lagged behind has taken over.

A fail-over ends every connection. So the last commit is looked for whenever a connection was made anew; and a saga that
has fewer entries than were committed, or another last one, says it as well. Then no host may go on: what the journal
does not know would be done again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from antistrophe.actors.base import log
from antistrophe.hosts.stored_restores import StoredRestores, lacks_commits
from antistrophe.journal import SeqConflictError
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
        if self._last.is_missing(connection):
            self._refuse_unless_known(self._last.at_s)
            self._last.forget()

    def conflict(self, error: SeqConflictError) -> None:
        """Raise JournalError where a saga has fewer entries than this actor has committed, or another one in the place
        of the last. So it is noticed behind a pooler, too, whose connection outlasts a fail-over."""
        seq, at_s = self._last.of_saga(error.saga_id)
        if error.actual < seq or error.actual == error.expected == seq:
            self._refuse_unless_known(at_s)

    def _refuse_unless_known(self, lost_s: float) -> None:
        """``lost_s``: the time of an entry that is missing."""
        with closing(self._opens()) as database:
            restores = StoredRestores(database)
            if restores.done_since(lost_s):
                self._begun = False
                return
            error = lacks_commits(database.where)
            if not self._begun:
                restores.begin(f"host {self._host}")
                self._begun = True
                log.error("%s", error)
        raise error
