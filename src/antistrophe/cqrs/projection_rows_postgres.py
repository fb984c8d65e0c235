"""The rows of projections in a PostgreSQL database. Whoever changes one locks it until the end of the transaction."""

from __future__ import annotations

from antistrophe.cqrs.projection_rows import Row
from antistrophe.eventstore.postgres import PostgresEvents
from antistrophe.storage.database import now_us
from antistrophe.storage.postgres_database import PostgresDatabase


class PostgresProjectionRows:
    """The PostgreSQL variant of ``ProjectionRows``."""

    def __init__(self, backend: PostgresEvents) -> None:
        self._backend = backend

    def read(self, name: str) -> Row:
        """See ``ProjectionRows``."""
        with self._backend.rows_transaction() as database:
            row = locked_row(database, name)
        self._backend.feed.reached(row[1])
        return row

    def save(self, name: str, generation: int, position: int, state: bytes) -> None:
        """See ``ProjectionRows``."""
        with self._backend.rows_transaction() as database:
            database.execute(
                "UPDATE projections SET position = ?, state = ?, updated_at = ?"
                " WHERE name = ? AND generation = ? AND (position < ? OR state IS NULL)",
                (position, state, now_us(), name, generation, position),
            )

    def save_rebuilt(self, name: str, position: int, state: bytes) -> int:
        """See ``ProjectionRows``."""
        with self._backend.rows_transaction() as database:
            locked_row(database, name)
            ((generation,),) = database.returning(
                "UPDATE projections SET generation = last_generation + 1, last_generation = last_generation + 1,"
                " position = ?, state = ?, updated_at = ? WHERE name = ? RETURNING generation",
                (position, state, now_us(), name),
            )
            return int(generation)


def locked_row(database: PostgresDatabase, name: str) -> Row:
    """Read and lock the row of a projection in the open transaction. It is made if needed."""
    database.execute(
        "INSERT INTO projections(name, generation, last_generation, position, updated_at) VALUES (?, 1, 1, 0, ?)"
        " ON CONFLICT (name) DO NOTHING",
        (name, now_us()),
    )
    generation, position, state = database.row(
        "SELECT generation, position, state FROM projections WHERE name = ? FOR UPDATE", (name,)
    )
    return generation, position, state
