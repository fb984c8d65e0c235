"""Events in a SQLite database: in a file, whose readers never wait for a writer, or in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from antistrophe.errors import ConcurrencyError, JournalError
from antistrophe.eventstore.backend import NewEvent, StoredEvent, StoredSnapshot, StoreStats
from antistrophe.storage.database import Database, now_us
from antistrophe.storage.idle_connections import IdleConnections
from antistrophe.storage.opening import open_database
from antistrophe.storage.own_transactions import refuse_while_writing

_COLUMNS = "position, stream, version, type, type_version, data, metadata, recorded_at"
_INSERT = (
    "INSERT INTO events(stream, version, type, type_version, data, metadata, recorded_at, event_id)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(event_id) WHERE event_id IS NOT NULL DO NOTHING"
)
_VERSION = "SELECT max(version) FROM events WHERE stream = ? AND position <= ?"
_HEAD = "SELECT max(position) FROM events WHERE position <= ?"
_LAST_POSSIBLE = 2**63 - 1


def insert_events(
    database: Database, stream: str, events: Sequence[NewEvent], expected_version: int | None = None
) -> int:
    """Append to a stream within the open transaction of ``database``, and return the stream's version.

    Event rows are written nowhere else. Raises ConcurrencyError like ``EventWriter.append``.
    """
    version: int = database.row("SELECT max(version) FROM events WHERE stream = ?", (stream,))[0] or 0
    if expected_version is not None and expected_version != version:
        raise ConcurrencyError(stream, expected=expected_version, actual=version)
    now = now_us()
    if len(events) > 1 and all(event.event_id is None for event in events):
        database.execute_many(_INSERT, [_row(stream, version + n, each, now) for n, each in enumerate(events, 1)])
        database.reached("events", database.row("SELECT last_insert_rowid()")[0])
        return version + len(events)
    for event in events:
        # No row is added for an event that is stored already; it uses up no version and no position.
        inserted = database.execute(_INSERT, _row(stream, version + 1, event, now))
        if inserted.rowcount:
            version += 1
            database.reached("events", inserted.lastrowid or 0)
    return version


def _row(stream: str, version: int, event: NewEvent, now: int) -> tuple[Any, ...]:
    return (stream, version, event.type, event.type_version, event.data, event.metadata, now, event.event_id)


class SqliteEvents:
    """The SQLite variant of ``EventBackend``.

    In a file one connection writes, and a few others read beside it. A database in memory has one connection for all:
    readers wait for the thread that has a transaction open, and that thread itself reads what was there before.
    """

    def __init__(self, place: str | os.PathLike[str] | Database, *, synchronous: str = "FULL") -> None:
        self._writer = place if isinstance(place, Database) else open_database(place, synchronous=synchronous)
        self.path: Path | None = None if self._writer.in_memory else self._writer.path
        self._readers = IdleConnections(lambda: open_database(self._writer.path, read_only=True))
        # In memory: the thread that has a transaction open, and the last position before the transaction.
        self._open: tuple[int, int] | None = None

    @contextmanager
    def transaction(self) -> Iterator[_SqliteTransaction]:
        """See ``EventBackend``."""
        self._refuse_in_own_transaction()
        with self._writer.transaction():
            if self._writer.in_memory:
                self._open = (threading.get_ident(), self.head())
            try:
                yield _SqliteTransaction(self._writer)
            finally:
                self._open = None

    def read(self, after_position: int, limit: int | None) -> list[StoredEvent]:
        """See ``EventBackend``."""
        return self._rows(
            f"SELECT {_COLUMNS} FROM events WHERE position > ? AND position <= ? ORDER BY position LIMIT ?",
            (after_position, self._last_visible(), -1 if limit is None else limit),
        )

    def read_stream(self, stream: str, after_version: int) -> list[StoredEvent]:
        """See ``EventBackend``."""
        return self._rows(
            f"SELECT {_COLUMNS} FROM events WHERE stream = ? AND version > ? AND position <= ? ORDER BY version",
            (stream, after_version, self._last_visible()),
        )

    def version(self, stream: str) -> int:
        """See ``EventBackend``."""
        return int(self._rows(_VERSION, (stream, self._last_visible()))[0][0] or 0)

    def head(self) -> int:
        """See ``EventBackend``."""
        return int(self._rows(_HEAD, (self._last_visible(),))[0][0] or 0)

    def save_snapshot(self, snapshot: StoredSnapshot) -> None:
        """See ``EventBackend``."""
        self._refuse_in_own_transaction()
        with self._writer.transaction():
            self._writer.execute(
                "INSERT OR REPLACE INTO snapshots(stream, version, state, recorded_at) VALUES (?, ?, ?, ?)",
                (snapshot.stream, snapshot.version, snapshot.state, snapshot.recorded_at),
            )

    def latest_snapshot(self, stream: str) -> StoredSnapshot | None:
        """See ``EventBackend``."""
        return self.snapshot_before(stream, _LAST_POSSIBLE)

    def snapshot_before(self, stream: str, version: int) -> StoredSnapshot | None:
        """See ``OlderSnapshots``."""
        found = self._rows(
            "SELECT stream, version, state, recorded_at FROM snapshots WHERE stream = ? AND version < ?"
            " ORDER BY version DESC LIMIT 1",
            (stream, version),
        )
        return StoredSnapshot(*found[0]) if found else None

    def flush(self) -> None:
        """Move the write-ahead log into the file and sync it. Raises JournalError if a reader elsewhere prevents that.

        A database in memory has no log, and nothing happens.
        """
        blocked, _, _ = self._writer.row("PRAGMA wal_checkpoint(FULL)")
        if blocked:
            raise JournalError(f"{self.path} can't be flushed: another process keeps reading it; try again")

    def stats(self) -> StoreStats:
        """See ``EventBackend``. This takes time in proportion to the number of events."""
        (numbers,) = self._rows(
            "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM events WHERE version = 1),"
            " (SELECT count(*) FROM snapshots),"
            " (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size)"
        )
        events, streams, snapshots, size = numbers
        if self.path is None:
            return StoreStats(events, streams, snapshots, {"kind": "memory"})
        log = self.path.with_name(self.path.name + "-wal")
        details = {
            "kind": "sqlite",
            "path": str(self.path),
            "file_bytes": size,
            "log_bytes": log.stat().st_size if log.exists() else 0,
        }
        return StoreStats(events, streams, snapshots, details)

    def close(self) -> None:
        """See ``EventBackend``."""
        self._writer.close()
        self._readers.close()

    def _refuse_in_own_transaction(self) -> None:
        """Raise RequestError where this thread has a transaction open on this file through another connection: it would
        wait for itself."""
        if self.path is not None and not self._writer.in_own_transaction:
            refuse_while_writing(self.path, "another transaction")

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Run a query on a connection that no other thread is using."""
        if self.path is None:
            return self._writer.rows(sql, parameters)
        reader = self._readers.take()
        try:
            return reader.rows(sql, parameters)
        finally:
            self._readers.give_back(reader)

    def _last_visible(self) -> int:
        """The last position that this thread may see: in memory its own transaction is on the connection it reads."""
        now = self._open
        return now[1] if now is not None and now[0] == threading.get_ident() else _LAST_POSSIBLE


class _SqliteTransaction:
    """The ``EventWriter`` of the open transaction of ``database``."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def append(self, stream: str, events: Sequence[NewEvent], expected_version: int | None = None) -> int:
        """See ``EventWriter``."""
        return insert_events(self.database, stream, events, expected_version)
