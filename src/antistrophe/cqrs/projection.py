"""What a projection is: a class of the application's own that makes something to look at out of events.

Three kinds. One has ``apply`` and lives in memory. One has ``save`` and ``load`` besides: its state is kept in the
store's file together with its position. One has ``create_in`` and ``apply_in``: its state is in tables of that file,
and every change of them is committed together with the position.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from antistrophe.eventstore.recorded import RecordedEvent


@runtime_checkable
class Projection(Protocol):
    """Made of events, in memory: a new one of it has seen nothing, and is given every event once and in order."""

    def apply(self, recorded_event: RecordedEvent, /) -> None:
        """Take in one event. What it raises marks the projection as failed, and no further event reaches it."""


@runtime_checkable
class SavedProjection(Projection, Protocol):
    """One whose state is kept from time to time, so that the next process need not begin at the first event."""

    def save(self) -> Any:
        """The whole state as a plain value: dicts, lists, texts, numbers, times and the like."""

    def load(self, state: Any, /) -> None:
        """Take over a state that ``save`` gave; called at most once, before the first event."""


@runtime_checkable
class SqlProjection(Protocol):
    """One whose state is in tables of the store's SQLite file. It needs no ``apply``."""

    def create_in(self, connection: ProjectionConnection, tables: Tables, /) -> None:
        """Create the tables where they are not there yet, under the names that ``tables`` gives; keep ``tables`` for
        reading. Called before anything else, once for every object."""

    def apply_in(self, connection: ProjectionConnection, recorded_event: RecordedEvent, /) -> None:
        """Take in one event by changing the tables. What it raises undoes the changes of this event, and marks the
        projection as failed. It may be called again for an event whose changes were never committed."""


class ProjectionConnection:
    """The transaction that a projection's changes belong to; of use only during the call that it was passed to."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement. Raises sqlite3.Error."""
        return self._connection.execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> sqlite3.Cursor:
        """Run one statement for each of the rows. Raises sqlite3.Error."""
        return self._connection.executemany(sql, rows)


class Tables:
    """The tables of one build of a projection. A rebuild makes new ones beside them, so their names are given."""

    def __init__(self, prefix: str, query: Callable[[str, Sequence[Any]], list[Any]]) -> None:
        self._prefix = prefix
        self._query = query

    def name(self, table: str) -> str:
        """The name of a table (or index) in SQL, in quotes."""
        if not re.fullmatch(r"\w+", table):
            raise ValueError(f"a table is named by letters, digits and _, not {table!r}")
        return f'"{self._prefix}{table}"'

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """The committed rows, as tuples. Any thread may ask at any time, and waits for nobody. Raises sqlite3.Error."""
        return self._query(sql, parameters)
