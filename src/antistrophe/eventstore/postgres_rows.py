"""Writes event rows of PostgreSQL: versions without a gap in each stream, and no two transactions that wait for each
other.

Whoever appends to a stream holds its lock until the end of the transaction, so the version that was read is still the
last one when the rows are committed. Locks are taken in one order. A transaction that learns of its streams one by one
can't keep to an order, so no other transaction with more than one stream runs beside it: see ``locking``. The
locks are advisory locks of the transaction, which end with it whatever happens, and need no row of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from antistrophe.errors import ConcurrencyError, RequestError
from antistrophe.eventstore.backend import NewEvent
from antistrophe.eventstore.saga_copies import copy_refused, is_copy
from antistrophe.storage.connection import Questions, answered
from antistrophe.storage.database import now_us
from antistrophe.storage.portable_sql import SCHEMA
from antistrophe.storage.postgres_commits import Proof
from antistrophe.storage.postgres_database import PostgresDatabase
from antistrophe.storage.postgres_functions import EVENT_LOCKS, SEVERAL_STREAMS

_NAMES = 4096
"""So many locks there are for all names. The server has room for some thousands, and one transaction may write to any
number of streams. Two streams with the same number wait for each other, and no more than that."""

_AT_ONCE = 1_000
_BYTES_AT_ONCE = 4 * 1024 * 1024
_MOST_NAME_BYTES = 2_000
"""A longer name does not fit into the server's indexes."""

_APPEND = (
    f"SELECT outcome, xid, at_position, at_version, last_written FROM {SCHEMA}.append_events_1("
    "?::text, ?::int, ?::bigint, ?::boolean, ?::text[], ?::bigint[], ?::bytea[], ?::bytea[], ?::bytea[], ?::bigint)"
)
_END = (
    "SELECT position, stream, version, type, type_version, data, metadata, recorded_at FROM events WHERE stream = ?"
    " ORDER BY version DESC LIMIT ?::bigint"
)
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


def check_named(stream: str, known: Collection[str] | None) -> None:
    """Raise RequestError where a transaction on these streams alone is to append to another one."""
    if known is not None and stream not in known:
        raise RequestError(
            f"this transaction was begun for {', '.join(map(repr, sorted(known))) or 'no stream'} and"
            f" can't append to {stream!r}: name every stream when it begins, or use transaction()"
        )


def locks_of(streams: Collection[str]) -> list[int]:
    """The second numbers of the locks of these streams, in the order in which they are taken. Where there are several,
    ``SEVERAL_STREAMS`` is shared first."""
    return sorted({_number_of(stream) for stream in streams})


def locking(streams: Collection[str] | None) -> Questions[None]:
    """Begin to write to these streams in the open transaction, and wait for whoever does. None: to streams that are not
    known yet, each of which is locked by the append to it."""
    if streams is None:
        yield "SELECT pg_advisory_xact_lock(?::int, ?::int)", (EVENT_LOCKS, SEVERAL_STREAMS)
        return
    numbers = locks_of(streams)
    if len(numbers) > 1:
        yield "SELECT pg_advisory_xact_lock_shared(?::int, ?::int)", (EVENT_LOCKS, SEVERAL_STREAMS)
    if numbers:  # they are locked in the order of the list
        yield "SELECT pg_advisory_xact_lock(?::int, number) FROM unnest(?::int[]) AS number", (EVENT_LOCKS, numbers)


def insert_events(
    database: PostgresDatabase,
    stream: str,
    events: Sequence[NewEvent],
    expected_version: int | None = None,
    *,
    copies: bool = True,
) -> int:
    """Append to a stream within the open transaction, and return the stream's version: see ``appending``. Where the
    answer to the commit is lost, these rows are looked up to know what became of it."""
    version, proof = answered(appending(stream, events, expected_version, copies=copies), database.returning)
    if proof is not None:
        database.prove(proof.xid, proof.sql, proof.parameters)
    return version


def appending(
    stream: str, events: Sequence[NewEvent], expected_version: int | None = None, *, copies: bool = True
) -> Questions[tuple[int, Proof | None]]:
    """What an append asks within a transaction, one question as a rule. Returns the stream's version, and what proves
    the append if it has written something. The stream is locked until the end of the transaction.

    Raises ConcurrencyError like ``EventWriter.append``, and ValueError for a name that PostgreSQL can't store. Without
    ``copies`` it raises RequestError where a saga has stored the same events at the end of the stream. After each of
    them nothing is written, and the transaction can go on.
    """
    check_storable(stream)
    lock, now = _number_of(stream), now_us()
    parts = list(_parts(events))
    if not copies and len(parts) > 1:  # the server would compare the end of a part
        yield from _refusing_a_copy(stream, events)
        copies = True
    version, proof = 0, None
    for part in parts:
        values = (stream, lock, expected_version, copies, *_columns(part), now)
        found = yield _APPEND, values
        if found[0][0] == "copy":
            yield from _refusing_a_copy(stream, events)
            found = yield _APPEND, (*values[:3], True, *values[4:])
        outcome, xid, position, version, last = found[0]
        if outcome == "conflict":
            assert expected_version is not None, "nothing else is a conflict"
            raise ConcurrencyError(stream, expected=expected_version, actual=version)
        expected_version, copies = None, True  # the stream is locked from the first part on
        if position is not None:
            proof = Proof(xid, _PROOF, (position, stream, version, part[last - 1].data, now))
    return int(version), proof


def _refusing_a_copy(stream: str, events: Sequence[NewEvent]) -> Questions[None]:
    last = yield _END, (stream, 1)
    if not is_copy(last, events[-1:], stream):  # one row tells it for almost every append
        return
    if is_copy((yield _END, (stream, len(events)))[::-1], events, stream):
        raise copy_refused(stream, last[0][2])


def is_one_statement(events: Sequence[NewEvent]) -> bool:
    """Whether one statement is enough to append them."""
    return len(next(_parts(events))) == len(events)


def _parts(events: Sequence[NewEvent]) -> Iterator[Sequence[NewEvent]]:
    """The events in parts, each of which fits into one statement. Of no events there is one part without any."""
    begin = size = 0
    for n, event in enumerate(events):
        own = len(event.data) + len(event.metadata or b"")
        size += own
        if n > begin and (n - begin == _AT_ONCE or size > _BYTES_AT_ONCE):
            yield events[begin:n]
            begin, size = n, own
    yield events[begin:]


def _columns(events: Sequence[NewEvent]) -> tuple[list[Any] | None, ...]:
    ids = [event.event_id for event in events]
    return (
        [event.type for event in events],
        [event.type_version for event in events],
        [event.data for event in events],
        [event.metadata for event in events],
        ids if any(ids) else None,
    )


def _number_of(stream: str) -> int:
    return int.from_bytes(hashlib.blake2b(stream.encode(), digest_size=4).digest(), "big") % _NAMES
