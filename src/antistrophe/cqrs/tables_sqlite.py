"""The tables of a projection in the SQLite file of a store."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from antistrophe.cqrs.projection import ProjectionConnection, Tables
from antistrophe.cqrs.projection_rows import Row, advance, answer_from, row_of
from antistrophe.errors import JournalBusyError, JournalError
from antistrophe.eventstore.store import EventStore
from antistrophe.eventstore.store_transaction import database_of
from antistrophe.storage.database import Database, refusal
from antistrophe.storage.opening import open_database

_PLAIN_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_")
# Errors of the file, not of the projection. A later attempt may succeed.
_OF_THE_FILE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
}


class OpenSqliteTables:
    """The SQLite variant of ``OpenTables``. The transaction has the file's write lock."""

    def __init__(self, database: Database, name: str) -> None:
        self.database = database
        self._name = name
        self._raw = database.usable()
        self.connection = ProjectionConnection(self._raw)

    @property
    def is_open(self) -> bool:
        """See ``OpenTables``."""
        return self._raw.in_transaction

    def row(self) -> Row:
        """See ``OpenTables``."""
        return row_of(self.database, self._name)

    def advance(self, position: int) -> None:
        """See ``OpenTables``."""
        advance(self.database, self._name, position)

    def answer_from(self, generation: int, position: int) -> None:
        """See ``OpenTables``."""
        answer_from(self.database, self._name, generation, position)

    def next_generation(self) -> int:
        """See ``OpenTables``."""
        name = (self._name,)
        self.database.execute("UPDATE projections SET last_generation = last_generation + 1 WHERE name = ?", name)
        return int(self.database.row("SELECT last_generation FROM projections WHERE name = ?", name)[0])

    def failure_of_the_database(self, error: BaseException) -> JournalError | None:
        """See ``OpenTables``."""
        code = getattr(error, "sqlite_errorcode", None)
        if isinstance(error, sqlite3.Error) and code is not None and code & 0xFF in _OF_THE_FILE:
            return refusal(self.database.path, error)
        return None


class SqliteTablePlace:
    """The SQLite variant of ``TablePlace``."""

    hold_s = 0.01
    rest = 0.5  # SQLite's lock is not fair: other writers must find it free

    def __init__(self, store: EventStore, path: Path, name: str) -> None:
        self._store = store
        self._path = path
        self._name = name
        self._reader: Database | None = None
        self._reader_lock = threading.Lock()
        self._stem = f"projection:{_letters(name)}:"

    @contextmanager
    def transaction(self) -> Iterator[OpenSqliteTables]:
        """See ``TablePlace``."""
        with self._store.transaction() as transaction:
            database = database_of(transaction)
            assert isinstance(database, Database)
            yield OpenSqliteTables(database, self._name)

    def tables(self, generation: int) -> Tables:
        """See ``TablePlace``."""
        return Tables(f"{self._stem}{generation}:", self._query)

    def drop_others(self, kept: set[int], up_to: int) -> None:
        """See ``TablePlace``."""
        prefix = self._stem
        with contextlib.suppress(JournalBusyError), self._store.transaction() as transaction:
            database = database_of(transaction)
            for kind, full_name in database.rows(
                "SELECT type, name FROM sqlite_master WHERE substr(name, 1, ?) = ? AND type IN ('table', 'view')"
                " ORDER BY type = 'table', sql NOT LIKE 'CREATE VIRTUAL%'",  # a virtual table before its shadow tables
                (len(prefix), prefix),
            ):
                generation = int(full_name[len(prefix) :].partition(":")[0])
                if generation <= up_to and generation not in kept:
                    database.execute(f'DROP {kind} IF EXISTS "{full_name}"')

    def close(self) -> None:
        """See ``TablePlace``."""
        with self._reader_lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def _query(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        with self._reader_lock:
            if self._reader is None:
                self._reader = open_database(self._path, read_only=True)
            try:
                return self._reader.rows(sql, parameters)
            except JournalError as error:
                cause = error.__cause__
                if isinstance(cause, sqlite3.Error):
                    code = cause.sqlite_errorcode & 0xFF
                    if code == sqlite3.SQLITE_READONLY or code not in _OF_THE_FILE:
                        raise cause from None  # the query is wrong, not the file
                raise


def _letters(name: str) -> str:
    """Encode a name as part of a table's name. SQLite ignores the case there, and ``:`` separates the parts."""
    return "".join(chr(byte) if byte in _PLAIN_LETTERS else f"%{byte:02x}" for byte in name.encode())
