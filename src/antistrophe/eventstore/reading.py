"""Reads a stream's events as they are stored, from a database that is open: for who shows or exports them."""

from __future__ import annotations

from antistrophe.eventstore.backend import StoredEvent
from antistrophe.eventstore.sqlite import SqliteEvents
from antistrophe.storage.connection import SqlDatabase
from antistrophe.storage.database import Database

_STREAM = (
    "SELECT position, stream, version, type, type_version, data, metadata, recorded_at FROM events"
    " WHERE stream = ? ORDER BY version"
)


def stored_stream(database: SqlDatabase, stream: str) -> list[StoredEvent]:
    """The events of that stream, in order. Raises JournalError."""
    if isinstance(database, Database):
        return SqliteEvents(database).read_stream(stream, 0)
    return [tuple(row) for row in database.rows(_STREAM, (stream,))] if database.holds(stream) else []
