"""The schema of the one SQLite file: every table and index, and how an older file becomes a newer one.

Rows of ``journal`` and ``events`` are never changed, but those of a saga that is erased; a file has one writer at a
time. Their positions count from 1 in the order of the commits. What is purged leaves gaps, but never the last position
free: SQLite gives the position behind the largest one, so none is given twice. AUTOINCREMENT would add a page to every
commit for that. Times are microseconds since the epoch, in UTC, by the machine's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

APPLICATION_ID = 0x616E7469
"""The number that marks a SQLite file as one of this program's ("anti")."""

SchemaMigration: TypeAlias = tuple[str, ...]
"""The statements that turn one version of the schema into the next."""

_JOURNAL = (
    # The truth about every saga. The last row of each append has a ``state``: the saga as monitoring shows it, since
    # version 2 what the append has changed of that, or since version 5 nothing (an empty blob), where it is folded from
    # the entries. The other rows have NULL there.
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
    # One row per saga, for lists and counts. It is a projection of the journal, written in the same transaction.
    # ``accepted``, ``updated`` and ``finished`` are positions; ``finished`` is NULL while the saga runs. ``updated`` is
    # that of the last append; since version 5 of the last one that has changed this row.
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
    # ``event_id`` is set on the events of sagas, which could be written twice, and NULL on all others.
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
    # How far each projection has come. ``state`` is its saved state, and NULL if it keeps tables instead. A rebuild is
    # a new ``generation`` with tables of its own; ``last_generation`` is the last one that was begun.
    """CREATE TABLE projections(
        name            TEXT PRIMARY KEY,
        generation      INTEGER NOT NULL,
        last_generation INTEGER NOT NULL,
        position        INTEGER NOT NULL,
        updated_at      INTEGER NOT NULL,
        state           BLOB
    )""",
    # The idempotency keys of commands. A row without ``answer`` is a claim: the process in it runs the handler.
    # ``owner_boot_id``: the boot, and after a space the PID namespace, in which the owner has its pid.
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

_CHANGES_IN_STATES: SchemaMigration = ()
"""Nothing to do: what version 1 has written is read as it is. The number keeps older programs from files with rows that
they can't read."""

_COMMANDS_OF_CLAIMS: SchemaMigration = ("ALTER TABLE claims ADD COLUMN command BLOB",)
"""The packed command of a key: by its values it is known again when its class has got more fields. NULL where only the
fingerprint in ``command_hash`` is kept: in rows of version 2, and for large commands."""

_RELOCATIONS: SchemaMigration = ()
"""Nothing to do: since version 4 a journal may have entries of the kind SagaRelocated."""

_FOLDED_STATES: SchemaMigration = ()
"""Nothing to do: since version 5 the state of a short saga is folded from its entries, and a state may be empty."""

_PURGES: SchemaMigration = (
    # What is left of each purged saga: a digest of its id, its final status, and when it finished.
    """CREATE TABLE purged(
        id_digest   BLOB PRIMARY KEY,
        status      TEXT NOT NULL,
        finished_at INTEGER NOT NULL
    ) WITHOUT ROWID""",
    # For each final status how many sagas were purged, and the last position at which one of them had finished. The
    # row "events" has in ``position`` the purged event that stays until another one is behind it; the row "shapes" how
    # many were purged when unused shapes were last looked for.
    """CREATE TABLE purges(
        what     TEXT PRIMARY KEY,
        number   INTEGER NOT NULL,
        position INTEGER NOT NULL
    ) WITHOUT ROWID""",
)

_SHAPES: SchemaMigration = (
    # What the definitions of many sagas have in common, by a hash of its bytes. Since version 7 the first entry of a
    # saga may name one, and has the rest.
    """CREATE TABLE shapes(
        hash  BLOB PRIMARY KEY,
        shape BLOB NOT NULL
    ) WITHOUT ROWID""",
)

_SHORT_ENTRIES: SchemaMigration = ()
"""Nothing to do: since version 8 an entry of the ordinary course is a list of values, without the names of fields."""

_MASKS: SchemaMigration = ()
"""Nothing to do: since version 9 an event in an entry may name its hidden fields, and an acceptance the place of its
caller in a trace."""

_PARKED: SchemaMigration = (
    # How many sagas are parked: each append that parks one, or goes on with one, changes it. It begins with 0 in files
    # of older versions, too. Whoever counts all parked sagas once knows from then on by its differences how many there
    # are.
    "CREATE TABLE parked(number INTEGER NOT NULL)",
    "INSERT INTO parked(number) VALUES (0)",
    # Up to which positions finished and parked sagas are in the index of texts. Before version 10 no parked ones were.
    "CREATE TABLE IF NOT EXISTS texts_indexed(finished INTEGER NOT NULL)",
    "ALTER TABLE texts_indexed ADD COLUMN parked INTEGER NOT NULL DEFAULT 0",
)

MIGRATIONS: tuple[SchemaMigration, ...] = (
    _JOURNAL + _EVENTS + _AROUND,
    _CHANGES_IN_STATES,
    _COMMANDS_OF_CLAIMS,
    _RELOCATIONS,
    _FOLDED_STATES,
    _PURGES,
    _SHAPES,
    _SHORT_ENTRIES,
    _MASKS,
    _PARKED,
)
"""The migration at index n leads from version n to n + 1; version 0 is an empty file. A released migration is never
edited."""


class Executes(Protocol):
    """The part of a connection that a migration uses."""

    def execute(self, sql: str, /) -> object:
        """Run one statement."""


def migrate(connection: Executes, version: int, migrations: Sequence[SchemaMigration] = MIGRATIONS) -> None:
    """Bring the file from ``version`` to the newest version. Call this inside a transaction."""
    for migration in migrations[version:]:
        for statement in migration:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(migrations)}")
