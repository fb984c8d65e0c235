"""The row of a copy in the database: that it has begun, and that all of it is there. Whoever works on the copy, or
calls it off, locks this row first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from antistrophe.errors import JournalError
from antistrophe.moving.tables import Positions
from antistrophe.storage.portable_sql import SCHEMA
from antistrophe.storage.postgres_database import PostgresDatabase

_DONE = "done_at, journal_grown, events_grown, projections"


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy that is complete, and by how much positions have grown. ``projections``: those that keep no tables go on
    there."""

    journal_grown: int
    events_grown: int
    projections: bool


class CopyMark:
    """The row of one copy. Every method raises JournalError where the database fails."""

    def __init__(self, database: PostgresDatabase, copy_id: str) -> None:
        self._database = database
        self.copy_id = copy_id

    def begin(self, source: str) -> None:
        """Note that the copy begins, or goes on."""
        self._database.execute(
            f"INSERT INTO {SCHEMA}.copies(id, source) VALUES (?, ?) ON CONFLICT (id) DO NOTHING",
            (self.copy_id, source.encode("utf-8", "backslashreplace").decode().replace("\0", "")),
        )

    def copied(self) -> Copied | None:
        """What was copied, where the copy is complete."""
        found = self._database.row(f"SELECT {_DONE} FROM {SCHEMA}.copies WHERE id = ?", (self.copy_id,))
        return _copied(found)

    def lock(self) -> None:
        """Lock the row until the end of the open transaction. Raises JournalError where the copy was called off, or is
        complete."""
        found = self._database.row(f"SELECT done_at FROM {SCHEMA}.copies WHERE id = ? FOR UPDATE", (self.copy_id,))
        if found is None or found[0] is not None:
            done = "completed this copy" if found else "called this copy off"
            raise JournalError(f"{self._database.where}: another call has {done} meanwhile: run the verb again")

    def done(self, sagas: int, entries: int, events: int, grown: dict[Positions, int], *, projections: bool) -> None:
        """Note, in the open transaction, that all of it is there."""
        ((xid,),) = self._database.returning(
            f"UPDATE {SCHEMA}.copies SET done_at = clock_timestamp(), sagas = ?, entries = ?, events = ?,"
            " journal_grown = ?, events_grown = ?, projections = ? WHERE id = ?"
            " RETURNING pg_current_xact_id()::text::bigint",
            (sagas, entries, events, grown["journal"], grown["events"], projections, self.copy_id),
        )
        proof = f"SELECT 1 FROM {SCHEMA}.copies WHERE id = ? AND done_at IS NOT NULL"
        self._database.prove(xid, proof, (self.copy_id,))

    def forget(self) -> Copied | None:
        """Remove the row in the open transaction, where the copy is not complete. Returns what was copied, where it
        is."""
        found = self._database.row(f"SELECT {_DONE} FROM {SCHEMA}.copies WHERE id = ? FOR UPDATE", (self.copy_id,))
        if (copied := _copied(found)) is None:
            self._database.execute(f"DELETE FROM {SCHEMA}.copies WHERE id = ?", (self.copy_id,))
        return copied


def _copied(found: Any) -> Copied | None:
    return None if found is None or found[0] is None else Copied(*found[1:])
