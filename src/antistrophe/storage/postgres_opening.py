"""Brings the schema of a PostgreSQL database up to date, or refuses it by name.

Whoever changes the schema holds one lock until its transaction ends, so that hosts may start at once. A database that
can't be used is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from antistrophe.errors import JournalError
from antistrophe.storage.portable_sql import SCHEMA
from antistrophe.storage.postgres_database import PostgresDatabase
from antistrophe.storage.postgres_schema import LOCK
from antistrophe.storage.schema import SchemaMigration

OLDEST_SERVER = 14

VERSION = f"SELECT version, (to_jsonb(found) ->> 'serves')::bigint FROM {SCHEMA}.schema_version AS found"
"""The version of the schema, and the oldest one whose programs may go on in it: NULL where that is not said."""


def prepare(database: PostgresDatabase, migrations: Sequence[SchemaMigration], *, read_only: bool, serves: int) -> None:
    """Check the server and the schema, and bring an older or new schema to the newest version. A newer one is used as
    it is where it serves this program. ``serves``: the oldest version whose programs may go on in the newest one.
    Raises JournalError."""
    _check_server(database)
    newest = len(migrations)
    version = _version_of(database, newest)
    if version >= newest:
        return
    if read_only:
        if version == 0:
            raise JournalError(f"{database.where}: nothing was stored there yet, or it is the wrong database")
        raise JournalError(
            f"{database.where} is of schema version {version}, this program's is {newest}: open it once for writing,"
            " which brings it up to date"
        )
    with database.transaction():
        database.row("SELECT pg_advisory_xact_lock(?)", (LOCK,))
        version = _version_of(database, newest)  # another host may have done this meanwhile
        if version == 0:
            database.run(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            database.run(f"CREATE TABLE {SCHEMA}.schema_version(version bigint NOT NULL)")
            database.run(f"INSERT INTO {SCHEMA}.schema_version(version) VALUES (0)")
        elif version < serves:
            _refuse_while_hosts_run(database, version, newest)
        if version < newest:
            for migration in migrations[version:]:
                for statement in migration:
                    database.run(statement)
            database.run(
                f"ALTER TABLE {SCHEMA}.schema_version ADD COLUMN IF NOT EXISTS serves bigint NOT NULL DEFAULT 0"
            )
            database.execute(f"UPDATE {SCHEMA}.schema_version SET version = ?, serves = ?", (newest, serves))


def _refuse_while_hosts_run(database: PostgresDatabase, version: int, newest: int) -> None:
    """Raise JournalError where hosts work that the newest schema does not serve. They are all of an older release."""
    if database.row("SELECT to_regclass(?)", (f"{SCHEMA}.hosts",))[0] is None:
        return
    running = database.rows(
        f"SELECT name FROM {SCHEMA}.hosts WHERE ended IS NULL"
        " AND seen_at + lease_s * interval '1 second' > clock_timestamp() ORDER BY name"
    )
    if running:
        names = ", ".join(dict.fromkeys(name for (name,) in running))
        raise JournalError(
            f"{database.where} is of schema version {version}, and hosts of a release that needs it work there"
            f" ({names}): stop them before this program brings it to version {newest}"
        )


def _check_server(database: PostgresDatabase) -> None:
    server = database.server_version
    if server < OLDEST_SERVER:
        raise JournalError(f"{database.where} is PostgreSQL {server}; {OLDEST_SERVER} or a newer one is needed")
    (encoding,) = database.row(
        "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()"
    )
    if encoding != "UTF8":
        raise JournalError(
            f"{database.where} has the encoding {encoding}, which can't keep every text: make a database with UTF8"
            " (createdb --encoding UTF8 --template template0)"
        )


def is_served(found: Sequence[Any], newest: int) -> bool:
    """Whether a program whose schema is of version ``newest`` may use the one that ``VERSION`` has found."""
    version, serves = (None if each is None else int(each) for each in found)
    assert version is not None, "it is a column without NULL"
    return newest >= (version if serves is None else min(version, serves))


def _version_of(database: PostgresDatabase, newest: int) -> int:
    """Read the schema version. Raises JournalError where another program made the schema, or a newer release one that
    does not serve this program."""
    table, foreign = database.row(
        "SELECT to_regclass(?)::text, (SELECT count(*) FROM pg_class"
        " JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace WHERE nspname = ? AND relkind IN ('r', 'v'))",
        (f"{SCHEMA}.schema_version", SCHEMA),
    )
    if table is None:
        if foreign:
            raise JournalError(
                f"{database.where} has a schema {SCHEMA!r} of another program, which was left as it is: choose another"
                " database"
            )
        return 0
    found = database.row(VERSION)
    if found is None:
        raise JournalError(f"{database.where}: its table {SCHEMA}.schema_version is empty; restore it from a backup")
    version = int(found[0])
    if not is_served(found, newest):
        raise JournalError(
            f"{database.where} is of schema version {version}, written by a newer release; this program knows versions"
            f" up to {newest}: upgrade it (the database was left as it is)"
        )
    return version
