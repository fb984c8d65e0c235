"""Events in a PostgreSQL database, which any number of processes on any number of hosts may share."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from antistrophe.eventstore.backend import NewEvent, StoredEvent, StoredSnapshot, StoreStats
from antistrophe.eventstore.callers_events import CallersEvents, CallersPlaces
from antistrophe.eventstore.postgres_rows import check_named, check_storable, insert_events, locking
from antistrophe.eventstore.postgres_streams import COLUMNS, PostgresStreams, saving
from antistrophe.storage.connection import answered
from antistrophe.storage.own_transactions import refuse_beside
from antistrophe.storage.portable_sql import SCHEMA
from antistrophe.storage.postgres_database import PostgresDatabase
from antistrophe.storage.postgres_feed import OrderedFeed
from antistrophe.storage.postgres_pool import PostgresPool


class PostgresEvents(PostgresStreams):
    """The PostgreSQL variant of ``EventBackend``.

    Writers of different streams don't wait for each other. Each transaction and each query has a connection that no
    other thread uses meanwhile. ``read`` goes by positions, and stops at the first that a transaction could still fill:
    see ``storage.postgres_feed``. All other questions are answered with what is committed.

    A standby that takes over has every commit only where commits wait for it (``synchronous_standby_names`` and
    ``synchronous_commit = on``). With ``synchronous="NORMAL"`` a crash of the server may take back what readers have
    seen, and give its positions to other events.
    """

    positions_have_gaps = True
    longest_wait_s = 0.1
    """How long readers wait at most before they look for commits of other processes: each look is a query."""

    def __init__(self, url: str, *, synchronous: str = "FULL") -> None:
        if synchronous not in {"FULL", "NORMAL"}:
            raise ValueError(f"synchronous must be FULL or NORMAL, not {synchronous!r}")
        self._pool = PostgresPool(url)
        self.where = self._pool.where
        self.feed = OrderedFeed("events", "event_positions")
        self.places = CallersPlaces(self.where, self._rows)
        with self.connection() as database:
            (found,) = database.row("SELECT current_setting('synchronous_commit')")
        # Any other setting of the server waits for its disk, and maybe for a standby: as good as FULL, or better.
        self._setting = "off" if synchronous == "NORMAL" else "on" if found == "off" else None

    # --- connections ----------------------------------------------------------------------------------------------

    @contextmanager
    def connection(self) -> Iterator[PostgresDatabase]:
        """A connection outside of a transaction."""
        with self._pool.taken() as database:
            yield database

    def connection_apart(self, patience_s: float) -> PostgresDatabase:
        """A connection of the caller's own, which waits no longer than that for anything."""
        return self._pool.opened(patience_s)

    def on(self, connection: Any) -> CallersEvents:
        """The events within the transaction of an application's own connection. Raises RequestError where that is no
        connection of psycopg that can take a statement, and JournalError where it leads to another database."""
        return CallersEvents(connection, self.places)

    @contextmanager
    def rows_transaction(self) -> Iterator[PostgresDatabase]:
        """A transaction for rows beside the events, which holds no lock but those of its rows."""
        refuse_beside(self.where, "another transaction")
        with self._pool.taken() as database, database.transaction():
            if self._setting is not None:
                database.execute(f"SET LOCAL synchronous_commit = {self._setting}")
            yield database

    # --- writing --------------------------------------------------------------------------------------------------

    def append_alone(self, stream: str, events: Sequence[NewEvent], expected_version: int | None) -> int:
        """See ``AppendsAlone``: one statement, between the two that begin and end the transaction."""
        with self.rows_transaction() as database:
            return insert_events(database, stream, events, expected_version, copies=expected_version is not None)

    @contextmanager
    def transaction(self) -> Iterator[PostgresWriter]:
        """See ``EventBackend``. One such transaction runs at a time, because it may append to any streams in any order;
        see ``transaction_on`` for those whose streams are known."""
        with self.rows_transaction() as database:
            answered(locking(None), database.rows)
            yield PostgresWriter(database, None)

    @contextmanager
    def transaction_on(self, streams: Collection[str]) -> Iterator[PostgresWriter]:
        """See ``KnownStreams``."""
        for stream in streams:
            check_storable(stream)
        with self.rows_transaction() as database:
            answered(locking(streams), database.rows)
            yield PostgresWriter(database, streams)

    def save_snapshot(self, snapshot: StoredSnapshot) -> None:
        """See ``EventBackend``."""
        with self.rows_transaction() as database:
            database.execute(*saving(snapshot))

    def flush(self) -> None:
        """See ``EventBackend``. A commit that waits for the disk has all commits before it there as well."""
        with self.rows_transaction() as database:
            if self._setting == "off":
                database.execute("SET LOCAL synchronous_commit = on")
            database.execute(f"UPDATE {SCHEMA}.schema_version SET version = version")

    # --- reading --------------------------------------------------------------------------------------------------

    def read(self, after_position: int, limit: int | None) -> list[StoredEvent]:
        """See ``EventBackend``."""
        with self.connection() as database:
            safe = self.feed.safe_head(database)
            if safe <= after_position or limit == 0:
                return []
            return database.rows(
                f"SELECT {COLUMNS} FROM events WHERE position > ? AND position <= ? ORDER BY position LIMIT ?::bigint",
                (after_position, safe, limit),
            )

    def head(self) -> int:
        """See ``EventBackend``. ``read`` may not come that far yet: a transaction before it is open."""
        return int(self._rows("SELECT coalesce(max(position), 0) FROM events")[0][0])

    def stats(self) -> StoreStats:
        """See ``EventBackend``. This takes time in proportion to the number of events."""
        ((events, streams, snapshots, size),) = self._rows(
            "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM events WHERE version = 1),"
            " (SELECT count(*) FROM snapshots), pg_total_relation_size(to_regclass(?::text))",
            (f"{SCHEMA}.events",),
        )
        return StoreStats(
            events, streams, snapshots, {"kind": "postgresql", "where": self.where, "events_bytes": int(size)}
        )

    def close(self) -> None:
        """See ``EventBackend``."""
        self._pool.close()

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self.connection() as database:
            return database.rows(sql, parameters)


class PostgresWriter:
    """The ``EventWriter`` of the open transaction of ``database``. ``streams``: those that are locked already; None:
    the lock for streams that are not known yet is held."""

    def __init__(self, database: PostgresDatabase, streams: Collection[str] | None) -> None:
        self.database = database
        self._known = None if streams is None else frozenset(streams)

    def append(self, stream: str, events: Sequence[NewEvent], expected_version: int | None = None) -> int:
        """See ``EventWriter``. Raises RequestError for a stream that was not named when the transaction began."""
        check_named(stream, self._known)
        return insert_events(self.database, stream, events, expected_version)
