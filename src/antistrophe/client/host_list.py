"""The hosts that share a journal in PostgreSQL, as applications and tools see them, and the order to drain one.

They are read from the database: no system has to run here. What needs psycopg is imported with the first question.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from antistrophe.errors import RequestError
from antistrophe.hosts.description import HostRecord
from antistrophe.hosts.limits import LimitRecord, limits_on
from antistrophe.journal import JournalPlace, open_store
from antistrophe.linux.late_imports import late_import
from antistrophe.saga.entries import Entry
from antistrophe.saga.state import replay
from antistrophe.storage.connection import SqlDatabase

if TYPE_CHECKING:
    from antistrophe.client.session import Session
    from antistrophe.hosts.stored_hosts import StoredHosts
    from antistrophe.hosts.stored_permits import StoredPermits
    from antistrophe.storage.postgres_database import PostgresDatabase


@dataclass(frozen=True, slots=True)
class LimitsNow:
    """Limits over all hosts, at a moment of the database's clock. ``number``: so many there are in all."""

    at: datetime
    limits: tuple[LimitRecord, ...]
    number: int = 0


@dataclass(frozen=True, slots=True)
class HostList:
    """All hosts that are not forgotten yet, those that hold a lease first, and the limits over all hosts that they use
    or wait for, at a moment of the database's clock. ``put_back_by``: who knows that the database is of an earlier
    state than it was, which nobody has acknowledged, so that no host works."""

    at: datetime
    hosts: tuple[HostRecord, ...]
    limits: tuple[LimitRecord, ...]
    put_back_by: str | None

    @property
    def live(self) -> tuple[HostRecord, ...]:
        """Those whose lease nobody has ended: it lasts, or it is over and their sagas are about to be taken."""
        return tuple(host for host in self.hosts if host.ended is None)

    @property
    def at_work(self) -> tuple[HostRecord, ...]:
        """Those whose lease lasts; none where the database was put back."""
        return tuple(host for host in self.live if not host.lease_is_over(self.at)) if self.put_back_by is None else ()


def live_hosts(session: Session) -> tuple[HostRecord, ...]:
    """The hosts that share the journal of an orchestrator."""
    session.check_open()
    return list_hosts(session.journal).live


def list_hosts(place: JournalPlace) -> HostList:
    """The hosts of that journal. Raises RequestError where it is in a file, and JournalError."""
    with _database(place, read_only=True) as database:
        found = hosts_in(database)
        return replace(found, limits=_by_key(_stored_permits(database).limits()))


def hosts_in(database: SqlDatabase) -> HostList:
    """The hosts in a database of PostgreSQL that is open, without the limits. Raises JournalError."""
    opened = _opened(database)
    stored = _stored_hosts(opened)
    hosts = sorted(stored.records(), key=lambda host: host.ended is not None)
    with late_import():
        from antistrophe.hosts.stored_restores import StoredRestores
    return HostList(stored.moment(), tuple(hosts), (), StoredRestores(opened).begun_by())


def is_worked_on(place: JournalPlace) -> bool:
    """Whether a host works on the sagas of that journal; False for one in a file. Raises JournalError."""
    if place.url is None:
        return False
    with _database(place, read_only=True) as database:
        return bool(hosts_in(database).at_work)


def limits_in(
    database: SqlDatabase, keys: Sequence[str] | None, *, text: str = "", waiting: bool = False, most: int
) -> LimitsNow:
    """Of the limits in a database of PostgreSQL that is open those that somebody has waited for longest, ``most`` of
    them. For what is chosen see ``StoredPermits.limits``. Raises JournalError."""
    opened = _opened(database)
    stored = _stored_permits(opened)
    limits = tuple(stored.limits(keys, text=text, waiting=waiting, most=most))
    number = len(limits) if len(limits) < most else stored.count(keys, text=text, waiting=waiting)
    return LimitsNow(_stored_hosts(opened).moment(), limits, number)


def limits_that_hold_up(place: JournalPlace, entries: Sequence[Entry]) -> LimitsNow:
    """The limits over all hosts that may keep the saga with these entries from its next attempt, as they are used.
    There are none for a journal in a file. Raises JournalError."""
    keys = () if place.url is None else limits_on(replay(entries))
    if not keys:
        return LimitsNow(datetime.now(UTC), ())
    with _database(place, read_only=True) as database:
        found = limits_in(database, keys, most=len(keys))
        return replace(found, limits=_by_key(found.limits))


def _by_key(limits: Iterable[LimitRecord]) -> tuple[LimitRecord, ...]:
    return tuple(sorted(limits, key=lambda limit: limit.key))


def drain_host(place: JournalPlace, host: str, *, draining: bool) -> tuple[HostRecord, ...]:
    """Have the live hosts of that name, or of that id, take no more sagas, or take some again. Returns them.

    Ordered twice, it is the same. Raises RequestError where there is no such host, and where the journal is in a file.
    """
    found = list_hosts(place)
    if not _named(found, host):
        raise _unknown(found, host)
    with _database(place, read_only=False) as database:
        stored = _stored_hosts(database)
        ids = stored.drain(host, draining=draining)
        drained = tuple(each for each in stored.records() if each.id in ids)
    if not drained:  # its lease has ended meanwhile
        raise _unknown(list_hosts(place), host)
    return drained


def _named(found: HostList, host: str) -> list[HostRecord]:
    return [each for each in found.live if host in (each.name, each.id)]


def _unknown(found: HostList, host: str) -> RequestError:
    ended = next((each for each in found.hosts if host == each.id), None)
    if ended is not None and ended.ended is not None:
        return RequestError(f"host {host!r} holds no lease any more ({ended.ended}): it takes no sagas")
    names = ", ".join(sorted({each.name for each in found.live}))
    there_are = f"there are {names}" if names else "no host holds a lease of this journal"
    return RequestError(f"there is no host {host!r}: {there_are} (`antistrophe hosts` shows them)")


@contextmanager
def _database(place: JournalPlace, *, read_only: bool) -> Iterator[PostgresDatabase]:
    if place.url is None:
        raise RequestError(
            f"hosts share a journal in PostgreSQL, and this one is the file {place}, which is one system's alone: name"
            " the database (journal= or --journal postgresql://HOST/DATABASE)"
        )
    with closing(open_store(place, read_only=read_only)) as database:
        yield _opened(database)


def _opened(database: SqlDatabase) -> PostgresDatabase:
    with late_import():
        from antistrophe.storage.postgres_database import PostgresDatabase
    assert isinstance(database, PostgresDatabase), "a URL names a database of PostgreSQL"
    return database


def _stored_hosts(database: PostgresDatabase) -> StoredHosts:
    with late_import():
        from antistrophe.hosts.stored_hosts import StoredHosts
    return StoredHosts(database)


def _stored_permits(database: PostgresDatabase) -> StoredPermits:
    with late_import():
        from antistrophe.hosts.stored_permits import StoredPermits
    return StoredPermits(database)
