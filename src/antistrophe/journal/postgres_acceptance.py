"""Accepts a saga within a transaction of the application's own, on its own connection to the journal's database.

The saga is there once that transaction commits, and never was where it rolls back. It has no owner: the next host that
looks takes it. Until the end of the transaction, readers by positions wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from antistrophe.definition.spec import SagaSpec
from antistrophe.errors import JournalError, RequestError
from antistrophe.journal.journal import SeqConflictError
from antistrophe.journal.packed_append import pack_append
from antistrophe.journal.postgres_statement import CALL, Append
from antistrophe.journal.tombstones import digest_of, purged_in, was_purged
from antistrophe.saga.entries import Entry, SagaAccepted, SagaWaits
from antistrophe.saga.listed import row_after
from antistrophe.saga.state import replay
from antistrophe.storage.portable_sql import SCHEMA, for_postgres
from antistrophe.storage.postgres_commits import CONFIRM
from antistrophe.storage.postgres_opening import VERSION, is_served
from antistrophe.storage.postgres_schema import POSTGRES_MIGRATIONS

NO_HOST_YET = "its turn: no host has taken it yet"
"""What such a saga waits for."""

_TABLE = f"SELECT to_regclass('{SCHEMA}.schema_version')::text, extract(epoch FROM clock_timestamp())::float8"
_PURGED = for_postgres("SELECT status, finished_at FROM purged WHERE id_digest = ?")


def accept_in(connection: psycopg.Connection[Any], spec: SagaSpec, request_id: str, *, now: float | None = None) -> int:
    """Accept a saga in the transaction that is open on this connection, or in one of its own where the connection
    commits by itself. Returns the position of its last entry. ``now``: seconds since the epoch; None: by
    the server's clock.

    Raises SeqConflictError where there is a saga of that id, SagaExistsError where it was purged, RequestError for an
    id that PostgreSQL can't store, and JournalError where this is not the database of a journal of this release. After
    each of them the transaction can go on. What psycopg raises is the caller's, as for its own statements.
    """
    with psycopg.RawCursor(connection, row_factory=tuple_row) as cursor:

        def asked(sql: str, values: Sequence[Any] = ()) -> Any:
            return cursor.execute(sql, values, prepare=False).fetchone()

        table, clock = asked(_TABLE)
        _check(None if table is None else asked(VERSION))
        append = _acceptance(spec, request_id, clock if now is None else now)
        found = asked(for_postgres(CALL), append.values(None))
        if found[0] != "written":
            asked(CONFIRM)
        return _position(append, found, asked(_PURGED, (digest_of(spec.id),)) if found[0] == "purged" else None)


async def accept_in_async(
    connection: psycopg.AsyncConnection[Any], spec: SagaSpec, request_id: str, *, now: float | None = None
) -> int:
    """``accept_in`` on a connection of asyncio."""
    async with psycopg.AsyncRawCursor(connection, row_factory=tuple_row) as cursor:

        async def asked(sql: str, values: Sequence[Any] = ()) -> Any:
            return await (await cursor.execute(sql, values, prepare=False)).fetchone()

        table, clock = await asked(_TABLE)
        _check(None if table is None else await asked(VERSION))
        append = _acceptance(spec, request_id, clock if now is None else now)
        found = await asked(for_postgres(CALL), append.values(None))
        if found[0] != "written":
            await asked(CONFIRM)
        tombstone = await asked(_PURGED, (digest_of(spec.id),)) if found[0] == "purged" else None
        return _position(append, found, tombstone)


def _acceptance(spec: SagaSpec, request_id: str, now: float) -> Append:
    for what, text in (("id of a saga", spec.id), ("id of a request", request_id)):
        if "\0" in text:
            raise RequestError(f"PostgreSQL can't store this {what}, which has a zero character: {text!r}")
    entries: tuple[Entry, ...] = (SagaAccepted(now, request_id, spec, now), SagaWaits(now, NO_HOST_YET))
    row = row_after(None, replay(entries), entries)
    rows, shape = pack_append(spec.id, 0, entries, row, 0.0)
    return Append(spec.id, 0, rows, entries[0], shape, row)


def _check(found: Sequence[Any] | None) -> None:
    """Raise JournalError where the database has no journal, or one that this release can't write to."""
    if found is None:
        raise JournalError(
            "the database of this connection has no journal: connect to the one that the orchestrator's URL names"
        )
    newest = len(POSTGRES_MIGRATIONS)
    if found[0] < newest or not is_served(found, newest):
        raise JournalError(
            f"the journal in the database of this connection is of schema version {found[0]}, this program's is"
            f" {newest}: use the same release here and on the hosts"
        )


def _position(append: Append, found: Sequence[Any], tombstone: tuple[str, int] | None) -> int:
    outcome, _, position, seq, _, _ = found
    if outcome == "written":
        return int(position)
    if tombstone is not None:
        raise was_purged(append.saga_id, purged_in(tombstone, f"what is left of the purged saga {append.saga_id!r}"))
    raise SeqConflictError(append.saga_id, expected=0, actual=seq or 0)
