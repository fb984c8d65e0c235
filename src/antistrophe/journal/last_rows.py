"""Keeps the rows with the last positions of a SQLite file, where their saga is purged.

SQLite gives the position behind the largest one. So the row with the last position stays: alone, without a saga, until
another row is behind it. Of a saga's events the last one of the file stays in the same way. PostgreSQL draws positions
from sequences, which give none twice, so nothing has to stay there.
"""

from __future__ import annotations

from typing import Any, Protocol

from antistrophe.saga.entries import SagaCompensated, SagaCompleted
from antistrophe.storage.connection import SqlDatabase
from antistrophe.storage.database import Database

NO_SAGA = b""
"""The saga of the row that keeps the last position. No text is equal to it."""

_LAST_ENTRIES = (SagaCompleted.__name__, SagaCompensated.__name__)
OF_SAGAS_ALONE = "NOT EXISTS (SELECT 1 FROM events AS others WHERE others.stream = ? AND others.event_id IS NULL)"
"""Whether a stream, whose name is the value, has no event but those of sagas."""

_ALL_OF_SAGAS = "SELECT min(CASE WHEN event_id IS NULL THEN 0 ELSE 1 END) FROM events WHERE stream = ?"


class LastRows(Protocol):
    """What a purge leaves of the rows with the last positions. Everything is called within its transaction."""

    def begin(self, *, events: bool) -> None:
        """A purge begins to delete, ``events`` as well. What an earlier one has left may go now."""

    def may_go(self, saga_id: str) -> bool:
        """Whether the saga may be purged now."""

    def keep(self, saga_id: str) -> None:
        """The entries of that saga are deleted next."""

    def delete_events(self, stream: str) -> None:
        """Delete the events of a saga, and the snapshots of its stream. A stream that has other events as well is an
        application's own, and stays."""


def last_rows_of(database: SqlDatabase) -> LastRows:
    """Those of that database."""
    return _KeptRows(database) if isinstance(database, Database) else _NoKeptRows(database)


class _NoKeptRows:
    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    def begin(self, *, events: bool) -> None:
        """See ``LastRows``."""

    def may_go(self, saga_id: str) -> bool:
        """See ``LastRows``."""
        return True

    def keep(self, saga_id: str) -> None:
        """See ``LastRows``."""

    def delete_events(self, stream: str) -> None:
        """See ``LastRows``."""
        if self._database.row(_ALL_OF_SAGAS, (stream,))[0] == 1:
            self._database.execute("DELETE FROM events WHERE stream = ? AND event_id IS NOT NULL", (stream,))
            self._database.execute("DELETE FROM snapshots WHERE stream = ?", (stream,))


class _KeptRows:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._last: tuple[int, Any, str] = (0, NO_SAGA, "")

    def begin(self, *, events: bool) -> None:
        """See ``LastRows``."""
        self._last = self._database.row("SELECT position, saga_id, kind FROM journal ORDER BY position DESC LIMIT 1")
        self._database.execute("DELETE FROM journal WHERE saga_id = ? AND position < ?", (NO_SAGA, self._last[0]))
        self._database.reached("journal", self._last[0])
        if events:
            self._delete_kept_event()

    def may_go(self, saga_id: str) -> bool:
        """See ``LastRows``: only a last entry without values of the user may stay."""
        _, last_saga, kind = self._last
        return saga_id != last_saga or kind in _LAST_ENTRIES

    def keep(self, saga_id: str) -> None:
        """See ``LastRows``."""
        head, last_saga, _ = self._last
        if saga_id == last_saga:
            self._database.execute(
                "UPDATE journal SET saga_id = ?, seq = position, state = NULL WHERE position = ?", (NO_SAGA, head)
            )

    def delete_events(self, stream: str) -> None:
        """See ``LastRows``."""
        head = self._last_event()
        self._database.execute(
            f"DELETE FROM events WHERE stream = ? AND position < ? AND {OF_SAGAS_ALONE}", (stream, head, stream)
        )
        left = self._database.row("SELECT max(event_id IS NULL) FROM events WHERE stream = ?", (stream,))[0]
        if left == 0:  # the last event of the file
            self._database.execute(
                "INSERT OR REPLACE INTO purges(what, number, position) VALUES ('events', 0, ?)", (head,)
            )
        if left != 1:
            self._database.execute("DELETE FROM snapshots WHERE stream = ?", (stream,))

    def _delete_kept_event(self) -> None:
        """Delete the event that an earlier purge had to leave, where it is not the last one any more."""
        kept = self._database.row("SELECT position FROM purges WHERE what = 'events'")
        if kept is not None and kept[0] < self._last_event():
            self._database.execute("DELETE FROM events WHERE position = ?", (kept[0],))
            self._database.execute("DELETE FROM purges WHERE what = 'events'")

    def _last_event(self) -> int:
        return int(self._database.row("SELECT max(position) FROM events")[0] or 0)
