"""Brings the schema of a PostgreSQL database up to date, or refuses it by name.

Whoever changes the schema holds one lock until its transaction ends, so that hosts may start at once. A database that
can't be used is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from antistrophe.errors import JournalError
from antistrophe.storage.portable_sql import SCHEMA
from antistrophe.storage.postgres_database import PostgresDatabase
from antistrophe.storage.postgres_schema import LOCK
from antistrophe.storage.schema import SchemaMigration

OLDEST_SERVER = 14


def prepare(database: PostgresDatabase, migrations: Sequence[SchemaMigration], *, read_only: bool) -> None:
    """Check the server and the schema, and bring an older or new schema to the newest version. Raises JournalError."""
    _check_server(database)
    version = _version_of(database, len(migrations))
    if version == len(migrations):
        return
    if read_only:
        if version == 0:
            raise JournalError(f"{database.where}: nothing was stored there yet, or it is the wrong database")
        raise JournalError(
            f"{database.where} is of schema version {version}, this program's is {len(migrations)}: open it once for"
            " writing, which brings it up to date"
        )
    with database.transaction():
        database.row("SELECT pg_advisory_xact_lock(?)", (LOCK,))
        version = _version_of(database, len(migrations))  # another host may have done this meanwhile
        if version == 0:
            database.run(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            database.run(f"CREATE TABLE {SCHEMA}.schema_version(version bigint NOT NULL)")
            database.run(f"INSERT INTO {SCHEMA}.schema_version(version) VALUES (0)")
        for migration in migrations[version:]:
            for statement in migration:
                database.run(statement)
        database.execute(f"UPDATE {SCHEMA}.schema_version SET version = ?", (len(migrations),))


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


def _version_of(database: PostgresDatabase, newest: int) -> int:
    """Read the schema version. Raises JournalError if another program, or a newer release, made the schema."""
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
    found = database.row(f"SELECT version FROM {SCHEMA}.schema_version")
    if found is None:
        raise JournalError(f"{database.where}: its table {SCHEMA}.schema_version is empty; restore it from a backup")
    version = int(found[0])
    if version > newest:
        raise JournalError(
            f"{database.where} is of schema version {version}, written by a newer release; this program knows versions"
            f" up to {newest}: upgrade it (the database was left as it is)"
        )
    return version
