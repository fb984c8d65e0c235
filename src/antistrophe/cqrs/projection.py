"""What a projection is: a class of the application that makes a view to read from events.

There are three kinds. A ``Projection`` has ``apply``, and its state is in memory. A ``SavedProjection`` also has
``save`` and ``load``: from time to time its state is saved in the store's database, together with its position. A
``SqlProjection`` has ``create_in`` and ``apply_in``: its state is in tables of that database, and every change of the
tables is committed together with the position.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from antistrophe.eventstore.recorded import RecordedEvent


@runtime_checkable
class Projection(Protocol):
    """A projection in memory. A new object has seen no event, and gets every event once and in order.

    For instance::

        class Balances:
            def __init__(self):
                self.of = defaultdict(int)

            def apply(self, recorded_event):
                if isinstance(recorded_event.event, Credited):
                    self.of[recorded_event.event.account] += recorded_event.event.amount
    """

    def apply(self, recorded_event: RecordedEvent, /) -> None:
        """Apply one event. An exception marks the projection as failed, and no further event reaches it."""


@runtime_checkable
class SavedProjection(Projection, Protocol):
    """A projection whose state is saved from time to time, so that the next process need not apply every event."""

    def save(self) -> Any:
        """Return the whole state as a plain value: dicts, lists, texts, numbers, times and the like."""

    def load(self, state: Any, /) -> None:
        """Take over a state that ``save`` returned. Called at most once, before the first event."""


@runtime_checkable
class SqlProjection(Protocol):
    """A projection whose state is in tables of the store's database. It needs no ``apply``."""

    def create_in(self, connection: ProjectionConnection, tables: Tables, /) -> None:
        """Create the tables, unless they exist, under the names that ``tables`` gives. Keep ``tables`` for reading.
        Called once for every object, before any other method."""

    def apply_in(self, connection: ProjectionConnection, recorded_event: RecordedEvent, /) -> None:
        """Apply one event by changing the tables. An exception undoes the changes of this event, and marks the
        projection as failed. This may be called again for an event whose changes were never committed."""


class ProjectionConnection:
    """The transaction of a projection's changes. Use it only during the call that got it.

    Its SQL is that of the store's database. In PostgreSQL, too, ``?`` stands for a value, or ``$1`` where the statement
    needs the character itself; what fails raises psycopg.Error, and cursors are those of psycopg. There a statement
    that has failed ends the transaction, so don't go on after it.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement. Raises sqlite3.Error."""
        return self._connection.execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> sqlite3.Cursor:
        """Run one statement for each row. Raises sqlite3.Error."""
        return self._connection.executemany(sql, rows)


class Tables:
    """The tables of one build of a projection. Their names are given: a rebuild makes new tables beside them."""

    def __init__(
        self, prefix: str, query: Callable[[str, Sequence[Any]], list[Any]], *, longest_name: int | None = None
    ) -> None:
        self._prefix = prefix
        self._query = query
        self._longest_name = longest_name

    def name(self, table: str) -> str:
        """Return the name of a table or index for SQL, in quotes. Raises ValueError unless ``table`` has only letters,
        digits and _, and is as short as the database needs it."""
        if not re.fullmatch(r"\w+", table):
            raise ValueError(f"the name of a table must be letters, digits and _ only, not {table!r}")
        room = None if self._longest_name is None else self._longest_name - len(self._prefix.encode())
        if room is not None and len(table.encode()) > room:
            raise ValueError(f"the name of a table must have at most {room} bytes here, and {table!r} has more")
        return f'"{self._prefix}{table}"'

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return the committed rows as tuples. Any thread may call this at any time, and waits for no other. Raises
        sqlite3.Error, or psycopg.Error in PostgreSQL."""
        return self._query(sql, parameters)
