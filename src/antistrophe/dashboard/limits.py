"""What the pages show of limits: who uses each, who waits for it, and when the next attempt may start.

In PostgreSQL limits hold over all hosts, and the hosts tell what they use, as `antistrophe hosts` shows it. For a
journal in a file the supervisor counts by itself; then the journal tells which sagas are at work under a limit.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from antistrophe.client.host_list import limits_in
from antistrophe.client.host_words import wanted
from antistrophe.dashboard.addresses import saga_path
from antistrophe.dashboard.look import Look
from antistrophe.dashboard.running_sagas import Bound, RunningSaga
from antistrophe.dashboard.stored import StoredHome
from antistrophe.hosts.limits import LimitRecord
from antistrophe.saga.statistics import SagaStatistics
from antistrophe.scheduling.permits import class_in, name_in

MOST_LIMITS = 100
"""So many limits are shown, those first for which somebody has waited longest."""

MOST_NAMED = 5
"""Of those who use a limit, or wait for it, so many are named."""


@dataclass(frozen=True, slots=True)
class Who:
    """A host or a saga that uses a limit or waits for it. ``says``: how much, or for what; ``path``: its page."""

    name: str
    says: str = ""
    path: str | None = None
    since: datetime | None = None


@dataclass(slots=True)
class Limit:
    """One limit. ``kind``: what it limits. ``used`` counts what is at work under it now; ``users`` and ``waiters`` are
    all who use it or wait, those that wait longest first. ``next_start``: see ``LimitRecord``."""

    kind: str
    name: str
    most: int | None
    per_second: float | None
    used: int = 0
    users: list[Who] = field(default_factory=list)
    waiters: list[Who] = field(default_factory=list)
    next_start: datetime | None = None

    @property
    def is_full(self) -> bool:
        """Whether nothing more may begin under it until something ends."""
        return self.most is not None and self.used >= self.most

    @property
    def oldest(self) -> datetime | None:
        """Since when somebody waits."""
        return min((who.since for who in self.waiters if who.since is not None), default=None)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that are shown, of ``number`` in all, at a moment of the clock that counts. ``unread``: of so many
    running sagas nobody has looked yet what limits they have."""

    shown: tuple[Limit, ...]
    number: int
    at: datetime
    unread: int = 0


def limits_now(
    stored: StoredHome,
    look: Look,
    keys: Sequence[str] | None = None,
    *,
    text: str = "",
    waiting: bool = False,
    most: int | None = None,
) -> Limits:
    """The limits that are in use or waited for: those with these ``keys`` or all, with that ``text`` in the name, and
    with ``waiting`` those alone for which somebody waits. At most so many are shown. Raises JournalError."""
    most = MOST_LIMITS if most is None else most
    if keys is not None and not keys:
        return Limits((), 0, datetime.now(UTC))
    if look.place.url is not None:
        found = limits_in(look.database, keys, text=text, waiting=waiting, most=most)
        return Limits(tuple(map(_of_hosts, found.limits)), found.number, found.at)
    sagas, unread = stored.running_sagas(look)
    follower = stored.statistics(look)
    limits = _of_sagas(sagas, None if follower is None else follower.statistics, works=stored.standing().works)
    chosen = [
        limit
        for key, limit in limits.items()
        if (keys is None or key in keys) and text.casefold() in limit.name.casefold() and (limit.waiters or not waiting)
    ]
    ordered = sorted(chosen, key=lambda limit: (limit.oldest is None, limit.oldest or 0, limit.name))
    return Limits(tuple(ordered[:most]), len(ordered), datetime.now(UTC), unread)


def _new(key: str, most: int | None, per_second: float | None) -> Limit:
    name = name_in(key)
    kind, named = ("step class", class_in(key)) if name is None else ("saga name", name)
    return Limit(kind, named, most, per_second)


def _of_hosts(record: LimitRecord) -> Limit:
    limit = _new(record.key, record.most, record.per_second)
    limit.used, limit.next_start = record.held, record.next_start
    limit.users = [Who(share.name, str(share.held)) for share in record.shares if share.held]
    limit.waiters = [
        Who(share.name, wanted(share), since=share.since) for share in record.shares if share.since is not None
    ]
    return limit


def _of_sagas(sagas: Iterable[RunningSaga], statistics: SagaStatistics | None, *, works: bool) -> dict[str, Limit]:
    """The limits of a journal in a file, by key. Where no system ``works``, nothing is at work under them."""
    found: dict[str, Limit] = {}
    for saga in sorted(sagas, key=lambda saga: saga.since):
        who = Who(saga.id, path=saga_path(saga.id), since=saga.since)
        for bound in saga.uses if works else ():
            limit = _bounded(found, bound, statistics)
            limit.used += 1
            limit.users.append(who)
        for bound in saga.waits_for:
            _bounded(found, bound, statistics).waiters.append(who)
    return found


def _bounded(found: dict[str, Limit], bound: Bound, statistics: SagaStatistics | None) -> Limit:
    """The limit of that key. Of two definitions the smaller counts."""
    limit = found.setdefault(bound.key, _new(bound.key, bound.most, bound.per_second))
    limit.most = min((each for each in (limit.most, bound.most) if each is not None), default=None)
    limit.per_second = min((each for each in (limit.per_second, bound.per_second) if each is not None), default=None)
    if limit.per_second is not None and statistics is not None:
        limit.next_start = _next_start(limit.per_second, statistics.last_starts.get(bound.class_ref))
    return limit


def _next_start(per_second: float, last: float | None) -> datetime | None:
    """When the next attempt may start, by the machine's clock; None: at once."""
    if last is None or (left_s := last + 1.0 / per_second - time.time()) <= 0:
        return None
    return datetime.now(UTC) + timedelta(seconds=min(left_s, 1.0 / per_second))
