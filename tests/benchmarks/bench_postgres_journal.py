"""Appends to the journal in PostgreSQL beside those in a SQLite file, alone and in groups, in one run.

    python -m tests.benchmarks.bench_postgres_journal [--sagas N]

The stores take turns, round by round, so that all see the same machine. All sync every commit. The server is one of
this machine, reached by a Unix socket: what a network costs comes on top, for each round trip once. CPU time is that of
this process, and of the server's process that serves it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from antistrophe.journal.postgres import PostgresJournal
from antistrophe.journal.sqlite import SqliteJournal
from tests.benchmarks.made_sagas import Append, appends
from tests.benchmarks.measuring import TICK_S, median, percentile
from tests.postgres_cluster import DURABLE, PostgresCluster

_ROUNDS = 7
_IN_GROUP = 16


class Writer:
    """A host that has accepted all its sagas itself, and names the entry that each append goes on from."""

    host = "bench"

    def __init__(self) -> None:
        self._lasts: dict[str, bytes] = {}

    def token_of(self, saga_id: str) -> int:
        """See ``SagaOwner``."""
        return 1

    def last_of(self, saga_id: str) -> bytes | None:
        """See ``SagaOwner``."""
        return self._lasts.get(saga_id)

    def appends(self, saga_id: str, last: bytes) -> None:
        """See ``SagaOwner``."""
        self._lasts[saga_id] = last


Measured: TypeAlias = SqliteJournal | PostgresJournal


@dataclass
class Row:
    """One line of the table: microseconds of each append, and CPU microseconds of all of a round, per append."""

    each_us: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    client_us: list[float] = field(default_factory=list)
    server_us: list[float] = field(default_factory=list)


def compare(sqlite: SqliteJournal, postgres: PostgresJournal, sagas: int) -> dict[str, Row]:
    """Measure each way to write in each store, round by round."""
    (backend,) = postgres._server.row("SELECT pg_backend_pid()")
    ways: dict[str, Callable[[str], None]] = {}
    rows: dict[str, Row] = {}

    def add(name: str, journal: Measured, *, grouped: bool, events: bool) -> None:
        rows[name] = row = Row()
        server = backend if journal is postgres else None

        def go(round_name: str) -> None:
            made = [list(_appends(f"{name} {round_name} {number}", events)) for number in range(sagas)]
            _measure(journal, made, row, server, grouped=grouped)

        ways[name] = go

    for events in (False, True):
        for grouped in (False, True):
            how = f"{f'in groups of {_IN_GROUP}' if grouped else 'alone'}, {'with' if events else 'without'} events"
            add(f"SQLite, {how}", sqlite, grouped=grouped, events=events)
            add(f"PostgreSQL, {how}", postgres, grouped=grouped, events=events)
    for go in ways.values():
        go("warm-up")
    for row in rows.values():
        row.each_us, row.rates, row.client_us, row.server_us = [], [], [], []
    for number in range(_ROUNDS):
        for go in ways.values():
            go(f"round {number}")
    return rows


def _appends(saga_id: str, events: bool) -> Iterator[Append]:
    for each in appends(saga_id, time.time()):
        yield each if events else replace(each, events=[])


def _measure(journal: Measured, sagas: list[list[Append]], row: Row, server: int | None, *, grouped: bool) -> None:
    """Write these sagas, one after the other; or as many side by side as share a group, an append of each in turn."""
    server_before, client_before, begun = _cpu_s(server), time.process_time(), time.perf_counter()
    number = sum(map(len, sagas))
    if grouped:
        for first in range(0, len(sagas), _IN_GROUP):
            for together in zip(*sagas[first : first + _IN_GROUP], strict=True):
                _timed(row, len(together), lambda together=together: _write_group(journal, together))  # type: ignore[misc]
    else:
        for each in chain(*sagas):
            _timed(row, 1, lambda each=each: each.write(journal))  # type: ignore[misc]
    row.rates.append(number / (time.perf_counter() - begun))
    row.client_us.append((time.process_time() - client_before) * 1e6 / number)
    row.server_us.append((_cpu_s(server) - server_before) * 1e6 / number)


def _write_group(journal: Measured, together: Iterable[Append]) -> None:
    group = journal.gathering_group()
    group.open()
    for each in together:
        each.write(journal)
    group.commit()


def _timed(row: Row, number: int, call: Callable[[], None]) -> None:
    begun = time.perf_counter()
    call()
    row.each_us.append((time.perf_counter() - begun) * 1e6 / number)


def _cpu_s(pid: int | None) -> float:
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


@contextmanager
def _stores() -> Iterator[tuple[SqliteJournal, PostgresJournal]]:
    with tempfile.TemporaryDirectory(prefix="antistrophe-bench-") as folder, PostgresCluster(DURABLE) as cluster:
        sqlite, postgres = SqliteJournal(Path(folder) / "journal.db"), PostgresJournal(cluster.url(), owner=Writer())
        try:
            yield sqlite, postgres
        finally:
            sqlite.close()
            postgres.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sagas", type=int, default=64, help="how many in each round")
    with _stores() as (sqlite, postgres):
        rows = compare(sqlite, postgres, parser.parse_args().sagas)
    print(f"{'appends':46} {'a second':>9} {'each us':>9} {'p99 us':>9} {'CPU us':>9} {'server us':>10}")
    for name, row in rows.items():
        print(
            f"{name:46} {median(row.rates):9,.0f} {median(row.each_us):9,.0f} {percentile(row.each_us, 99):9,.0f}"
            f" {median(row.client_us):9,.0f} {median(row.server_us):10,.0f}"
        )


if __name__ == "__main__":
    main()
