"""The one transaction that brings a copy from the tables beside to where hosts and readers look.

Positions are drawn in it, under a lock that is let go at once: other hosts go on writing. Whoever reads by positions
waits for the end of this transaction, and misses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from antistrophe.errors import JournalBusyError, JournalError
from antistrophe.hosts.description import HostDescription
from antistrophe.moving.beside import TablesBeside
from antistrophe.moving.comparing import compare, pieces, positions_of, steps
from antistrophe.moving.mark import CopyMark
from antistrophe.moving.owning import let_own
from antistrophe.moving.source import Source
from antistrophe.moving.tables import (
    BY_POSITION,
    CLAIMS,
    PROJECTIONS,
    PURGED,
    SHAPES,
    SNAPSHOTS,
    Positions,
    Table,
    beside,
)
from antistrophe.storage.portable_sql import SCHEMA
from antistrophe.storage.postgres import psycopg
from antistrophe.storage.postgres_database import PostgresDatabase

_LOCK_MS = 500
_LOCK_TIMES = 20
_LOCK_PAUSE_S = 0.5


class Release:
    """The transaction of one copy. ``owner``: the host that owns the sagas that go on."""

    def __init__(self, database: PostgresDatabase, mark: CopyMark, source: Source, owner: HostDescription) -> None:
        self._database = database
        self._mark = mark
        self._source = source
        self._owner = owner
        self._grown: dict[Positions, int] = {"journal": 0, "events": 0}
        self._projections = False

    def make(self, tell: Callable[[str], None]) -> None:
        """Make the transaction. Raises JournalError where something is not as it has to be, and CommitUnknownError
        where nobody can say whether it was committed: the row of the copy tells, when the verb is run again."""
        database = self._database
        try:
            with database.transaction():
                self._mark.lock()
                database.row("SELECT pg_current_xact_id()")
                self._draw("journal")
                self._draw("events")
                tell("what was copied is brought to where hosts look")
                for table in BY_POSITION:
                    self._insert_by_position(table)
                self._insert_others()
                let_own(database, self._source, self._owner, self._grown["journal"])
                tell("what is there now is compared with the file")
                entries, sagas, events = compare(database, self._mark.copy_id, self._source, self._grown)
                TablesBeside(database, self._mark).drop()
                self._mark.done(sagas, entries, events, self._grown, projections=self._projections)
        except psycopg.IntegrityError as error:
            raise JournalError(
                f"{database.where}: something of the same name was stored there meanwhile, and nothing was changed: run"
                " the verb again, which names it"
            ) from error

    # --- positions ---------------------------------------------------------------------------------------------------

    def _draw(self, positions: Positions) -> None:
        """Draw as many positions as the file has, all in one piece."""
        head = self._source.head(positions)
        name, sequence = f"{SCHEMA}.{positions}", f"{SCHEMA}.{_SEQUENCES[positions]}"
        self._database.run(f"LOCK TABLE {name} IN ROW EXCLUSIVE MODE")  # by which readers know that this one writes
        for left in reversed(range(_LOCK_TIMES)):
            self._database.run("SAVEPOINT drawing")
            try:
                self._database.run(f"SET LOCAL lock_timeout = {_LOCK_MS}")
                self._database.run(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE")
                (last,) = self._database.row(
                    f"SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END FROM {sequence}"
                )
                if head:
                    self._database.row(f"SELECT setval('{sequence}', ?::bigint)", (last + head,))
                self._grown[positions] = int(last)
                return
            except JournalBusyError:
                if not left:
                    raise
            finally:  # what was drawn stays drawn, and the lock is let go
                self._database.run("ROLLBACK TO SAVEPOINT drawing")
            time.sleep(_LOCK_PAUSE_S)

    # --- rows --------------------------------------------------------------------------------------------------------

    def _insert_by_position(self, table: Table) -> None:
        (key,) = table.key
        kept = beside(self._mark.copy_id, table)
        values = ", ".join(
            f"{column.name} + {self._grown[column.positions]}" if column.positions else column.name
            for column in table.columns
        )
        sql = (
            f"INSERT INTO {SCHEMA}.{table.name}({', '.join(table.names)}) SELECT {values} FROM {kept}"
            f" WHERE {key} > ? AND {key} <= ? ORDER BY {key}"
        )
        for after, up_to in steps(self._source.head(positions_of(table))):
            self._database.execute(sql, (after, up_to))

    def _insert_others(self) -> None:
        for table in (SHAPES, PURGED, SNAPSHOTS, CLAIMS):
            for which, values in pieces(self._database, self._mark.copy_id, table):
                self._insert(table, which, values)
        if self._projections_go_on():
            columns = ", ".join(PROJECTIONS.names)
            kept = beside(self._mark.copy_id, PROJECTIONS)
            self._database.execute(f"INSERT INTO {SCHEMA}.projections({columns}) SELECT {columns} FROM {kept}")
            self._projections = True

    def _insert(self, table: Table, which: str, values: list[Any]) -> None:
        """Insert a piece of a table, but for what is there."""
        kept, names = beside(self._mark.copy_id, table), ", ".join(table.names)
        same = " AND ".join(f"its.{name} = kept.{name}" for name in (table.names if table is SHAPES else table.key))
        sql = (
            f"INSERT INTO {SCHEMA}.{table.name}({names}) SELECT {names} FROM (SELECT * FROM {kept} WHERE {which})"
            f" AS kept WHERE NOT EXISTS (SELECT FROM {SCHEMA}.{table.name} AS its WHERE {same})"
        )
        if table is not PURGED:
            self._database.execute(sql, values)
            return
        added = f"WITH added AS ({sql} RETURNING status) SELECT status, count(*) FROM added GROUP BY status"
        for status, number in self._database.returning(added, values):
            self._count_purged(status, number)

    def _projections_go_on(self) -> bool:
        """Whether what projections have seen is what they would have seen there: the file's events are all that there
        are, at their positions."""
        return not self._grown["events"] and not self._database.row(f"SELECT count(*) FROM {SCHEMA}.projections")[0]

    def _count_purged(self, status: str, number: int) -> None:
        found = self._source.file.row("SELECT position FROM purges WHERE what = ?", (status,))
        self._database.execute(
            f"INSERT INTO {SCHEMA}.purges AS its(what, number, position) VALUES (?, ?, ?) ON CONFLICT (what) DO UPDATE"
            " SET number = its.number + excluded.number, position = greatest(its.position, excluded.position)",
            (status, number, (found[0] if found else 0) + self._grown["journal"]),
        )


_SEQUENCES: dict[Positions, str] = {"journal": "journal_positions", "events": "event_positions"}
