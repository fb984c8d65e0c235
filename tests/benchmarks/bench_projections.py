"""Projections and the command bus: catching up, following, rebuilding, dispatching, beside a floor of plain sqlite3.

    python tests/benchmarks/bench_projections.py [--rounds N] [--events N]

Rows are measured in turns, round after round, so that all of them see the same machine; medians are printed. Every
commit is synced (``synchronous=FULL``).
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

from antistrophe.cqrs import (
    AutoUpcaster,
    CommandBus,
    EventStore,
    ProjectionConnection,
    ProjectionRegistry,
    RecordedEvent,
    Tables,
    VersionRegistry,
    event,
)

COMMANDS = 200
LIVE = 200


@event("bench.paid")
@dataclass(frozen=True)
class PaidV1:
    """What old events say."""

    account: str
    amount: int


@event("bench.paid", version=2)
@dataclass(frozen=True)
class Paid:
    """What every projection reads."""

    account: str
    amount: int
    currency: str = "EUR"


@dataclass(frozen=True)
class Pay:
    """What is dispatched."""

    account: str
    amount: int


class Balances:
    """In memory."""

    def __init__(self) -> None:
        self.balances: dict[str, int] = defaultdict(int)

    def apply(self, recorded_event: RecordedEvent) -> None:
        """Add it up."""
        paid: Any = recorded_event.event
        self.balances[paid.account] += paid.amount


class SavedBalances(Balances):
    """In memory, saved."""

    def save(self) -> Any:
        """All of it."""
        return dict(self.balances)

    def load(self, state: Any) -> None:
        """All of it."""
        self.balances.update(state)


class SqlBalances:
    """In a table of the same file."""

    def create_in(self, connection: ProjectionConnection, tables: Tables) -> None:
        """One table."""
        self._table = tables.name("balances")
        connection.execute(f"CREATE TABLE IF NOT EXISTS {self._table}(account TEXT PRIMARY KEY, amount INTEGER)")

    def apply_in(self, connection: ProjectionConnection, recorded_event: RecordedEvent) -> None:
        """Add it up."""
        paid: Any = recorded_event.event
        connection.execute(
            f"INSERT INTO {self._table} VALUES (?, ?)"
            " ON CONFLICT(account) DO UPDATE SET amount = amount + excluded.amount",
            (paid.account, paid.amount),
        )


def timed(work: Callable[[], None]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class Bench:
    """One file with events, and what is done with it."""

    def __init__(self, folder: Path, events: int) -> None:
        self.events = events
        self.versions = VersionRegistry()
        self.versions.register_upcaster(AutoUpcaster(PaidV1, Paid))
        self.store = EventStore(folder / "events.db", versions=self.versions)
        self.old = EventStore(folder / "old.db", versions=self.versions)
        for begin in range(0, events, 1000):
            numbers = range(begin, min(events, begin + 1000))
            self.store.append("payments", [Paid(f"A-{number % 100}", number) for number in numbers])
            self.old.append("payments", [PaidV1(f"A-{number % 100}", number) for number in numbers])
        self.number = 0

    def fresh_name(self) -> str:
        """A name that no checkpoint is known for."""
        self.number += 1
        return f"balances-{self.number}"

    def catch_up(self, store: EventStore, kind: Any) -> float:
        """Events a second from the first to the last."""
        with ProjectionRegistry(store) as registry:
            name = self.fresh_name()
            registry.register(name, kind)

            def work() -> None:
                registry.start_subscription()
                registry.wait_for(name, store.head())

            return self.events / timed(work)

    def rebuild(self, kind: Any) -> float:
        """Events a second of a rebuild."""
        with ProjectionRegistry(self.store) as registry:
            name = self.fresh_name()
            registry.register(name, kind)
            return self.events / timed(lambda: registry.rebuild(name))

    def floor(self) -> float:
        """Events a second of a loop that reads, decodes and adds up."""
        database = sqlite3.connect(f"file:{self.store.backend.path}?mode=ro", uri=True)  # type: ignore[attr-defined]
        balances: dict[str, int] = defaultdict(int)

        def work() -> None:
            position = 0
            sql = "SELECT position, data FROM events WHERE position > ? ORDER BY position LIMIT 512"
            while rows := database.execute(sql, (position,)).fetchall():
                for _, data in rows:
                    paid = Paid(**msgpack.unpackb(data))
                    balances[paid.account] += paid.amount
                position = rows[-1][0]

        seconds = timed(work)
        database.close()
        return self.events / seconds

    def live(self, kind: Any) -> list[float]:
        """Milliseconds from the append to the projection that holds it, in a store of its own, one after another."""
        with (
            tempfile.TemporaryDirectory() as folder,
            EventStore(Path(folder) / "live.db") as store,
            ProjectionRegistry(store) as registry,
        ):
            registry.register("balances", kind)
            registry.start_subscription()

            def once() -> None:
                store.append("s", [Paid("A", 1)])
                registry.wait_for("balances", store.head())

            return [timed(once) * 1000 for _ in range(LIVE)]

    def dispatch(self, keyed: bool, again: bool) -> float:
        """Commands a second: two commits for each with a key, one without, none where it is answered from its key."""
        with tempfile.TemporaryDirectory() as folder, EventStore(Path(folder) / "bus.db") as store:
            bus = CommandBus(store)
            bus.register(Pay, lambda command: [Paid(command.account, command.amount)])

            def work() -> None:
                for number in range(COMMANDS):
                    bus.dispatch(Pay("A", number), f"key-{number}" if keyed else None)

            if again:
                work()
            return COMMANDS / timed(work)

    def commit_floor(self) -> float:
        """Commits a second of one row by plain sqlite3."""
        with tempfile.TemporaryDirectory() as folder:
            database = sqlite3.connect(Path(folder) / "floor.db", isolation_level=None)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("CREATE TABLE events(position INTEGER PRIMARY KEY, data)")

            def work() -> None:
                for number in range(COMMANDS):
                    database.execute("INSERT INTO events(data) VALUES (?)", (msgpack.packb({"amount": number}),))

            seconds = timed(work)
            database.close()
            return COMMANDS / seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.events)
        rows: dict[str, Callable[[], float]] = {
            "catch up, plain loop (floor), events/s": bench.floor,
            "catch up in memory, events/s": lambda: bench.catch_up(bench.store, Balances),
            "catch up in memory, saved, events/s": lambda: bench.catch_up(bench.store, SavedBalances),
            "catch up in a table, events/s": lambda: bench.catch_up(bench.store, SqlBalances),
            "catch up in memory, upcast, events/s": lambda: bench.catch_up(bench.old, Balances),
            "rebuild in memory, events/s": lambda: bench.rebuild(Balances),
            "rebuild in a table, events/s": lambda: bench.rebuild(SqlBalances),
            "commits of one row (floor), 1/s": bench.commit_floor,
            "dispatch, 1/s": lambda: bench.dispatch(keyed=False, again=False),
            "dispatch with a key, 1/s": lambda: bench.dispatch(keyed=True, again=False),
            "dispatch answered from its key, 1/s": lambda: bench.dispatch(keyed=True, again=True),
        }
        figures: dict[str, list[float]] = defaultdict(list)
        live: dict[str, list[float]] = defaultdict(list)
        for _ in range(options.rounds):
            for label, measure in rows.items():
                figures[label].append(measure())
            for kind in (Balances, SavedBalances, SqlBalances):
                live[kind.__name__].extend(bench.live(kind))
        for label in rows:
            print(f"{label:45} {statistics.median(figures[label]):>12,.0f}")
        for kind_name, times in live.items():
            cuts = statistics.quantiles(times, n=100)
            print(f"{'append to held by ' + kind_name + ', ms':45} p50 {cuts[49]:.2f}  p99 {cuts[98]:.2f}")
        bench.store.close()
        bench.old.close()


if __name__ == "__main__":
    main()
