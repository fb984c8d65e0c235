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

_SAGAS = 1_000
"""Of so many sagas it is known how many entries were confirmed."""


class LastAppend:
    """What a server has to have that this connection has written to."""

    def __init__(self) -> None:
        self._last: tuple[str, int, int] | None = None
        self._sagas: dict[str, tuple[int, float]] = {}

    @property
    def at_s(self) -> float:
        """The time of its entry, in seconds since the epoch."""
        return 0.0 if self._last is None else self.of_saga(self._last[0])[1]

    def confirmed(self, rows: Sequence[Sequence[Any]], position: int) -> None:
        """These rows of the journal are committed, the last of each saga that was written, and the last at that
        position."""
        for saga_id, seq, at_us, *_ in rows:
            self._sagas.pop(saga_id, None)
            self._sagas[saga_id] = seq, at_us / 1e6
        while len(self._sagas) > _SAGAS:
            del self._sagas[next(iter(self._sagas))]
        self._last = rows[-1][0], rows[-1][1], position

    def of_saga(self, saga_id: str) -> tuple[int, float]:
        """The last entry of that saga that was confirmed, and its time, of the sagas that were written last; zeros for
        any other."""
        return self._sagas.get(saga_id, (0, 0.0))

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
