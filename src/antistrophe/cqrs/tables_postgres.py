"""The tables of a projection in the PostgreSQL database of a store.

They are in a schema of their own, which comes first in the search path of each of their transactions, so that the names
that the projection gets are good for tables and for indexes. The row of the projection is locked meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from antistrophe.cqrs.projection import Tables
from antistrophe.cqrs.projection_rows import Row, advance, answer_from
from antistrophe.cqrs.projection_rows_postgres import locked_row
from antistrophe.errors import JournalBusyError, JournalError
from antistrophe.eventstore.postgres import PostgresEvents
from antistrophe.storage.portable_sql import numbered
from antistrophe.storage.postgres_database import PostgresDatabase
from antistrophe.storage.postgres_schema import PROJECTIONS

_LONGEST_NAME = 63
"""The server cuts longer names off, and two could become one."""

_DROP_WITHIN_MS = 2_000
_SEARCH = f"SELECT set_config('search_path', '{PROJECTIONS},' || current_setting('search_path'), true)"


class PostgresProjectionConnection:
    """The transaction of a projection's changes, as ``ProjectionConnection`` is for SQLite."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> psycopg.RawCursor[Any]:
        """Run one statement. Raises psycopg.Error."""
        return psycopg.RawCursor(self._connection).execute(numbered(sql), parameters)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> psycopg.RawCursor[Any]:
        """Run one statement for each row. Raises psycopg.Error."""
        cursor = psycopg.RawCursor(self._connection)
        cursor.executemany(numbered(sql), rows)
        return cursor


class OpenPostgresTables:
    """The PostgreSQL variant of ``OpenTables``."""

    def __init__(self, backend: PostgresEvents, database: PostgresDatabase, name: str) -> None:
        self._backend = backend
        self._database = database
        self._name = name
        self._raw = database.usable()
        self.connection = PostgresProjectionConnection(self._raw)
        database.row(_SEARCH)

    @property
    def is_open(self) -> bool:
        """See ``OpenTables``."""
        return self._raw.info.transaction_status == TransactionStatus.INTRANS

    def row(self) -> Row:
        """See ``OpenTables``."""
        row = locked_row(self._database, self._name)
        self._backend.feed.reached(row[1])  # another process has read that far
        return row

    def advance(self, position: int) -> None:
        """See ``OpenTables``."""
        advance(self._database, self._name, position)

    def answer_from(self, generation: int, position: int) -> None:
        """See ``OpenTables``."""
        answer_from(self._database, self._name, generation, position)

    def next_generation(self) -> int:
        """See ``OpenTables``."""
        ((generation,),) = self._database.returning(
            "UPDATE projections SET last_generation = last_generation + 1 WHERE name = ? RETURNING last_generation",
            (self._name,),
        )
        return int(generation)

    def failure_of_the_database(self, error: BaseException) -> JournalError | None:
        """See ``OpenTables``."""
        if isinstance(error, JournalError):
            return error
        if isinstance(error, psycopg.OperationalError):
            return self._database.failure(error)
        return None


class PostgresTablePlace:
    """The PostgreSQL variant of ``TablePlace``."""

    hold_s = 0.05
    rest = 0.0

    def __init__(self, backend: PostgresEvents, name: str) -> None:
        self._backend = backend
        self._name = name
        self._stem = f"projection:{hashlib.blake2b(name.encode(), digest_size=6).hexdigest()}:"

    @contextmanager
    def transaction(self) -> Iterator[OpenPostgresTables]:
        """See ``TablePlace``."""
        with self._backend.rows_transaction() as database:
            yield OpenPostgresTables(self._backend, database, self._name)

    def tables(self, generation: int) -> Tables:
        """See ``TablePlace``."""
        return Tables(f"{self._stem}{generation}:", self._query, longest_name=_LONGEST_NAME)

    def drop_others(self, kept: set[int], up_to: int) -> None:
        """See ``TablePlace``. A table that somebody reads for long stays until the next rebuild."""
        with contextlib.suppress(JournalBusyError), self._backend.rows_transaction() as database:
            database.execute(f"SET LOCAL lock_timeout = {_DROP_WITHIN_MS}")
            for kind, full_name in database.rows(
                "SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'"
                " ELSE 'TABLE' END, relname::text FROM pg_class WHERE relnamespace = to_regnamespace(?::text)"
                " AND starts_with(relname::text, ?) AND relkind IN ('r', 'p', 'v', 'm', 'S')",
                (PROJECTIONS, self._stem),
            ):
                generation = int(full_name[len(self._stem) :].partition(":")[0])
                if generation <= up_to and generation not in kept:
                    database.run(f'DROP {kind} IF EXISTS {PROJECTIONS}."{full_name}" CASCADE')

    def close(self) -> None:
        """See ``TablePlace``. The connections are the store's."""

    def _query(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        with self._backend.connection() as database, database.one_moment():
            database.row(_SEARCH)
            try:
                return psycopg.RawCursor(database.usable()).execute(numbered(sql), parameters).fetchall()
            except psycopg.OperationalError as error:
                raise database.failure(error) from None
