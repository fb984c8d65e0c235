"""Builds of a projection whose state is in tables of the store's file, committed together with its position.

Every build has a generation, which is part of its tables' names. Processes share the tables of the generation that
answers: each process applies only the events that no other has applied. A rebuild fills tables of a new generation. The
tables that it replaces stay until the next rebuild, because other threads and processes may still read them.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from antistrophe.cqrs.projection import ProjectionConnection, SqlProjection, Tables
from antistrophe.cqrs.projection_builds import Build, Factory, ProjectionFault, Superseded, row_of
from antistrophe.errors import CqrsError, JournalError
from antistrophe.eventstore.recorded import RecordedEvent
from antistrophe.eventstore.store import EventStore, database_of
from antistrophe.storage.database import Database, now_us, refusal
from antistrophe.storage.opening import open_database

_HOLD_S = 0.01
"""How long one transaction applies events. Then the file's write lock stays free for half of that time."""

_PAGE = 256
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


class TableBuild:
    """A projection with tables of its own. ``live``: its generation is the one that answers."""

    def __init__(self, builds: TableBuildStore, projection: SqlProjection, generation: int, position: int) -> None:
        self.projection = projection
        self.position = position
        self.generation = generation
        self.live = False
        self._builds = builds

    def apply(self, events: Sequence[RecordedEvent]) -> None:
        """See ``Build``."""
        fault: ProjectionFault | None = None
        began = time.monotonic()
        while events:
            try:
                self._commit(events)
                break
            except _RolledBack as stopped:
                # The whole transaction was rolled back. The events before the failing one are applied again.
                fault = stopped.fault
                events = events[: stopped.index]
        if fault is not None:
            raise fault
        held_s = time.monotonic() - began
        if held_s >= _HOLD_S:
            time.sleep(held_s / 2)  # SQLite's lock is not fair: other writers must find it free

    def checkpoint(self) -> bool:
        """See ``Build``."""
        return False

    def publish(self) -> None:
        """See ``Build``. The transaction keeps all writers out, so no event is missing that the replaced build has."""
        with self._builds.store.transaction() as transaction:
            database = database_of(transaction)
            before = row_of(database, self._builds.name)[0]
            if before > self.generation:
                raise Superseded
            position = self.position
            try:
                while events := self._builds.store.read(position, _PAGE):
                    position = self._apply(database, events, position, None)
            except _RolledBack as stopped:
                raise stopped.fault from stopped.__cause__
            database.execute(
                "UPDATE projections SET generation = ?, position = ?, state = NULL, updated_at = ? WHERE name = ?",
                (self.generation, position, now_us(), self._builds.name),
            )
            self._builds.drop_all_but(database, {before, self.generation}, up_to=self.generation)
        self.position = position
        self.live = True

    def superseded_by_rebuild(self) -> bool:
        """See ``Build``."""
        with self._builds.store.transaction() as transaction:
            return row_of(database_of(transaction), self._builds.name)[0] > self.generation

    def create(self, database: Database) -> None:
        """Let the projection create its tables. Call this in a transaction."""
        try:
            self.projection.create_in(ProjectionConnection(database.usable()), self._builds.tables(self.generation))
        except Exception as error:
            raise _problem(database, error, None) from error

    def _commit(self, events: Sequence[RecordedEvent]) -> None:
        with self._builds.store.transaction() as transaction:
            database = database_of(transaction)
            begin = self.position
            if self.live:
                generation, begin, _ = row_of(database, self._builds.name)
                if generation != self.generation:
                    raise Superseded
                if begin < self.position:  # an older file was put in place: apply the events from there again
                    self.position = begin
                    return
            reached = self._apply(database, events, begin, time.monotonic() + _HOLD_S)
            if self.live and reached > begin:
                database.execute(
                    "UPDATE projections SET position = ?, updated_at = ? WHERE name = ?",
                    (reached, now_us(), self._builds.name),
                )
        self.position = reached

    def _apply(self, database: Database, events: Sequence[RecordedEvent], reached: int, until: float | None) -> int:
        """Apply the events behind ``reached`` in the open transaction. Returns the position of the last one."""
        raw = database.usable()
        connection = ProjectionConnection(raw)
        for index, event in enumerate(events):
            if event.position <= reached:
                continue
            try:
                if not event.erased:
                    self.projection.apply_in(connection, event)
                if not raw.in_transaction:
                    raise CqrsError("apply_in ended the transaction of the event; it must not commit or roll back")
            except (Exception, SystemExit) as error:
                problem = _problem(database, error, event)
                if isinstance(problem, ProjectionFault):
                    raise _RolledBack(index, problem) from error
                raise problem from error
            reached = event.position
            if until is not None and time.monotonic() > until:
                break
        return reached


class _RolledBack(Exception):  # noqa: N818 - leaves the transaction, which rolls it back, and tells which event failed
    def __init__(self, index: int, fault: ProjectionFault) -> None:
        super().__init__(str(fault))
        self.index = index
        self.fault = fault


class TableBuildStore:
    """Makes builds that begin at the position of the committed tables."""

    def __init__(self, store: EventStore, path: Path, name: str, factory: Factory) -> None:
        self.store = store
        self.name = name
        self._path = path
        self._factory = factory
        self._reader: Database | None = None
        self._reader_lock = threading.Lock()
        self._stem = f"projection:{_letters(name)}:"

    def current(self) -> Build:
        """See ``BuildStore``."""
        projection = self._factory()
        with self.store.transaction() as transaction:
            database = database_of(transaction)
            generation, position, state = row_of(database, self.name)
            if state is not None:  # this projection was a SavedProjection before, and has no tables
                generation, position = self._next_generation(database), 0
                database.execute(
                    "UPDATE projections SET generation = ?, position = 0, state = NULL WHERE name = ?",
                    (generation, self.name),
                )
            build = TableBuild(self, projection, generation, position)
            build.create(database)
        build.live = True
        return build

    def fresh(self) -> Build:
        """See ``BuildStore``."""
        projection = self._factory()
        with self.store.transaction() as transaction:
            database = database_of(transaction)
            row_of(database, self.name)
            build = TableBuild(self, projection, self._next_generation(database), 0)
            build.create(database)
        return build

    def tables(self, generation: int) -> Tables:
        """The tables of a generation."""
        return Tables(f"{self._stem}{generation}:", self._query)

    def drop_all_but(self, database: Database, kept: set[int], *, up_to: int) -> None:
        """Drop the tables of older generations, those of unfinished rebuilds too. Those of ``kept`` and of generations
        after ``up_to`` stay."""
        prefix = self._stem
        for kind, full_name in database.rows(
            "SELECT type, name FROM sqlite_master WHERE substr(name, 1, ?) = ? AND type IN ('table', 'view')"
            " ORDER BY type = 'table', sql NOT LIKE 'CREATE VIRTUAL%'",  # a virtual table before its shadow tables
            (len(prefix), prefix),
        ):
            generation = int(full_name[len(prefix) :].partition(":")[0])
            if generation <= up_to and generation not in kept:
                database.execute(f'DROP {kind} IF EXISTS "{full_name}"')

    def _next_generation(self, database: Database) -> int:
        database.execute("UPDATE projections SET last_generation = last_generation + 1 WHERE name = ?", (self.name,))
        return int(database.row("SELECT last_generation FROM projections WHERE name = ?", (self.name,))[0])

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

    def close(self) -> None:
        """Close the connection of the queries. The next query opens it again."""
        with self._reader_lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None


def _problem(database: Database, error: BaseException, event: RecordedEvent | None) -> Exception:
    """What to raise for an error from a projection's code: the projection may have failed, or the file."""
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(error, sqlite3.Error) and code is not None and code & 0xFF in _OF_THE_FILE:
        return refusal(database.path, error)
    return ProjectionFault(error, event)


def _letters(name: str) -> str:
    """Encode a name as part of a table's name. SQLite ignores the case there, and ``:`` separates the parts."""
    return "".join(chr(byte) if byte in _PLAIN_LETTERS else f"%{byte:02x}" for byte in name.encode())
