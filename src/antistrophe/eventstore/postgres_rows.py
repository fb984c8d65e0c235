"""Writes event rows of PostgreSQL: versions without a gap in each stream, and no two transactions that wait for each
other.

Whoever appends to a stream holds its lock until the end of the transaction, so the version that was read is still the
last one when the rows are committed. Locks are taken in one order. A transaction that learns of its streams one by one
can't keep to an order, so no other transaction with more than one stream runs beside it: see ``lock_streams``. The
locks are advisory locks of the transaction, which end with it whatever happens, and need no row of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Any

from antistrophe.errors import ConcurrencyError
from antistrophe.eventstore.backend import NewEvent
from antistrophe.storage.database import now_us
from antistrophe.storage.portable_sql import SCHEMA
from antistrophe.storage.postgres_database import PostgresDatabase
from antistrophe.storage.postgres_functions import EVENT_LOCKS, SEVERAL_STREAMS

_NAMES = 4096
"""So many locks there are for all names. The server has room for some thousands, and one transaction may write to any
number of streams. Two streams with the same number wait for each other, and no more than that."""

_AT_ONCE = 50
_MOST_NAME_BYTES = 2_000
"""A longer name does not fit into the server's indexes."""

_COLUMNS = "position, stream, version, type, type_version, data, metadata, recorded_at, event_id"
_VALUES = f"(nextval('{SCHEMA}.event_positions'), ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_ONCE = (
    f"INSERT INTO events({_COLUMNS}) VALUES {_VALUES}"
    " ON CONFLICT(event_id) WHERE event_id IS NOT NULL DO NOTHING RETURNING position"
)
# The transaction takes its number before it draws a position (see ``storage.postgres_feed``).
_VERSION = "SELECT pg_current_xact_id()::text::bigint, coalesce(max(version), 0) FROM events WHERE stream = ?"
# A server that has crashed may give a position, and a version, again: the row itself tells whose it is.
_PROOF = "SELECT 1 FROM events WHERE position = ? AND stream = ? AND version = ? AND data = ? AND recorded_at = ?"


def is_storable(stream: object) -> bool:
    """Whether there can be a stream of that name."""
    return isinstance(stream, str) and "\0" not in stream and len(stream.encode()) <= _MOST_NAME_BYTES


def check_storable(stream: str) -> None:
    """Raise ValueError where no stream can have that name."""
    if not is_storable(stream):
        raise ValueError(
            f"the name of a stream in PostgreSQL is a text of at most {_MOST_NAME_BYTES:,} bytes without a zero"
            f" character; this one begins with {stream[:40]!r}"
        )


def locks_of(streams: Collection[str]) -> list[int]:
    """The second numbers of the locks of these streams, in the order in which they are taken. Where there are several,
    ``SEVERAL_STREAMS`` is shared first."""
    return sorted({_number_of(stream) for stream in streams})


def lock_streams(database: PostgresDatabase, streams: Collection[str] | None) -> None:
    """Begin to write to these streams in the open transaction, and wait for whoever does. None: to streams that are not
    known yet, each of which is locked by ``lock_stream``."""
    if streams is None:
        database.row("SELECT pg_advisory_xact_lock(?::int, ?::int)", (EVENT_LOCKS, SEVERAL_STREAMS))
        return
    numbers = locks_of(streams)
    if len(numbers) > 1:
        database.row("SELECT pg_advisory_xact_lock_shared(?::int, ?::int)", (EVENT_LOCKS, SEVERAL_STREAMS))
    for number in numbers:
        _lock(database, number)


def lock_stream(database: PostgresDatabase, stream: str) -> None:
    """Lock one stream more, in a transaction that has begun with ``lock_streams(database, None)``."""
    _lock(database, _number_of(stream))


def insert_events(
    database: PostgresDatabase, stream: str, events: Sequence[NewEvent], expected_version: int | None = None
) -> int:
    """Append to a stream within the open transaction, and return the stream's version. Raises ConcurrencyError like
    ``EventWriter.append``.

    The stream has to be locked. Where the answer to the commit is lost, these rows are looked up to know what became of
    it.
    """
    number, version = database.row(_VERSION, (stream,))
    if expected_version is not None and expected_version != version:
        raise ConcurrencyError(stream, expected=expected_version, actual=version)
    now = now_us()
    position, last = None, None
    if all(event.event_id is None for event in events):
        for begin in range(0, len(events), _AT_ONCE):
            part = events[begin : begin + _AT_ONCE]
            last = part[-1]
            position = _insert(database, [_row(stream, version + n, each, now) for n, each in enumerate(part, 1)])
            version += len(part)
    else:
        for event in events:
            # No row is added for an event that is stored already, and it uses up no version.
            written = database.returning(_INSERT_ONCE, _row(stream, version + 1, event, now))
            if written:
                ((position,),) = written
                last = event
                version += 1
    if last is not None:
        database.prove(number, _PROOF, (position, stream, version, last.data, now))
    return int(version)


def _insert(database: PostgresDatabase, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert rows with one statement, in this order. Returns the position of the last one."""
    sql = f"INSERT INTO events({_COLUMNS}) VALUES {', '.join([_VALUES] * len(rows))} RETURNING position"
    written = database.returning(sql, [value for row in rows for value in row])
    return int(written[-1][0])


def _row(stream: str, version: int, event: NewEvent, now: int) -> tuple[Any, ...]:
    return (stream, version, event.type, event.type_version, event.data, event.metadata, now, event.event_id)


def _lock(database: PostgresDatabase, number: int) -> None:
    database.row("SELECT pg_advisory_xact_lock(?::int, ?::int)", (EVENT_LOCKS, number))


def _number_of(stream: str) -> int:
    return int.from_bytes(hashlib.blake2b(stream.encode(), digest_size=4).digest(), "big") % _NAMES
