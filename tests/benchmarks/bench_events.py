"""The event store beside `eventsourcing` on SQLite and a floor of plain sqlite3, measured in one run.

    python tests/benchmarks/bench_events.py [--rounds N] [--million]

Every row is measured in turns, round after round, so that all columns see the same machine; medians are printed, and
ratios of the medians. All of it syncs every commit (``synchronous=FULL``). ``--million`` adds what happens at 1,000,000
events. Without the package `eventsourcing` its column is left out, loudly.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

from antistrophe.definition.events import event
from antistrophe.eventstore.store import EventStore

SINGLE = 200
BATCHES, BATCH = 20, 100
READ = 20_000
WARM_UP = 1_500


@event("bench.debited")
@dataclass(frozen=True)
class Debited:
    """What every column stores."""

    account: str
    amount: int


class Ours:
    """The event store of antistrophe."""

    name = "antistrophe"

    def __init__(self, folder: Path) -> None:
        self._store = EventStore(folder / "ours.db")
        self._number = 0
        self._store.append("big", [Debited("A-1", number) for number in range(READ)])

    def append(self, size: int) -> None:
        """One commit of that many events to a stream of its own."""
        self._number += 1
        self._store.append(f"s-{self._number}", [Debited("A-1", number) for number in range(size)])

    def read_stream(self) -> int:
        """Every event of the big stream, decoded."""
        return len(self._store.get_events("big"))

    def read_rows(self) -> int:
        """The same, not decoded."""
        return len(self._store.read_stream("big"))

    def catch_up(self) -> int:
        """Every event of the store in order, in parts as a follower reads them, decoded."""
        count, head = 0, self._store.head()
        with self._store.subscribe() as subscription:
            for each in subscription:
                _ = each.event
                count += 1
                if each.position == head:
                    break
        return count


class Eventsourcing:
    """An Application of `eventsourcing`, its SQLite recorder and JSON, all as it comes."""

    name = "eventsourcing"

    def __init__(self, folder: Path) -> None:
        from eventsourcing.application import Application
        from eventsourcing.domain import Aggregate
        from eventsourcing.domain import event as domain_event

        class Account(Aggregate):
            @domain_event("Opened")
            def __init__(self, account: str) -> None:
                self.account = account
                self.amount = 0

            @domain_event("Debited")
            def debit(self, account: str, amount: int) -> None:
                self.account = account
                self.amount -= amount

        self._account: Any = Account
        self._app: Any = Application(
            env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(folder / "theirs.db")}
        )
        big = Account("A-1")
        for number in range(READ - 1):
            big.debit("A-1", number)
        self._app.save(big)
        self._big = big.id

    def append(self, size: int) -> None:
        """One commit of that many events to an aggregate of its own."""
        account = self._account("A-1")
        for number in range(size - 1):
            account.debit("A-1", number)
        self._app.save(account)

    def read_stream(self) -> int:
        """Every event of the big aggregate, decoded."""
        return len(list(self._app.events.get(self._big)))

    def read_rows(self) -> int:
        """The same, not decoded."""
        return len(list(self._app.recorder.select_events(self._big)))

    def catch_up(self) -> int:
        """Every notification in order, in parts, decoded."""
        count, start = 0, None
        while notifications := self._app.recorder.select_notifications(start, 256, inclusive_of_start=False):
            for each in notifications:
                self._app.mapper.to_domain_event(each)
                count += 1
            start = notifications[-1].id
        return count


class Floor:
    """A table, sqlite3 and msgpack: nothing is checked, no class is restored but by its constructor."""

    name = "plain sqlite3"

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "floor.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(
            "CREATE TABLE events(position INTEGER PRIMARY KEY, stream, version, type, data, UNIQUE(stream, version))"
        )
        self._number = 0
        self._insert("big", READ)

    def append(self, size: int) -> None:
        """One commit of that many rows."""
        self._number += 1
        self._insert(f"s-{self._number}", size)

    def _insert(self, stream: str, size: int) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(
            "INSERT INTO events(stream, version, type, data) VALUES (?, ?, ?, ?)",
            (
                (stream, number, "bench.debited", msgpack.packb({"account": "A-1", "amount": number}))
                for number in range(size)
            ),
        )
        self._db.execute("COMMIT")

    def _rows(self) -> list[Any]:
        return self._db.execute("SELECT * FROM events WHERE stream = 'big' ORDER BY version").fetchall()

    def read_stream(self) -> int:
        """Every row of the big stream, decoded."""
        return len([Debited(**msgpack.unpackb(row[4])) for row in self._rows()])

    def read_rows(self) -> int:
        """The same, not decoded."""
        return len(self._rows())

    def catch_up(self) -> int:
        """Every row in order, in parts, decoded."""
        count, position = 0, 0
        sql = "SELECT * FROM events WHERE position > ? ORDER BY position LIMIT 256"
        while rows := self._db.execute(sql, (position,)).fetchall():
            for row in rows:
                Debited(**msgpack.unpackb(row[4]))
                count += 1
            position = rows[-1][0]
        return count


Column = Ours | Eventsourcing | Floor
Work = Callable[[Column], int]


def _appends(column: Column, commits: int, size: int) -> int:
    for _ in range(commits):
        column.append(size)
    return commits * size


ROWS: dict[str, Work] = {
    "append, 1 event a commit": lambda column: _appends(column, SINGLE, 1),
    "append, 100 events a commit": lambda column: _appends(column, BATCHES, BATCH),
    "read a stream, decoded": lambda column: column.read_stream(),
    "read a stream, not decoded": lambda column: column.read_rows(),
    "catch up in parts, decoded": lambda column: column.catch_up(),
}


def rate_of(work: Work, column: Column) -> float:
    """Events a second."""
    gc.collect()
    begun = time.perf_counter()
    count = work(column)
    return count / (time.perf_counter() - begun)


def compare(columns: list[Column], rounds: int) -> None:
    """Measure every row in every column, in turns, and print the medians."""
    for column in columns:
        _appends(column, WARM_UP, 1)  # from then on the logs are written over: they grow no more, which costs more
    names = [column.name for column in columns]
    print(f"{'events/s':30}" + "".join(f"{name:>16}" for name in names) + "".join(f"{'/ ' + n:>18}" for n in names[1:]))
    for label, work in ROWS.items():
        rates: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for column in columns:
                rates[column.name].append(rate_of(work, column))
        medians = [statistics.median(rates[name]) for name in names]
        ratios = "".join(f"{medians[0] / median:>17.2f}x" for median in medians[1:])
        print(f"{label:30}" + "".join(f"{median:>16,.0f}" for median in medians) + ratios)


# --- a million events ---------------------------------------------------------------------------------------------


def at_a_million(folder: Path) -> None:
    """What opening, reading the end and appending take at 1,000 and at 1,000,000 events, in microseconds."""
    path = folder / "million.db"
    print(f"\n{'events':>10}{'open':>12}{'last 100':>12}{'end of stream':>16}{'append 1':>12}{'version':>12}")
    for total in (1_000, 1_000_000):
        _fill(path, total)
        opened = statistics.median(_open(path) for _ in range(9))
        with EventStore(path) as store:
            name = f"s-{(total - 1) // 2000}-5"
            times = [opened, *(_time_of(work) for work in _at_the_end(store, name))]
        widths = (12, 12, 16, 12, 12)
        print(f"{total:>10,}" + "".join(f"{t * 1e6:>{w},.0f}" for t, w in zip(times, widths, strict=True)))


def _fill(path: Path, total: int) -> None:
    with EventStore(path, synchronous="NORMAL") as store:
        while (head := store.head()) < total:
            with store.transaction() as transaction:
                for stream in range(10):
                    transaction.append(f"s-{head // 1000}-{stream}", [Debited("A-1", each) for each in range(100)])


def _at_the_end(store: EventStore, name: str) -> tuple[Callable[[], object], ...]:
    return (
        lambda: [each.event for each in store.read(store.head() - 100)],
        lambda: store.get_events_after(name, 99),
        lambda: store.append(name, [Debited("A-1", 1)]),
        lambda: store.version(name),
    )


def _open(path: Path) -> float:
    begun = time.perf_counter()
    store = EventStore(path)
    store.head()
    taken = time.perf_counter() - begun
    store.close()
    return taken


def _time_of(work: Callable[[], object], times: int = 51) -> float:
    taken: list[float] = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--million", action="store_true")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="antistrophe-bench-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        columns: list[Column] = [Ours(folder)]
        if importlib.util.find_spec("eventsourcing") is not None:
            columns.append(Eventsourcing(folder))
        else:
            print("!!! eventsourcing is not installed (pip install eventsourcing): ITS COLUMN IS MISSING\n")
        columns.append(Floor(folder))
        compare(columns, arguments.rounds)
        if arguments.million:
            at_a_million(folder)


if __name__ == "__main__":
    main()
