"""Hosts for tests: rows of sagas, and keepers whose time goes on when the test says so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from antistrophe.errors import JournalError
from antistrophe.hosts.keeper import HostKeeper, KeeperTerms
from antistrophe.hosts.keeper_messages import Claimed, Registered, Report, SetLoad
from antistrophe.storage.postgres import PostgresDatabase, open_postgres

LEASE_S = 10.0
Kind = TypeVar("Kind")


def add_sagas(
    database: PostgresDatabase, host: str | None, *sagas: tuple[str, str], needs: tuple[str, ...] = ()
) -> None:
    """Each saga is an id and a status, or "accepted" where it has not begun."""
    for saga_id, status in sagas:
        seq = 1 if status == "accepted" else 2
        database.execute(
            "INSERT INTO sagas(accepted, id, request_id, name, status, seq, updated, finished, host, token, needs)"
            " VALUES (nextval('antistrophe.journal_positions'), ?, 'r', 'n', ?, ?, 1, ?, ?, 1, ?::text[])",
            (saga_id, "executing" if seq == 1 else status, seq, 1 if status == "failed" else None, host, list(needs)),
        )


def terms(name: str = "a", **options: object) -> KeeperTerms:
    values = {"name": name, "labels": (), "release": "1.0", "lease_s": LEASE_S, "steal_s": 1.0, **options}
    return KeeperTerms(**values)  # type: ignore[arg-type]


class Clock:
    """CLOCK_BOOTTIME as the test has it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Host:
    """A keeper and what it has reported."""

    def __init__(self, url: str, clock: Clock, given: KeeperTerms | None = None) -> None:
        self.reports: list[Report] = []
        self.clock = clock
        self.away = False
        self.runs = True
        self.database: PostgresDatabase | None = None
        self._url = url
        self.keeper = HostKeeper(given or terms(), self._open, self.reports.append, clock)
        self.due = clock()

    def _open(self) -> PostgresDatabase:
        if self.away:
            raise JournalError("the database is away")
        self.database = open_postgres(self._url)
        return self.database

    def turn(self) -> None:
        if self.runs and self.due <= self.clock():
            self.due = self.keeper.turn()

    def say(self, *orders: object) -> None:
        for order in orders:
            self.keeper.obey(order)  # type: ignore[arg-type]
        self.due = self.keeper.turn()

    def told(self, kind: type[Kind]) -> list[Kind]:
        return [each for each in self.reports if isinstance(each, kind)]

    @property
    def id(self) -> str:
        return self.told(Registered)[-1].host

    @property
    def sagas(self) -> list[str]:
        """The ids of all sagas that it was told to own, in order."""
        return [saga.saga_id for report in self.told(Claimed) for saga in report.sagas]

    def has_room(self, room: int = 100, attempts: int = 0) -> None:
        self.say(SetLoad(attempts, room, heard=len(self.sagas)))

    def close(self) -> None:
        self.keeper.close()


def go_on(clock: Clock, hosts: list[Host], seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let time pass in steps of 0.1 s, with all that is due."""
    end = clock.now + seconds
    while clock.now < end and not until():
        for host in hosts:
            while host.runs and host.due <= clock.now:
                host.turn()
        clock.now += 0.1


@contextlib.contextmanager
def closing_all(hosts: list[Host]) -> Iterator[None]:
    try:
        yield
    finally:
        for host in hosts:
            host.close()
