"""The hosts whose clients hold a saga, in PostgreSQL: what refuses a second start of it on another host.

A client holds what it has started or joined. It is gone when it has left its host, which says so here, or when that
host has lost its lease. ``held_by`` of a saga's row names the hosts. Where it is NULL its owner does, which has
accepted the saga: an acceptance writes nothing more. Whoever changes the owner keeps the former one there
(``stored_claims``).
"""

from __future__ import annotations

from collections.abc import Sequence

from antistrophe.storage.connection import Questions
from antistrophe.storage.postgres_database import PostgresDatabase

HELD_BY = "coalesce(sagas.held_by, ARRAY[sagas.host])"
"""The hosts that hold a saga."""

# Two that take over at the same time write the same row, and the second one finds the first one there. Counted, for
# PostgreSQL makes a join of NOT EXISTS, and does not join again when it has waited for a row and found another version.
_HELD_ELSEWHERE = f"""(
        SELECT count(*) FROM antistrophe.hosts WHERE hosts.id = ANY ({HELD_BY}) AND hosts.id <> ? AND ended IS NULL)"""

_TAKE_OVER = f"""
    UPDATE antistrophe.sagas SET held_by = ARRAY[?::text] WHERE sagas.id = ? AND {_HELD_ELSEWHERE} = 0 RETURNING id"""

_HOLD = f"""
    UPDATE antistrophe.sagas SET held_by = array_append({HELD_BY}, ?::text)
    WHERE sagas.id = ANY (?::text[]) AND array_position({HELD_BY}, ?::text) IS NULL"""

_LET_GO = f"""
    UPDATE antistrophe.sagas SET held_by = array_remove({HELD_BY}, ?::text)
    WHERE sagas.id = ANY (?::text[]) AND array_position({HELD_BY}, ?::text) IS NOT NULL"""


class StoredHolders:
    """The holders of all sagas. Every method raises JournalError where the database does not answer in time; made once
    more, it changes nothing."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def take_over(self, saga_id: str, host_id: str) -> bool:
        """Hold a saga alone, unless a client of another live host holds it. Of any number of hosts one succeeds."""
        return bool(self._database.returning(_TAKE_OVER, (host_id, saga_id, host_id)))

    def hold(self, saga_ids: Sequence[str], host_id: str) -> None:
        """Hold these sagas, beside others."""
        self._database.execute(_HOLD, (host_id, list(saga_ids), host_id))

    def let_go(self, saga_ids: Sequence[str], host_id: str) -> None:
        """No client of that host holds these sagas any more."""
        self._database.execute(_LET_GO, (host_id, list(saga_ids), host_id))

    def there(self, saga_ids: Sequence[str]) -> set[str]:
        """Those of these sagas that there are."""
        rows = self._database.rows("SELECT id FROM antistrophe.sagas WHERE id = ANY (?::text[])", (list(saga_ids),))
        return {row[0] for row in rows}

    def unfinished(self, saga_ids: Sequence[str]) -> set[str]:
        """Those of these sagas that run."""
        sql = "SELECT id FROM antistrophe.sagas WHERE id = ANY (?::text[]) AND finished IS NULL"
        return {row[0] for row in self._database.rows(sql, (list(saga_ids),))}


def holding(saga_id: str, host_id: str) -> Questions[None]:
    """What it asks to hold a saga that was accepted in the transaction that is open, by its commit."""
    yield f"{_HOLD} RETURNING id", (host_id, [saga_id], host_id)
