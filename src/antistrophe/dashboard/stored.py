"""What the dashboard reads of a home: its journal, its statistics, and whether its system runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from antistrophe.client.host_list import HostList, hosts_in
from antistrophe.client.stored_home import find_saga, stored_place
from antistrophe.dashboard.look import Look
from antistrophe.dashboard.running_sagas import RunningSaga, RunningSagas
from antistrophe.dashboard.standing import Standing, of_hosts, of_system
from antistrophe.errors import JournalError, SystemUnavailableError
from antistrophe.journal import JournalPlace, journal_in, open_store
from antistrophe.journal.safe_head import SafeHead
from antistrophe.journal.saga_counts import NOTHING_COUNTED, counted_after
from antistrophe.journal.statistics_follower import StatisticsFollower
from antistrophe.launcher.control_protocol import State
from antistrophe.launcher.probe import probe
from antistrophe.logs.reading import records_of
from antistrophe.records import LogRecord, SagaStatus

PATIENCE_S = 1.0
"""How long a page waits for somebody who holds the file."""

WINDOW_S = 3_600.0
"""Statistics begin with what was written so many seconds before the first look."""

MOST_RECORDS = 1_000
_CATCH_UP_S = 0.05
"""How long one page reads on in the journal for the statistics, at most."""
_STATE_S = 1.0
_PROBE_S = 1.0


class StoredHome:
    """One home. Any thread may use it. Nothing stays open between two looks, so nobody who purges, compacts, moves or
    replaces the file is kept from that."""

    def __init__(self, home: Path, journal: str | None = None) -> None:
        self.home = home
        self.url = journal
        self._safe = SafeHead()
        self._lock = threading.Lock()
        self._counted = NOTHING_COUNTED
        self._counted_in: tuple[int, int] | None = None
        self._state: tuple[float, State | None] = (0.0, None)
        self._hosts: tuple[float, HostList | None] = (0.0, None)
        self._running = RunningSagas()
        self._following = threading.Lock()
        self._follower: StatisticsFollower | None = None

    @contextmanager
    def look(self) -> Iterator[Look]:
        """Open the journal for reading. Raises JournalError, where there is none yet as well."""
        place = stored_place(self.home, self.url)
        try:
            database = open_store(place, read_only=True, patience_s=PATIENCE_S)
        except JournalError:
            self._hosts = (0.0, None)
            raise
        with closing(database):
            if self.url is not None and time.monotonic() - self._hosts[0] > _STATE_S:
                self._hosts = (0.0, None)
                self._hosts = (time.monotonic(), hosts_in(database))
            yield Look(journal_in(database), database, place)

    def where(self, look: Look) -> Path | JournalPlace:
        """Where the sagas are, for people: the home, or the database."""
        return self.home if self.url is None else look.place

    def counts(self, look: Look) -> dict[SagaStatus, int]:
        """How many sagas have which status. What was counted before is not read again."""
        place = self._place()
        with self._lock:
            counted = self._counted if place == self._counted_in else NOTHING_COUNTED
        counted, counts = counted_after(look.database, counted, self._safe.of(look.database))
        with self._lock:
            self._counted, self._counted_in = counted, place
        return {status: number for status, number in counts.items() if status is not SagaStatus.NOT_STARTED}

    def state(self) -> State | None:
        """What the launcher of the home says, at most a second old; None where none answers."""
        asked_at, state = self._state
        if time.monotonic() - asked_at > _STATE_S:
            try:
                state = probe(self.home, _PROBE_S)
            except (SystemUnavailableError, OSError):
                state = None
            self._state = (time.monotonic(), state)
        return state

    def standing(self) -> Standing:
        """Who works on the sagas, at most a second old; the hosts as the last look has seen them."""
        self.state()
        return self.known_standing

    @property
    def known_standing(self) -> Standing:
        """The same as it was last told: nobody is asked, and nothing waits."""
        state = self._state[1]
        return of_system(state) if self.url is None else of_hosts(self._hosts[1], state)

    def running_sagas(self, look: Look) -> tuple[list[RunningSaga], int]:
        """The sagas that run, those that were accepted first; see ``RunningSagas.read``."""
        return self._running.read(look, self._place())

    def statistics(self, look: Look) -> StatisticsFollower | None:
        """Statistics up to this look, or on the way there; None where the journal can't be read."""
        try:
            with self._following:
                if self._follower is None:
                    self._follower = StatisticsFollower(look.place, window_s=WINDOW_S)
                self._follower.catch_up_in(look.database, _CATCH_UP_S)
        except JournalError:
            return None
        return self._follower

    def logs(self, saga_id: str) -> tuple[list[LogRecord], int]:
        """What the attempts of a saga have said, the last records, and how many more there are. Raises
        SagaNotFoundError, SagaExistsError where it was purged, and JournalError."""
        with self.look() as look:
            find_saga(look.journal, saga_id, self.where(look))
        records = records_of(self.home, saga_id)
        return records[-MOST_RECORDS:], max(0, len(records) - MOST_RECORDS)

    def signature(self) -> tuple[object, ...]:
        """Something that is another one whenever a page may show something else."""
        state = self.state()
        try:
            with self.look() as look:
                return (self._place(), look.journal.head(), state, self.known_standing.says)
        except JournalError as error:
            return (str(error), state)

    def _place(self) -> tuple[int, int] | None:
        """Which file has the journal's name now; (0, 0) for a database."""
        if self.url is not None:
            return (0, 0)
        try:
            found = stored_place(self.home, self.url).existing_file().stat()
        except (JournalError, OSError):
            return None
        return (found.st_dev, found.st_ino)
