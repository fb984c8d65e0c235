"""Permits as rows of PostgreSQL: how many of each limit each host holds, and who waits for more.

What is counted are the permits of hosts whose lease has not ended. When it ends, the host's attempts are known to be
dead, and its permits are free in the same moment. Times are the database's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from antistrophe.hosts.limits import LimitRecord, LimitShare, limit_of
from antistrophe.hosts.stored_hosts import DURABLY
from antistrophe.scheduling.permits import PermitAnswer, PermitNeed
from antistrophe.storage.portable_sql import SCHEMA
from antistrophe.storage.postgres_database import PostgresDatabase

FORGET_AFTER_S = 3_600.0
"""How long a row is kept that nobody uses: by then no statement of its host is still on its way."""

_SETTLE = f"""
    WITH durably AS (SELECT {DURABLY} AS so)
    SELECT settled.* FROM durably, LATERAL {SCHEMA}.settle_limits_1(
        ?, ?, ?::text[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::double precision[]
    ) AS settled WHERE durably.so IS NOT NULL"""

_FORGET_PERMITS = f"""
    DELETE FROM {SCHEMA}.permits p
    WHERE NOT EXISTS (SELECT FROM {SCHEMA}.hosts WHERE id = p.host AND ended IS NULL)
    OR (held = 0 AND wanted = 0 AND starts = 0 AND until < clock_timestamp() - make_interval(secs => ?))"""

_FORGET_LIMITS = f"""
    DELETE FROM {SCHEMA}.limits WHERE key IN (
        SELECT key FROM {SCHEMA}.limits l WHERE next_start < clock_timestamp()
        AND NOT EXISTS (SELECT FROM {SCHEMA}.permits p WHERE p.key = l.key) FOR UPDATE SKIP LOCKED
    )"""

# What each live host has or wants. ``until``: when a host that has asked for something is thought to want it no more.
_USED = """
    SELECT key, hosts.id, hosts.name, held, CASE WHEN waits THEN wanted ELSE 0 END AS wanted,
        CASE WHEN waits THEN starts ELSE 0 END AS starts, CASE WHEN waits THEN since END AS since, most, per_second
    FROM antistrophe.permits JOIN antistrophe.hosts ON hosts.id = permits.host AND hosts.ended IS NULL,
        LATERAL (SELECT until > clock_timestamp() AND (wanted > 0 OR starts > 0) AS waits) AS asked
    WHERE (held > 0 OR waits) AND (?::text[] IS NULL OR key = ANY (?::text[]))
    AND (? = '' OR position(lower(?) IN lower(substr(key, strpos(key, ':') + 1))) > 0)"""

_SHARES = f"""
    WITH used AS ({_USED}), shown AS (
        SELECT key, min(since) AS oldest FROM used GROUP BY key HAVING NOT ? OR min(since) IS NOT NULL
        ORDER BY oldest NULLS LAST, key LIMIT ?
    )
    SELECT used.*, CASE WHEN next_start > clock_timestamp() THEN next_start END
    FROM shown JOIN used USING (key) LEFT JOIN {SCHEMA}.limits USING (key)
    ORDER BY oldest NULLS LAST, key, name, id"""

_NUMBER = f"SELECT count(DISTINCT key) FROM ({_USED}) AS used WHERE NOT ? OR since IS NOT NULL"

_LONGEST_KEY = 400


class StoredPermits:
    """The permits of all hosts. Every method raises JournalError where the database does not answer in time."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def settle(self, host_id: str, serial: int, needs: Sequence[PermitNeed]) -> list[PermitAnswer]:
        """Say what a host keeps and wants, and return what it holds. ``serial`` has to grow from call to call: one that
        arrives after a later one changes nothing. A limit without an answer is as it was; nothing is answered where the
        host's lease has ended.

        After a CommitUnknownError the host may hold more than it knows, until it settles that limit again.
        """
        stored = {stored_key(each.key): each for each in needs}
        asked = sorted(stored.items())
        values = (
            host_id,
            serial,
            [key for key, _ in asked],
            [need.keep for _, need in asked],
            [need.want for _, need in asked],
            [need.most for _, need in asked],
            [need.starts for _, need in asked],
            [need.per_second for _, need in asked],
        )
        rows = self._database.returning(_SETTLE, values)
        return [PermitAnswer(stored[key].key, *answer) for key, *answer in rows]

    def limits(
        self, keys: Sequence[str] | None = None, *, text: str = "", waiting: bool = False, most: int | None = None
    ) -> list[LimitRecord]:
        """The limits that live hosts use or wait for: those with these ``keys`` or all, with that ``text`` in the name,
        and with ``waiting`` those alone that a host waits for. ``most``: no more of them; those come first for which a
        host has waited longest. Each has the smallest bound that any of these hosts knows."""
        if not self._database.holds(text):
            return []
        rows = self._database.rows(_SHARES, (*_chosen(keys, text), waiting, most))
        found = []
        for key, of_key in groupby(rows, key=itemgetter(0)):
            parts = list(of_key)
            bounds, rates = ([part[n] for part in parts if part[n] is not None] for n in (7, 8))
            shares = [LimitShare(*part[1:7]) for part in parts]
            rate = min(rates, default=None)
            next_start = None if rate is None else parts[0][9]
            found.append(limit_of(key, min(bounds, default=None), rate, shares, next_start))
        return found

    def count(self, keys: Sequence[str] | None = None, *, text: str = "", waiting: bool = False) -> int:
        """How many such limits there are."""
        if not self._database.holds(text):
            return 0
        return int(self._database.row(_NUMBER, (*_chosen(keys, text), waiting))[0])

    def forget(self) -> None:
        """Remove what nobody uses any more."""
        self._database.execute(_FORGET_PERMITS, (FORGET_AFTER_S,))
        self._database.execute(_FORGET_LIMITS)


def _chosen(keys: Sequence[str] | None, text: str) -> tuple[Any, ...]:
    stored = None if keys is None else [stored_key(key) for key in keys]
    return stored, stored, text, text


def stored_key(key: str) -> str:
    """The key as the database can have it: a long one, or one that is no text there, by its digest."""
    written = key.encode("utf-8", "surrogatepass")
    if len(written) <= _LONGEST_KEY and "\0" not in key and written.decode("utf-8", "replace") == key:
        return key
    return f"{key.partition(':')[0]}:sha256:{hashlib.sha256(written).hexdigest()}"
