"""Events within a transaction of the application's own, on its own connection of psycopg to the store's database.

They are there once that transaction commits, and never were where it rolls back. The connection itself sees them at
once. What it may wait for is up to its own settings (``lock_timeout``): the appends of others to the same stream, until
those transactions end. Readers by positions wait for the end of this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any
from weakref import WeakSet

import psycopg

from antistrophe.errors import JournalError
from antistrophe.eventstore.backend import NewEvent, StoredEvent, StoredSnapshot
from antistrophe.eventstore.postgres_rows import (
    appending,
    check_named,
    check_storable,
    is_one_statement,
    is_storable,
    locking,
)
from antistrophe.eventstore.postgres_streams import PostgresStreams, reading, saving
from antistrophe.storage.connection import Questions, answered
from antistrophe.storage.postgres_callers import (
    Place,
    ask,
    ask_async,
    block,
    block_async,
    check_usable,
    check_usable_async,
    checking_place,
    finding_place,
)


class CallersPlaces:
    """Which connections of the application lead to the store's database. Each is looked at once. Any thread may use it.

    ``where`` names the database, and ``rows`` asks it on a connection of the store's own.
    """

    def __init__(self, where: str, rows: Callable[[str, Sequence[Any]], list[Any]]) -> None:
        self._where = where
        self._rows = rows
        self._own: Place | None = None
        self._seen: WeakSet[Any] = WeakSet()

    def check(self, connection: psycopg.Connection[Any]) -> None:
        """Raise RequestError where it is no connection of psycopg that can take a statement, and JournalError where it
        leads elsewhere, or to a schema that this release can't write to."""
        check_usable(connection)
        if connection not in self._seen:
            self._compare(connection, ask(connection, self._checking())[0])

    async def check_async(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """``check`` of a connection of asyncio."""
        await check_usable_async(connection)
        if connection not in self._seen:
            place, _ = await ask_async(connection, self._checking())
            await asyncio.to_thread(self._compare, connection, place)

    def _checking(self) -> Questions[tuple[Place, float]]:
        return checking_place("journal and no events", self._where)

    def _compare(self, connection: Any, place: Place) -> None:
        if place != self._own:  # the server may have been started anew since it was asked
            self._own, _ = answered(finding_place(), self._rows)
        if place != self._own:
            raise JournalError(
                f"this connection leads to another database than {self._where}, where the journal and the events are:"
                " connect to that one"
            )
        self._seen.add(connection)


class CallersEvents(PostgresStreams):
    """The part of ``EventBackend`` that is of use within a transaction: writing, and reading streams and snapshots.

    Raises RequestError where ``connection`` is no connection that can take a statement, and JournalError where it leads
    to another database.
    """

    def __init__(self, connection: Any, places: CallersPlaces) -> None:
        places.check(connection)
        self._connection: psycopg.Connection[Any] = connection

    def append_alone(self, stream: str, events: Sequence[NewEvent], expected_version: int | None) -> int:
        """See ``AppendsAlone``. What is appended before an error is undone, unless the whole transaction has to be."""
        questions = appending(stream, events, expected_version, copies=expected_version is not None)
        with nullcontext() if is_one_statement(events) else block(self._connection):
            return ask(self._connection, questions)[0]

    @contextmanager
    def transaction(self) -> Iterator[CallersWriter]:
        """A part of the open transaction, which an exception undoes. Each stream is locked when it is appended to."""
        with block(self._connection):
            yield CallersWriter(partial(ask, self._connection), None)

    @contextmanager
    def transaction_on(self, streams: Collection[str]) -> Iterator[CallersWriter]:
        """See ``KnownStreams``: a part of the open transaction, which an exception undoes. The streams are locked until
        the end of that transaction."""
        for stream in streams:
            check_storable(stream)
        with block(self._connection):
            ask(self._connection, locking(streams))
            yield CallersWriter(partial(ask, self._connection), streams)

    def save_snapshot(self, snapshot: StoredSnapshot) -> None:
        """See ``EventBackend``."""
        self._rows(*saving(snapshot))

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        return ask(self._connection, _only(sql, parameters))


class CallersWriter:
    """The ``EventWriter`` of an application's own transaction, in which ``asks`` asks. ``streams``: the only ones that
    it appends to."""

    database = None

    def __init__(self, asks: Callable[[Questions[Any]], Any], streams: Collection[str] | None) -> None:
        self._asks = asks
        self._known = None if streams is None else frozenset(streams)

    def append(self, stream: str, events: Sequence[NewEvent], expected_version: int | None = None) -> int:
        """See ``EventWriter``."""
        check_named(stream, self._known)
        return int(self._asks(appending(stream, events, expected_version))[0])


async def append_async(
    connection: Any, places: CallersPlaces, stream: str, events: Sequence[NewEvent], expected_version: int | None
) -> int:
    """``CallersEvents.append_alone`` on a connection of asyncio."""
    await places.check_async(connection)
    questions = appending(stream, events, expected_version, copies=expected_version is not None)
    async with nullcontext() if is_one_statement(events) else block_async(connection):
        return (await ask_async(connection, questions))[0]


async def read_stream_async(
    connection: Any, places: CallersPlaces, stream: str, after_version: int
) -> list[StoredEvent]:
    """``CallersEvents.read_stream`` on a connection of asyncio."""
    await places.check_async(connection)
    if not is_storable(stream):
        return []
    return await ask_async(connection, _only(*reading(stream, after_version)))


def _only(sql: str, parameters: Sequence[Any]) -> Questions[list[Any]]:
    return (yield sql, parameters)
