"""Asks the server on a connection that an application has opened, within the transaction that is open there.

Nothing of that connection is changed: not its settings, not what its rows look like, and no statement is prepared. What
psycopg raises is the application's, as for its own statements. A connection that commits each statement by itself does
so here, too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row

from antistrophe.errors import JournalError, RequestError
from antistrophe.storage.connection import Questions, answered
from antistrophe.storage.portable_sql import SCHEMA, for_postgres
from antistrophe.storage.postgres_opening import VERSION, is_served
from antistrophe.storage.postgres_schema import POSTGRES_MIGRATIONS

T = TypeVar("T")

_FREE_WITHIN_S = 1.0
_LOOK_S = 0.01

_PLACE = (
    f"SELECT to_regclass('{SCHEMA}.schema_version')::oid::bigint,"
    " (SELECT oid FROM pg_database WHERE datname = current_database())::bigint,"
    " extract(epoch FROM pg_postmaster_start_time())::float8, extract(epoch FROM clock_timestamp())::float8"
)


@dataclass(frozen=True, slots=True)
class Place:
    """What tells one database with our tables from all others, while its server runs."""

    table: int
    database: int
    server_start: float


def finding_place() -> Questions[tuple[Place | None, float]]:
    """Where the connection leads, and what time it is there. None: the database has none of our tables."""
    ((table, database, server_start, clock),) = yield _PLACE, ()
    return None if table is None else Place(table, database, server_start), clock


def checking_place(what: str, right: str) -> Questions[tuple[Place, float]]:
    """Where the connection leads, and what time it is there. Raises JournalError where the database does not have
    ``what`` (a journal), or has a schema that this release can't write to. ``right``: the right one, for messages."""
    place, clock = yield from finding_place()
    found = [] if place is None else (yield VERSION, ())
    if place is None or not found:
        raise JournalError(f"the database of this connection has no {what}: connect to {right}")
    newest = len(POSTGRES_MIGRATIONS)
    if found[0][0] < newest or not is_served(found[0], newest):
        raise JournalError(
            f"the database of this connection is of schema version {found[0][0]}, this program's is {newest}: use the"
            " same release here and on the hosts"
        )
    return place, clock


def check_usable(connection: Any) -> None:
    """Raise RequestError where this is no connection of psycopg that can take a statement now."""
    _check(connection, psycopg.Connection)
    until = time.monotonic() + _FREE_WITHIN_S
    while _is_busy(connection):
        if time.monotonic() > until:
            raise _busy()
        time.sleep(_LOOK_S)


async def check_usable_async(connection: Any) -> None:
    """``check_usable`` of a connection of asyncio."""
    _check(connection, psycopg.AsyncConnection)
    until = time.monotonic() + _FREE_WITHIN_S
    while _is_busy(connection):
        if time.monotonic() > until:
            raise _busy()
        await asyncio.sleep(_LOOK_S)


def _check(connection: Any, kind: type) -> None:
    if not isinstance(connection, kind):
        given = type(connection)
        name = given.__qualname__ if given.__module__ == "builtins" else f"{given.__module__}.{given.__qualname__}"
        raise RequestError(f"connection= takes an open psycopg.{kind.__name__}, not {name}")
    assert isinstance(connection, psycopg.Connection | psycopg.AsyncConnection)
    if connection.closed:
        raise RequestError(
            f"connection= takes an open psycopg.{kind.__name__}, and this one is closed: connect again, and do again"
            " what its transaction was to do"
        )
    if connection.info.transaction_status == TransactionStatus.INERROR:
        raise RequestError(
            "a statement has failed in the transaction of this connection, which takes no other one: roll it back, to"
            " a savepoint before that statement where there is one"
        )
    if connection.info.encoding == "ascii":
        raise RequestError(
            "this connection has no encoding for texts (its client_encoding is SQL_ASCII): connect with"
            " client_encoding=UTF8"
        )


def _is_busy(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Whether a statement is under way. psycopg has every other one wait for it: who is in the middle of a COPY would
    wait for ever."""
    info = connection.info
    return info.transaction_status == TransactionStatus.ACTIVE and info.pipeline_status == PipelineStatus.OFF


def _busy() -> RequestError:
    return RequestError(
        f"another statement has been under way on this connection for {_FREE_WITHIN_S:g} s, and it takes one at a time:"
        " end the COPY or stream() first, or the statement of the other thread or task"
    )


@contextmanager
def block(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """A part of the transaction of a connection, which an exception undoes. Where each statement is committed by itself
    the block is a transaction of its own."""
    if _begins_at_first_statement(connection):  # else psycopg would take the block for the whole, and commit it
        ask(connection, finding_place())
    with connection.transaction():
        yield


@asynccontextmanager
async def block_async(connection: psycopg.AsyncConnection[Any]) -> AsyncIterator[None]:
    """``block`` on a connection of asyncio."""
    if _begins_at_first_statement(connection):
        await ask_async(connection, finding_place())
    async with connection.transaction():
        yield


def _begins_at_first_statement(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    return not connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE


def ask(connection: psycopg.Connection[Any], questions: Questions[T]) -> T:
    """Ask these questions in the transaction of a connection, and return what comes of them. Each is a statement that
    returns rows: in a pipeline nobody can say which does."""
    with psycopg.RawCursor(connection, row_factory=tuple_row) as cursor:

        def rows(sql: str, values: Sequence[Any]) -> list[Any]:
            cursor.execute(for_postgres(sql), values, prepare=False, binary=True)
            return cursor.fetchall()

        return answered(questions, rows)


async def ask_async(connection: psycopg.AsyncConnection[Any], questions: Questions[T]) -> T:
    """``ask`` on a connection of asyncio."""
    async with psycopg.AsyncRawCursor(connection, row_factory=tuple_row) as cursor:
        try:
            sql, values = next(questions)
            while True:
                await cursor.execute(for_postgres(sql), values, prepare=False, binary=True)
                sql, values = questions.send(await cursor.fetchall())
        except StopIteration as ended:
            result: T = ended.value
            return result
