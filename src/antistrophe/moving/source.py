"""Reads a SQLite file that is copied, row by row in the order of the keys, and checks that PostgreSQL can store it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from antistrophe.errors import JournalError
from antistrophe.journal.postgres_statement import searchable
from antistrophe.moving.tables import CLAIMS, EVENTS, JOURNAL, SAGAS, SNAPSHOTS, Column, Positions, Table
from antistrophe.storage.database import Database, refusal


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is left out of a copy, because the database has it with the same content: ids of sagas, names of streams,
    idempotency keys."""

    sagas: set[str] = field(default_factory=set)
    streams: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)

    def of(self, table: Table) -> tuple[str, set[str]] | None:
        """The column that tells what is left out of that table, and its values; None where nothing is."""
        named = {
            JOURNAL.name: ("saga_id", self.sagas),
            SAGAS.name: ("id", self.sagas),
            EVENTS.name: ("stream", self.streams),
            SNAPSHOTS.name: ("stream", self.streams),
            CLAIMS.name: ("key", self.keys),
        }.get(table.name)
        return named if named is not None and named[1] else None


class Source:
    """A file that nobody writes to. Every method raises JournalError where it can't be read."""

    def __init__(self, database: Database) -> None:
        self.file = database
        self.left_out = LeftOut()

    @property
    def where(self) -> str:
        """How messages name the file."""
        return self.file.where

    def count(self, table: Table) -> int:
        """How many rows of a table are copied."""
        (number,) = self.file.row(f"SELECT count(*) FROM {table.name} WHERE {table.which}")
        left_out = self.left_out.of(table)
        return int(number) if left_out is None else sum(1 for _ in self.rows(table))

    def head(self, positions: Positions) -> int:
        """The last position."""
        return int(self.file.row(f"SELECT max(position) FROM {positions}")[0] or 0)

    def rows(self, table: Table, after: Sequence[Any] | None = None) -> Iterator[tuple[Any, ...]]:
        """The rows of a table behind that key, in order. One at a time is in memory."""
        columns = ", ".join(column.read or column.name for column in table.columns)
        sql = f"SELECT {columns} FROM {table.name} WHERE {table.which}"
        if after is not None:
            sql += f" AND ({', '.join(table.key)}) > ({', '.join('?' * len(table.key))})"
        sql += f" ORDER BY {', '.join(table.key)}"
        texts = [index for index, column in enumerate(table.columns) if column.kind == "text"]
        sound: set[tuple[type, ...]] = set()
        left_out = self.left_out.of(table)
        skipped = None if left_out is None else (table.names.index(left_out[0]), left_out[1])
        try:
            for row in self.file.usable().execute(sql, tuple(after or ())):
                if skipped is not None and row[skipped[0]] in skipped[1]:
                    continue
                types = tuple(map(type, row))
                if types not in sound or any("\0" in (row[index] or "") for index in texts):
                    yield self._checked(table, row)
                    sound.add(types)
                else:
                    yield row
        except sqlite3.Error as error:
            raise refusal(self.file.path, error) from error

    def _checked(self, table: Table, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """A row that has to be looked at. Raises JournalError where it can't be copied."""
        values = [
            searchable(value) if column.pictured and isinstance(value, str) else value
            for column, value in zip(table.columns, row, strict=True)
        ]
        for column, value in zip(table.columns, values, strict=True):
            if (wrong := column.check(value)) is not None:
                raise JournalError(self._cant_be_copied(table, row, column, wrong))
        return tuple(values)

    def _cant_be_copied(self, table: Table, row: Sequence[Any], column: Column, wrong: str) -> str:
        key = ", ".join(f"{name} {row[table.names.index(name)]!a:.100}" for name in table.key)
        advice = (
            "such a saga has to end, and be purged, where it is; a stream or key of that kind can't be in PostgreSQL"
            if "zero character" in wrong
            else "the file is damaged: restore it from a backup"
        )
        named = f" ({row[1]!a:.100})" if len(table.key) == 1 and isinstance(row[1], str) else ""
        where = f"{self.where}: the row {key}{named} of {table.name}"
        return f"{where} can't be copied: its {column.name} {wrong}; {advice}"
