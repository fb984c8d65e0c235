"""The last append of one connection that was confirmed, and whether a server has it: one that took over, or was put
back, may lack it, and with it what was committed just before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from antistrophe.journal.tombstones import digest_of
from antistrophe.storage.portable_sql import for_postgres
from antistrophe.storage.postgres_waiting import BoundedConnection

# A saga that was purged since has left its tombstone. A standby lags behind, and is none that takes over.
_IS_THERE = for_postgres(
    "SELECT pg_is_in_recovery() OR EXISTS (SELECT FROM journal WHERE saga_id = ? AND seq = ? AND position = ?)"
    " OR EXISTS (SELECT FROM purged WHERE id_digest = ?)"
)


class LastAppend:
    """What a server has to have that this connection has written to."""

    def __init__(self) -> None:
        self._last: tuple[str, int, int] | None = None
        self._at_us = 0

    @property
    def at_s(self) -> float:
        """The time of its entry, in seconds since the epoch."""
        return self._at_us / 1e6

    def confirmed(self, row: Sequence[Any], position: int) -> None:
        """That row of the journal is committed, at that position."""
        self._last, self._at_us = (row[0], row[1], position), row[2]

    def forget(self) -> None:
        """Whoever has to know that it is missing knows it."""
        self._last = None

    def is_missing(self, connection: BoundedConnection) -> bool:
        """Whether the server of that connection lacks it."""
        if self._last is None:
            return False
        with psycopg.RawCursor(connection, row_factory=tuple_row) as cursor:
            values = (*self._last, digest_of(self._last[0]))
            found = cursor.execute(_IS_THERE, values, binary=True).fetchone()
        return found is None or not found[0]
