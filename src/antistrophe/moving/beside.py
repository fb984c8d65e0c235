"""The tables beside, of one copy: what was read of the file so far, where no host and no reader sees it.

They are not logged: after a crash of the server they are empty, and the copy begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from antistrophe.moving.mark import CopyMark
from antistrophe.moving.source import Source
from antistrophe.moving.tables import TABLES, Table, beside
from antistrophe.storage.postgres import psycopg
from antistrophe.storage.postgres_database import PostgresDatabase

PIECE_ROWS = 10_000
PIECE_BYTES = 4 << 20
"""A piece ends with the row that brings it to so many rows or bytes."""

Progress = Callable[[str, int], None]
"""Is told of a table, and how many rows of it are copied by now."""


class TablesBeside:
    """The tables beside, of the copy with that mark. Every method raises JournalError where the database fails."""

    def __init__(self, database: PostgresDatabase, mark: CopyMark) -> None:
        self._database = database
        self._mark = mark

    def make(self) -> None:
        """Make those that are missing."""
        with self._database.transaction():
            self._mark.lock()
            for table in TABLES:
                name = beside(self._mark.copy_id, table)
                self._database.run(f"CREATE UNLOGGED TABLE IF NOT EXISTS {name}({table.definition})")

    def fill(self, source: Source, progress: Progress) -> None:
        """Copy what is missing of each table, a piece at a time."""
        for table in TABLES:
            rows, done = self._rest(source, table)
            while (first := next(rows, None)) is not None:
                done += self._piece(table, chain([first], rows))
                progress(table.name, done)

    def _rest(self, source: Source, table: Table) -> tuple[Iterator[tuple[Any, ...]], int]:
        """The rows of a table that are missing, and how many are there. The last piece of an earlier call, which may
        still be on its way, is waited for."""
        name, key = beside(self._mark.copy_id, table), ", ".join(table.key)
        with self._database.transaction():
            self._mark.lock()
            descending = ", ".join(f"{each} DESC" for each in table.key)
            last = self._database.row(f"SELECT {key} FROM {name} ORDER BY {descending} LIMIT 1")
            (done,) = self._database.row(f"SELECT count(*) FROM {name}")
        return source.rows(table, last), int(done)

    def _piece(self, table: Table, rows: Iterator[tuple[Any, ...]]) -> int:
        """Copy the next rows in a transaction. Returns how many."""
        name, number, size = beside(self._mark.copy_id, table), 0, 0
        sized = [index for index, column in enumerate(table.columns) if column.kind == "bytes"]
        with self._database.transaction():
            self._mark.lock()
            try:
                cursor = self._database.usable().cursor()
                with cursor.copy(f"COPY {name}({', '.join(table.names)}) FROM STDIN (FORMAT BINARY)".encode()) as copy:
                    copy.set_types(table.types)
                    for row in rows:
                        copy.write_row(row)
                        number += 1
                        size += sum(len(row[index] or b"") for index in sized)
                        if number == PIECE_ROWS or size >= PIECE_BYTES:
                            break
            except psycopg.Error as error:
                raise self._database.failure(error) from error
        return number

    def drop(self) -> None:
        """Drop them, in the open transaction."""
        for table in TABLES:
            self._database.run(f"DROP TABLE IF EXISTS {beside(self._mark.copy_id, table)}")
