"""The schema of the one SQLite file: every table and index, and how an older file becomes a newer one.

Rows of ``journal`` and ``events`` are never changed nor deleted, and a file has one writer at a time: positions count
from 1 without a gap, in the order of the commits (AUTOINCREMENT would add nothing to that but a page to every commit).
Times are microseconds since the epoch, in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

APPLICATION_ID = 0x616E7469
"""What marks a SQLite file as ours ("anti")."""

Migration: TypeAlias = tuple[str, ...]
"""The statements that turn one version of the schema into the next."""

_JOURNAL = (
    # The truth. ``state`` is the saga as monitoring shows it, on the last row of each append and NULL on the others.
    """CREATE TABLE journal(
        position INTEGER PRIMARY KEY,
        saga_id  TEXT NOT NULL,
        seq      INTEGER NOT NULL,
        at       INTEGER NOT NULL,
        kind     TEXT NOT NULL,
        entry    BLOB NOT NULL,
        state    BLOB,
        UNIQUE(saga_id, seq)
    )""",
    # One row per saga, a projection of the journal that is written in the same transaction: what lists and counts go
    # by. ``accepted``, ``updated`` and ``finished`` are positions; ``finished`` is NULL while the saga runs.
    """CREATE TABLE sagas(
        accepted   INTEGER PRIMARY KEY,
        id         TEXT NOT NULL UNIQUE,
        request_id TEXT NOT NULL,
        name       TEXT NOT NULL,
        status     TEXT NOT NULL,
        updated    INTEGER NOT NULL,
        finished   INTEGER,
        error      TEXT,
        waiting    TEXT
    )""",
    "CREATE INDEX sagas_by_status ON sagas(status)",
    "CREATE INDEX sagas_by_name ON sagas(name)",
    "CREATE INDEX sagas_by_finish ON sagas(finished, status) WHERE finished IS NOT NULL",
)

_EVENTS = (
    # ``event_id`` is set where an event could be written twice (a saga's), and NULL elsewhere.
    """CREATE TABLE events(
        position     INTEGER PRIMARY KEY,
        stream       TEXT NOT NULL,
        version      INTEGER NOT NULL,
        type         TEXT NOT NULL,
        type_version INTEGER NOT NULL,
        data         BLOB NOT NULL,
        metadata     BLOB,
        recorded_at  INTEGER NOT NULL,
        event_id     BLOB,
        UNIQUE(stream, version)
    )""",
    "CREATE UNIQUE INDEX events_by_id ON events(event_id) WHERE event_id IS NOT NULL",
    """CREATE TABLE snapshots(
        stream      TEXT NOT NULL,
        version     INTEGER NOT NULL,
        state       BLOB NOT NULL,
        recorded_at INTEGER NOT NULL,
        PRIMARY KEY(stream, version)
    )""",
)

_AROUND = (
    # How far each projection has come; ``state`` is the projection's own, where it has one and no table for it. A
    # rebuild is a new ``generation``, with tables of its own; ``last_generation`` is the last that was begun.
    """CREATE TABLE projections(
        name            TEXT PRIMARY KEY,
        generation      INTEGER NOT NULL,
        last_generation INTEGER NOT NULL,
        position        INTEGER NOT NULL,
        updated_at      INTEGER NOT NULL,
        state           BLOB
    )""",
    # Idempotency keys of commands. A row without ``answer`` is a claim: the process that it names runs the handler.
    """CREATE TABLE claims(
        key               TEXT PRIMARY KEY,
        command_hash      BLOB NOT NULL,
        command_type      TEXT NOT NULL,
        token             TEXT NOT NULL,
        owner_pid         INTEGER NOT NULL,
        owner_start_ticks INTEGER NOT NULL,
        owner_boot_id     TEXT NOT NULL,
        answer            BLOB,
        updated_at        INTEGER NOT NULL
    )""",
    "CREATE INDEX claims_by_age ON claims(updated_at)",
)

MIGRATIONS: tuple[Migration, ...] = (_JOURNAL + _EVENTS + _AROUND,)
"""The one at index n leads from version n to n + 1; version 0 is an empty file. Released ones are never edited."""


class Executes(Protocol):
    """What a migration needs of a connection."""

    def execute(self, sql: str, /) -> object:
        """Run one statement."""


def migrate(connection: Executes, version: int, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the file from ``version`` to the newest one. Call it inside a transaction."""
    for migration in migrations[version:]:
        for statement in migration:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(migrations)}")
