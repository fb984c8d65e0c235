"""Whether the database is of an earlier state than a home has seen, and whether people know it: rows of PostgreSQL.

Each home has a mark there, which grows with each renewal of its lease; and remembers in a file the largest one that was
confirmed. A database whose mark is less was put back: restored to an earlier moment, or replaced by a standby that
lacked the last commits. What sagas did since is not known there, and would be done again. So nothing starts until a
person has acknowledged it.
"""

from __future__ import annotations

import os

from antistrophe.errors import JournalError
from antistrophe.hosts.home_mark import HomeMark
from antistrophe.storage.connection import SqlDatabase

_ID_BYTES = 8


class PutBackError(JournalError):
    """The database is of an earlier state than it was, and nobody has acknowledged that."""


class StoredRestores:
    """The marks and the acknowledgements in one database. Every method raises JournalError where it fails."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    def begin(self, by: str) -> str:
        """Begin to acknowledge a restore, or take part where another call has begun and not come to its end. Returns
        its id. Of any number of calls at the same time one begins. From here on no host works until it is ``done``, so
        a host begins it, too, that finds commits missing."""
        with self._database.transaction():
            self._database.execute("LOCK TABLE antistrophe.restores IN SHARE ROW EXCLUSIVE MODE")
            found = self._database.row("SELECT id FROM antistrophe.restores WHERE NOT done ORDER BY at LIMIT 1")
            if found is not None:
                return str(found[0])
            restore = os.urandom(_ID_BYTES).hex()
            self._database.execute("INSERT INTO antistrophe.restores(id, by) VALUES (?, ?)", (restore, by))
            return restore

    def begun_by(self) -> str | None:
        """Who has begun an acknowledgement that has not come to its end; None where there is none."""
        found = self._database.row("SELECT by FROM antistrophe.restores WHERE NOT done ORDER BY at LIMIT 1")
        return None if found is None else str(found[0])

    def done_since(self, moment_s: float) -> bool:
        """Whether somebody has acknowledged a restore after that moment, in seconds since the epoch."""
        sql = "SELECT FROM antistrophe.restores WHERE done AND at > to_timestamp(?::float8) LIMIT 1"
        return self._database.row(sql, (moment_s,)) is not None

    def is_done(self, restore: str) -> bool:
        """Whether that acknowledgement counts."""
        return self._database.row("SELECT FROM antistrophe.restores WHERE id = ? AND done", (restore,)) is not None

    def done(self, restore: str) -> None:
        """Have the acknowledgement count: each saga that goes on has its entry."""
        self._database.execute("UPDATE antistrophe.restores SET done = true WHERE id = ?", (restore,))

    def known(self, seen: HomeMark) -> HomeMark:
        """What a home may remember from now on: its mark, and the acknowledgements that there are. Raises JournalError
        where the database is behind what the home has ``seen``, and nobody has acknowledged that, and where an
        acknowledgement has begun, and not come to its end."""
        found = self._database.row("SELECT mark FROM antistrophe.homes WHERE id = ?", (seen.home,))
        mark = 0 if found is None else int(found[0])
        restores = [
            each for (each,) in self._database.rows("SELECT id FROM antistrophe.restores WHERE done ORDER BY at")
        ]
        if mark < seen.mark and set(restores) <= set(seen.restores):
            raise behind(self._database.where, mark, seen.mark)
        if (by := self.begun_by()) is not None:
            raise to_acknowledge(self._database.where, by)
        return HomeMark(seen.home, mark, tuple(restores))


def behind(where: str, mark: int, seen: int) -> PutBackError:
    """The error for a database that is of an earlier state than a home has seen it."""
    return PutBackError(
        f"{where} is behind what this home has seen of it (mark {mark:,} after {seen:,}): {_WHY}. Stop all hosts, and"
        f" start one {_HOW}. If it is another database than this home's, choose another home"
    )


def lacks_commits(where: str) -> JournalError:
    """The error for a database that lacks what this host has committed there."""
    return JournalError(
        f"{where} lacks what this host has committed there: {_WHY}. No host works until somebody has acknowledged that:"
        f" stop this one, and start it {_HOW}"
    )


def to_acknowledge(where: str, by: str) -> PutBackError:
    """The error for a database that is known to be of an earlier state, which ``by`` has found or acknowledges now."""
    return PutBackError(
        f"{where} is of an earlier state than it was, as {by} knows: {_WHY}. No host works until all of that is"
        f" acknowledged: stop one, and start it {_HOW}"
    )


_WHY = (
    "it was restored to an earlier moment, or a standby that lacked the last commits has taken over. What sagas did"
    " since is not known there"
)
_HOW = (
    "with --after-restore, or after_restore=True: then every saga that goes on asks verify before a step that may have"
    " been done, runs idempotent ones, and else waits for a person"
)
