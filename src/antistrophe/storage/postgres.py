"""Opens a PostgreSQL database. Importing this needs the extra ``antistrophe[postgres]``, which brings psycopg."""

from __future__ import annotations

from collections.abc import Sequence

from antistrophe.errors import JournalError

try:
    import psycopg
except ImportError as error:  # psycopg itself, or the libpq that it needs
    raise JournalError(
        f"a journal or event store in PostgreSQL needs psycopg, which can't be imported here ({error}):"
        " pip install 'antistrophe[postgres]'"
    ) from error

from antistrophe.storage.postgres_address import read_address
from antistrophe.storage.postgres_database import PostgresDatabase
from antistrophe.storage.postgres_opening import prepare
from antistrophe.storage.postgres_schema import POSTGRES_MIGRATIONS, SERVES
from antistrophe.storage.schema import SchemaMigration

ANSWER_S = 30.0
"""How long a call of an application waits for the server."""

__all__ = ["ANSWER_S", "PostgresDatabase", "open_postgres", "psycopg"]


def open_postgres(
    url: str,
    *,
    read_only: bool = False,
    patience_s: float | None = None,
    migrations: Sequence[SchemaMigration] = POSTGRES_MIGRATIONS,
    serves: int = SERVES,
) -> PostgresDatabase:
    """Open the database at a URL (``postgresql://USER@HOST:PORT/NAME``). A new or older schema is brought to the newest
    version; any number of hosts may do so at once.

    ``read_only``: nothing is written, and the schema has to be up to date; a standby will do. ``patience_s``: how long
    a call waits at most for the server and for locks of others; None: as long as applications do. Raises JournalError
    if the server can't be reached or refuses, or the schema is another program's, or so new that it does not serve
    this one.
    """
    address = read_address(url, answer_s=patience_s or ANSWER_S)
    database = PostgresDatabase(address, read_only=read_only, patience_s=patience_s, answer_s=patience_s or ANSWER_S)
    try:
        prepare(database, migrations, read_only=read_only, serves=serves)
    except BaseException:
        database.close()
        raise
    return database
