"""What the tables take of a PostgreSQL server's disk."""

from __future__ import annotations

from antistrophe.storage.connection import SqlDatabase
from antistrophe.storage.portable_sql import SCHEMA

_BYTES = (
    "SELECT coalesce(sum(pg_total_relation_size(pg_class.oid)), 0)::bigint FROM pg_class"
    " JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace"
    f" WHERE pg_namespace.nspname = '{SCHEMA}' AND pg_class.relkind = 'r'"
)


def stored_bytes(database: SqlDatabase) -> int:
    """The size of all tables with their indexes. Raises JournalError."""
    return int(database.row(_BYTES)[0])
