"""Blanks the events that a saga has stored: each keeps its position, stream, version, type and time, and has no data
any more. Readers get it all the same, because positions and versions are without a gap."""

from __future__ import annotations

from antistrophe.storage.connection import SqlDatabase

ERASED_DATA = b""
"""What an erased event has as its data. No event is packed into no bytes."""

_OF_THE_SAGA = "stream = ? AND event_id IS NOT NULL"


def erase_events(database: SqlDatabase, saga_id: str) -> bool:
    """Blank the events of a saga within the open transaction of ``database``, and delete the snapshots of its stream
    that were made of one. Events that an application has appended to the same stream stay. False where there was
    nothing to blank."""
    blanked = database.execute(
        f"UPDATE events SET data = ? WHERE {_OF_THE_SAGA} AND length(data) > 0", (ERASED_DATA, saga_id)
    )
    gone = database.execute(
        f"DELETE FROM snapshots WHERE stream = ? AND version >= (SELECT min(version) FROM events WHERE {_OF_THE_SAGA})",
        (saga_id, saga_id),
    )
    return blanked.rowcount > 0 or gone.rowcount > 0
