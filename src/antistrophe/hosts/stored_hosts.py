"""The rows of hosts in PostgreSQL: who holds a lease, and who has lost it.

A lease ends in one of two transactions, which exclude each other by the lock on its row: a renewal, after which the
counter is another one, or an end, after which every renewal is refused. What decides is committed durably, also where
the database is set to lose the last moments in a crash (``synchronous_commit = off``): a counter that went back would
look like one that was not renewed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from antistrophe.errors import JournalError
from antistrophe.hosts.description import HostDescription, HostLoad, HostRecord
from antistrophe.hosts.lease import RENEW_EVERY, LapsedLease, SeenLease
from antistrophe.hosts.ownership import Owners
from antistrophe.hosts.retained import Retained
from antistrophe.storage.postgres import open_postgres
from antistrophe.storage.postgres_database import PostgresDatabase

HANDED_OVER: Final = "handed over"
LAPSED: Final = "lapsed"

DURABLY = (
    "set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 'on'"
    " ELSE current_setting('synchronous_commit') END, true)"
)
"""In the transaction that it is part of: have the commit wait for the disk, and for the standby if there is one."""

_SERVER = "extract(epoch FROM pg_postmaster_start_time())::text"
"""What no two servers have in common, nor two lives of one. Every role may ask for it."""

_REGISTER = f"""
    WITH durably AS (SELECT {DURABLY})
    INSERT INTO antistrophe.hosts AS host(id, name, labels, release, lease_s, retain_finished_s, retain_finished,
        attempts, is_full, draining)
    SELECT ?, ?, ?::text[], ?, ?, ?, ?, ?, ?, EXISTS (SELECT FROM antistrophe.hosts WHERE id = ? AND draining)
    FROM durably
    ON CONFLICT (id) DO UPDATE SET counter = host.counter + 1, seen_at = clock_timestamp() WHERE host.ended IS NULL
    RETURNING counter, draining, 0"""

# The mark of the home grows in the same statement, and so by the same commit.
_RENEW = f"""
    WITH durably AS (SELECT {DURABLY}), renewed AS (
        UPDATE antistrophe.hosts SET counter = counter + 1, seen_at = clock_timestamp(), attempts = ?, is_full = ?
        FROM durably WHERE id = ? AND ended IS NULL
        RETURNING counter, draining
    ), marked AS (
        INSERT INTO antistrophe.homes AS home(id, mark) SELECT given.id, 1 FROM renewed, (SELECT ?::text AS id) AS given
        WHERE given.id <> ''
        ON CONFLICT (id) DO UPDATE SET mark = home.mark + 1
        RETURNING mark
    )
    SELECT counter, draining, coalesce((SELECT mark FROM marked), 0) FROM renewed"""

# The live hosts, and the owners of unfinished sagas, in one question, for it is asked again and again. An owner is
# found by one step in the index: the number of owners counts, not that of sagas.
_LOOK = f"""
    WITH RECURSIVE owners(host) AS (
        SELECT min(host) FROM antistrophe.sagas WHERE finished IS NULL
        UNION ALL
        SELECT (SELECT min(host) FROM antistrophe.sagas WHERE finished IS NULL AND host > owners.host)
        FROM owners WHERE owners.host IS NOT NULL
    ), owning(host) AS (
        SELECT host FROM owners WHERE host IS NOT NULL
        UNION ALL
        SELECT NULL WHERE EXISTS (SELECT FROM antistrophe.sagas WHERE finished IS NULL AND host IS NULL)
    )
    SELECT coalesce(live.id, owning.host), live.counter, live.lease_s, live.is_full OR live.draining,
        owning IS NOT NULL OR live.id IS NULL, EXISTS (SELECT FROM antistrophe.restores WHERE NOT done), {_SERVER},
        pg_is_in_recovery()
    FROM (SELECT * FROM antistrophe.hosts WHERE ended IS NULL) AS live FULL JOIN owning ON live.id = owning.host"""

_END_LAPSED = f"""
    WITH durably AS (SELECT {DURABLY})
    UPDATE antistrophe.hosts SET ended = ?, ended_by = ?
    FROM durably WHERE id = ? AND counter = ? AND ended IS NULL AND {_SERVER} = ?
    RETURNING id"""

_HAND_OVER = f"""
    WITH durably AS (SELECT {DURABLY})
    UPDATE antistrophe.hosts SET ended = ?, ended_by = id FROM durably WHERE id = ? AND ended IS NULL
    RETURNING id"""

_RECORDS = """
    SELECT id, name, labels, release, seen_at, seen_at + lease_s * interval '1 second', draining, attempts, ended,
        retain_finished_s, retain_finished,
        (SELECT count(*) FROM antistrophe.sagas WHERE sagas.host = hosts.id AND finished IS NULL)
    FROM antistrophe.hosts ORDER BY name, registered_at"""

_FORGET = """
    DELETE FROM antistrophe.hosts WHERE ended IS NOT NULL AND seen_at < clock_timestamp() - ? * interval '1 second'
    AND NOT EXISTS (SELECT FROM antistrophe.sagas WHERE sagas.host = hosts.id AND finished IS NULL)
    RETURNING id"""


@dataclass(frozen=True, slots=True)
class Renewed:
    """A renewal that the database has confirmed. ``draining``: somebody wants the host to take no more sagas. ``mark``:
    that of its home, which grows with each renewal; 0 where no home was named."""

    counter: int
    draining: bool
    mark: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """The leases that hosts hold, as one server shows them, and whose unfinished sagas there are. ``put_back``: the
    database is of an earlier state than it was, and that is not acknowledged yet: nobody may work."""

    leases: tuple[SeenLease, ...]
    server: str
    owners: Owners
    put_back: bool = False


class StoredHosts:
    """The rows of all hosts. Every method raises JournalError where the database does not answer in time.

    After a CommitUnknownError a renewal may have taken effect: the lease then lasts at least as long as its holder
    believes. So the holder just sends the next one.
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def register(self, host: HostDescription, load: HostLoad, follows: str = "") -> Renewed | None:
        """Write the row of a new host; its lease begins when this was called. A second call renews it. None where the
        lease has ended by now: register with a new description. It drains where the host that it ``follows`` did."""
        described = (host.id, host.name, sorted(host.labels), host.release, host.lease_s)
        values = (*described, host.retained.finished_s, host.retained.finished, load.attempts, load.is_full, follows)
        return _renewed(self._database.returning(_REGISTER, values))

    def renew(self, host_id: str, load: HostLoad, home: str = "") -> Renewed | None:
        """Let the lease of a host last longer, and the mark of its ``home`` grow. None: refused, because the lease has
        ended and others may have its sagas."""
        return _renewed(self._database.returning(_RENEW, (load.attempts, load.is_full, host_id, home)))

    def look(self) -> Look:
        """Look at all hosts, and whose sagas there are. Raises JournalError on a standby, whose rows may be old."""
        rows = self._database.rows(_LOOK)
        if any(row[-1] for row in rows):
            raise JournalError(
                f"{self._database.where} is a standby, which may show old rows: hosts have to reach the primary (add"
                " target_session_attrs=read-write to the URL)"
            )
        leases = tuple(SeenLease(*row[:3]) for row in rows if row[1] is not None)
        alive = {lease.host for lease in leases}
        owners = {host: is_full for host, _, _, is_full, owns, *_ in rows if owns}
        free = tuple(sorted(host for host in owners if host is not None and host not in alive))
        full = tuple(sorted(host for host, is_full in owners.items() if is_full and host in alive))
        put_back = any(row[-3] for row in rows)
        return Look(leases, rows[0][-2] if rows else "", Owners(free, full, nobody=None in owners), put_back)

    def end_lapsed(self, lapsed: LapsedLease, by: str) -> bool:
        """End a lease that was watched until it lapsed. False where it was renewed, or ended by another host, since."""
        values = (LAPSED, by, lapsed.host, lapsed.counter, lapsed.server)
        return bool(self._database.returning(_END_LAPSED, values))

    def hand_over(self, host_id: str) -> bool:
        """End the lease of a host whose attempts were all seen dead, so that others claim its sagas at once. False
        where it has ended already."""
        return bool(self._database.returning(_HAND_OVER, (HANDED_OVER, host_id)))

    def moment(self) -> datetime:
        """The present moment by the database's clock, in UTC."""
        (at,) = self._database.row("SELECT clock_timestamp()")
        assert isinstance(at, datetime)
        return at

    def retained(self) -> list[Retained]:
        """How much of the finished sagas each live host keeps."""
        rows = self._database.rows(
            "SELECT retain_finished_s, retain_finished FROM antistrophe.hosts WHERE ended IS NULL"
        )
        return [Retained(*row) for row in rows]

    def records(self) -> list[HostRecord]:
        """All hosts, by name, with those that have ended and are not forgotten yet."""
        return [_record(row) for row in self._database.rows(_RECORDS)]

    def drain(self, name_or_id: str, *, draining: bool = True) -> list[str]:
        """Have a host take no more sagas, or take some again. Returns the ids of the live hosts that have this name, or
        this id: none where there is no such host."""
        rows = self._database.returning(
            "UPDATE antistrophe.hosts SET draining = ? WHERE (id = ? OR name = ?) AND ended IS NULL RETURNING id",
            (draining, name_or_id, name_or_id),
        )
        return sorted(row[0] for row in rows)

    def forget(self, ended_for_s: float) -> int:
        """Remove the rows of hosts that have ended and were last seen so long ago, where they own no unfinished saga.
        Returns how many."""
        return len(self._database.returning(_FORGET, (ended_for_s,)))


def _renewed(rows: Sequence[Any]) -> Renewed | None:
    return Renewed(*rows[0]) if rows else None


def _record(row: Sequence[Any]) -> HostRecord:
    host_id, name, labels, release, seen_at, lease_until, draining, attempts, ended, kept_s, kept, sagas = row
    return HostRecord(
        host_id, name, frozenset(labels), release, seen_at, lease_until, draining, sagas, attempts, ended, kept_s, kept
    )


def open_for_host(url: str, lease_s: float) -> PostgresDatabase:
    """Open the database for a host with such a lease. A call takes a fifth of it at most, so that a renewal may fail
    and be sent again in time."""
    return open_postgres(url, patience_s=RENEW_EVERY * lease_s)
