"""Keeps the journal as small as the settings want it: purges finished sagas beside the work of the registry."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from antistrophe.actors.base import log
from antistrophe.hosts.retained import ALL, Retained, mildest
from antistrophe.journal import Purge, Purgeable, StoredJournal
from antistrophe.serialization.whole_numbers import LARGEST_INTEGER
from antistrophe.settings import Settings
from antistrophe.storage.connection import SqlDatabase

LONGEST_PAUSE_S = 60.0
SHORTEST_PAUSE_S = 0.5
COUNT_PAUSE_S = 5.0
"""How often the finished sagas are counted."""

REST = 4
"""After a step, the registry has so many times as long for its answers, and everybody else for the write lock."""

FREE_PART = 0.25
"""So much of the file may stay free: the next sagas fill it."""


class Retention:
    """Purges what the settings do not retain, one small step at each call of ``step``.

    ``all_hosts``: what the live hosts of a shared journal retain: nothing is purged that one of them would keep. A walk
    begins with the sagas that finished first. The first walk of a process looks at all of them, later ones stop where a
    good many were finished too late to go.
    """

    def __init__(
        self, journal: StoredJournal, settings: Settings, all_hosts: Callable[[], Iterable[Retained]] | None = None
    ) -> None:
        self._journal = journal
        self._own = self._kept = Retained(settings.retain_finished_s, settings.retain_finished)
        self._all_hosts = all_hosts
        self._walk: Purge | None = None
        self._begun = False
        self._counted = False
        self._fails = False

    @property
    def wanted(self) -> bool:
        """Whether the settings limit what is kept."""
        return self._own != ALL

    def step(self) -> float:
        """Do the next small part. Returns in how many seconds to do the one after it."""
        begun = time.monotonic()
        try:
            more = self._step()
        except Exception as error:  # a row that can't be understood must not end the registry
            if not self._fails:
                log.warning("finished sagas can't be purged now, and it is tried again: %s", error)
            self._fails, self._walk = True, None
            return self._pause_s()
        return REST * (time.monotonic() - begun) if more else self._pause_s()

    def _step(self) -> bool:
        if not self._journal.empty_log():  # somebody reads for long: what is deleted now would make the log grow
            return False
        self._ask_all_hosts()
        if self._walk is None:
            self._walk = self._next_walk()
        else:
            more, self._fails = self._walk.step(), False
            if not more:
                self._say_what_went(self._walk)
                self._walk = self._second_walk()
        return self._walk is not None or self._journal.give_back(keep=FREE_PART)

    def _ask_all_hosts(self) -> None:
        """A host may join or leave at any time: what is kept changes with it, also amid a walk."""
        if self._all_hosts is None:
            return
        kept = mildest([self._own, *self._all_hosts()])
        if kept != self._kept:
            self._kept, self._walk, self._begun, self._counted = kept, None, False, False
            if kept != self._own:
                log.warning(
                    "another host of this journal keeps finished sagas for longer than this one: so they are kept"
                    " (`antistrophe doctor` names the hosts)"
                )

    def _say_what_went(self, walk: Purge) -> None:
        if walk.report.sagas:
            log.info("%d finished sagas were purged, about %d bytes", walk.report.sagas, walk.report.bytes)

    def _next_walk(self) -> Purge | None:
        """The walk over what is too old; else that over what is too much."""
        self._counted = False
        if self._kept.finished_s is None:
            return self._second_walk()
        clock = self._journal.clock()  # that of the rows
        finished_by_us = round(((time.time() if clock is None else clock) - self._kept.finished_s) * 1e6)
        whole, self._begun = not self._begun, True
        return self._journal.purge(Purgeable(finished_by_us), whole=whole)

    def _second_walk(self) -> Purge | None:
        if self._kept.finished is None or self._counted:
            return None
        self._counted = True
        finished = sum(number for status, number in self._journal.counts().items() if status.final)
        if finished <= self._kept.finished:
            return None
        return self._journal.purge(Purgeable(LARGEST_INTEGER), at_most=finished - self._kept.finished)

    def _pause_s(self) -> float:
        pauses = [LONGEST_PAUSE_S]
        if self._kept.finished_s is not None:
            pauses.append(max(SHORTEST_PAUSE_S, self._kept.finished_s / 10))
        if self._kept.finished is not None:
            pauses.append(COUNT_PAUSE_S)
        return min(pauses)


def retained_by_hosts(store: SqlDatabase) -> Callable[[], Iterable[Retained]]:
    """What asks the database of a shared journal how much each live host retains."""
    from antistrophe.hosts.stored_hosts import StoredHosts  # needs psycopg, which is an extra
    from antistrophe.storage.postgres_database import PostgresDatabase

    assert isinstance(store, PostgresDatabase), "hosts share a journal in PostgreSQL"
    return StoredHosts(store).retained
