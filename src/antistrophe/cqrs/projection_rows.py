"""The rows of projections in a store: how far each has come, and the state of those that save one.

A projection has one row for all processes. ``generation`` counts the builds that have answered, and a build writes only
while its generation is the one in the row.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

from antistrophe.eventstore.store import EventStore
from antistrophe.eventstore.store_transaction import database_of
from antistrophe.storage.connection import SqlDatabase
from antistrophe.storage.database import now_us

Row: TypeAlias = tuple[int, int, bytes | None]
"""Generation, position and state of a projection; the state is None where it has tables, or none was saved."""


class ProjectionRows(Protocol):
    """Where the rows of the projections are. Any thread may call any method at any time."""

    def read(self, name: str) -> Row:
        """The row of a projection. It is made if needed."""

    def save(self, name: str, generation: int, position: int, state: bytes) -> None:
        """Save the state of a build, unless another process has saved a rebuilt one or a later state."""

    def save_rebuilt(self, name: str, position: int, state: bytes) -> int:
        """Save the state of a rebuilt build over any saved one. Returns its generation."""


class SqliteProjectionRows:
    """The rows in the SQLite database of a store."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    def read(self, name: str) -> Row:
        """See ``ProjectionRows``."""
        with self._store.transaction() as transaction:
            return row_of(database_of(transaction), name)

    def save(self, name: str, generation: int, position: int, state: bytes) -> None:
        """See ``ProjectionRows``."""
        with self._store.transaction() as transaction:
            database_of(transaction).execute(
                "UPDATE projections SET position = ?, state = ?, updated_at = ?"
                " WHERE name = ? AND generation = ? AND (position < ? OR state IS NULL)",
                (position, state, now_us(), name, generation, position),
            )

    def save_rebuilt(self, name: str, position: int, state: bytes) -> int:
        """See ``ProjectionRows``."""
        with self._store.transaction() as transaction:
            database = database_of(transaction)
            row_of(database, name)
            database.execute(
                "UPDATE projections SET generation = last_generation + 1, last_generation = last_generation + 1,"
                " position = ?, state = ?, updated_at = ? WHERE name = ?",
                (position, state, now_us(), name),
            )
            return row_of(database, name)[0]


def advance(database: SqlDatabase, name: str, position: int) -> None:
    """A projection with tables has come to that position. Call this in the transaction of its changes."""
    database.execute("UPDATE projections SET position = ?, updated_at = ? WHERE name = ?", (position, now_us(), name))


def answer_from(database: SqlDatabase, name: str, generation: int, position: int) -> None:
    """From now on that generation of a projection's tables answers. Call this in a transaction."""
    database.execute(
        "UPDATE projections SET generation = ?, position = ?, state = NULL, updated_at = ? WHERE name = ?",
        (generation, position, now_us(), name),
    )


def row_of(database: SqlDatabase, name: str) -> Row:
    """Read the row of a projection from SQLite. It is made if needed. Call this in a transaction."""
    row = database.row("SELECT generation, position, state FROM projections WHERE name = ?", (name,))
    if row is None:
        database.execute(
            "INSERT INTO projections(name, generation, last_generation, position, updated_at) VALUES (?, 1, 1, 0, ?)",
            (name, now_us()),
        )
        row = (1, 0, None)
    generation, position, state = row
    return generation, position, state
