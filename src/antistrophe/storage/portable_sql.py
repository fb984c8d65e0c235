"""Makes SQL that is written for both databases into SQL of PostgreSQL.

There a value is ``$1`` in the place of ``?``, and a table is named with its schema: no setting of the session says
where to look for it. Each text is made once.
"""

from __future__ import annotations

import re
from functools import lru_cache

SCHEMA = "antistrophe"
"""The schema of PostgreSQL in which all tables are."""

TABLES = (
    "journal",
    "sagas",
    "shapes",
    "purged",
    "purges",
    "events",
    "snapshots",
    "projections",
    "claims",
)
"""The tables that both databases have."""

NOT_BEGUN = "(seq = 1 OR (seq = 2 AND waiting IS NOT NULL))"
"""Of a row of sagas: it is accepted, and nothing more; perhaps to wait."""

_TABLE = re.compile(rf"\b(FROM|JOIN|INTO|UPDATE) ({'|'.join(TABLES)})\b(?!\.)")


@lru_cache(maxsize=1024)
def for_postgres(sql: str) -> str:
    """The same statement for PostgreSQL. It may have no question mark but those that stand for a value."""
    return numbered(_TABLE.sub(rf"\1 {SCHEMA}.\2", sql))


@lru_cache(maxsize=1024)
def numbered(sql: str) -> str:
    """The same statement with its values numbered, and its tables named as they are."""
    head, *parts = sql.split("?")
    return head + "".join(f"${number}{part}" for number, part in enumerate(parts, start=1))
