"""Whether the user of a connection may write all that a host writes. One that may only read finds out before it starts
a system, and not by a lease that it never gets."""

from __future__ import annotations

from antistrophe.errors import JournalError
from antistrophe.storage.connection import SqlDatabase
from antistrophe.storage.portable_sql import SCHEMA

_NAMED = 5

_LACKING = """
    SELECT relname FROM pg_class
    WHERE relnamespace = to_regnamespace(?) AND relname <> 'schema_version' AND CASE relkind
        WHEN 'r' THEN NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
            AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))
        WHEN 'S' THEN NOT has_sequence_privilege(oid, 'USAGE')
        ELSE false END
    ORDER BY relname"""


def check_rights(database: SqlDatabase) -> None:
    """Raise JournalError, which names what is to be granted, where the user may not write to the tables of hosts."""
    lacking = [name for (name,) in database.rows(_LACKING, (SCHEMA,))]
    if lacking:
        more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        raise JournalError(
            f"{database.where}: the user of the URL may not write to {', '.join(lacking[:_NAMED])}{more} in the schema"
            f" {SCHEMA}, and a host has to: let it be the owner of the schema, or grant it SELECT, INSERT, UPDATE and"
            " DELETE on the tables and USAGE on the sequences there"
        )
