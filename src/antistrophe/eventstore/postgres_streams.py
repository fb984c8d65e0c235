"""What is asked of the streams and snapshots in PostgreSQL, on whichever connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from antistrophe.eventstore.backend import StoredEvent, StoredSnapshot
from antistrophe.eventstore.postgres_rows import is_storable

COLUMNS = "position, stream, version, type, type_version, data, metadata, recorded_at"
_LAST_POSSIBLE = 2**63 - 1


class PostgresStreams(Protocol):
    """The part of an ``EventBackend`` that reads streams, their versions and their snapshots."""

    def read_stream(self, stream: str, after_version: int) -> list[StoredEvent]:
        """See ``EventBackend``."""
        return self._rows(*reading(stream, after_version)) if is_storable(stream) else []

    def version(self, stream: str) -> int:
        """See ``EventBackend``."""
        if not is_storable(stream):
            return 0
        return int(self._rows("SELECT coalesce(max(version), 0) FROM events WHERE stream = ?", (stream,))[0][0])

    def latest_snapshot(self, stream: str) -> StoredSnapshot | None:
        """See ``EventBackend``."""
        return self.snapshot_before(stream, _LAST_POSSIBLE)

    def snapshot_before(self, stream: str, version: int) -> StoredSnapshot | None:
        """See ``OlderSnapshots``."""
        if not is_storable(stream):
            return None
        found = self._rows(
            "SELECT stream, version, state, recorded_at FROM snapshots WHERE stream = ? AND version < ?"
            " ORDER BY version DESC LIMIT 1",
            (stream, version),
        )
        return StoredSnapshot(*found[0]) if found else None

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of one query."""


def reading(stream: str, after_version: int) -> tuple[str, Sequence[Any]]:
    """The query for the events of a stream behind that version, and its values."""
    return (
        f"SELECT {COLUMNS} FROM events WHERE stream = ? AND version > ? ORDER BY version",
        (stream, after_version),
    )


def saving(snapshot: StoredSnapshot) -> tuple[str, Sequence[Any]]:
    """The statement that keeps a snapshot, and its values."""
    sql = (
        "INSERT INTO snapshots(stream, version, state, recorded_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (stream, version) DO UPDATE SET state = excluded.state, recorded_at = excluded.recorded_at"
        " RETURNING version"
    )
    return sql, (snapshot.stream, snapshot.version, snapshot.state, snapshot.recorded_at)
