"""Latency and throughput of a saga of three trivial steps, beside a plain loop that makes the same commits.

    python tests/benchmarks/bench_sagas.py [--sagas 300] [--at-once 16] [--long 0]

Everything is measured in one run on one machine: compare the rows, not the figures of two machines. The floor commits
as often as a saga does (four times), to a SQLite file of the same settings, and does nothing else. With ``--long N`` a
run of N sagas follows, which shows whether the last cost what the first did, and what grew meanwhile.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from antistrophe import SagaDefinition, SagaOrchestrator, SagaStep, Settings

COMMITS_OF_A_SAGA = 4
WARM_UP = 50


@dataclass(frozen=True)
class Trivial(SagaStep):
    """A step that does nothing."""

    name: str

    def execute(self) -> None:
        """Do nothing."""

    def compensate(self) -> None:
        """Undo nothing."""


def saga_of_three() -> SagaDefinition:
    """Three trivial steps under a new id."""
    saga = SagaDefinition(uuid.uuid4().hex, name="trivial")
    for name in ("first", "second", "third"):
        saga = saga.add_step(Trivial(name))
    return saga


def timed(work: Callable[[], object], times: int, at_once: int) -> tuple[list[float], float]:
    """Seconds of each call in order of size, and of all of them."""

    def one(_: int) -> float:
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun

    begun = time.perf_counter()
    if at_once == 1:
        each = [one(number) for number in range(times)]
    else:
        with ThreadPoolExecutor(at_once) as threads:
            each = list(threads.map(one, range(times)))
    return sorted(each), time.perf_counter() - begun


def row(name: str, each: list[float], total_s: float) -> str:
    """One line of the table."""
    p50, p99 = statistics.median(each) * 1e3, each[min(len(each) - 1, int(len(each) * 0.99))] * 1e3
    return f"{name:34} {p50:8.2f} {p99:8.2f} {len(each) / total_s:9.1f}"


def floor(path: Path, synchronous: str) -> Callable[[], object]:
    """A call that makes the commits of one saga in a plain loop."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("CREATE TABLE journal(position INTEGER PRIMARY KEY, entry BLOB)")

    def commits() -> None:
        for _ in range(COMMITS_OF_A_SAGA):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO journal(entry) VALUES (?)", (b"x" * 200,))
            connection.execute("INSERT INTO journal(entry) VALUES (?)", (b"x" * 200,))
            connection.execute("COMMIT")

    return commits


def resources(orchestrator: SagaOrchestrator) -> tuple[int, int, float]:
    """Processes of the system, the files that they hold open, and their memory (PSS) in MiB."""
    pids = {process.pid for process in orchestrator.processes()}
    files = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    pss_kib = sum(int(line.split()[1]) for rollup in rollups for line in rollup.splitlines() if line.startswith("Pss:"))
    return len(pids), files, pss_kib / 1024


def long_run(orchestrator: SagaOrchestrator, sagas: int) -> None:
    """Many sagas one after another: the first hundred beside the last, and what grew."""
    before = resources(orchestrator)
    each: list[float] = []
    for _ in range(sagas):
        begun = time.perf_counter()
        orchestrator.execute(saga_of_three())
        each.append(time.perf_counter() - begun)
    first, last = statistics.median(each[:100]) * 1e3, statistics.median(each[-100:]) * 1e3
    after = resources(orchestrator)
    print(f"\n{sagas} sagas: median of the first 100 {first:.2f} ms, of the last 100 {last:.2f} ms", end="")
    print(f" ({last / first:.2f}x)")
    print(f"processes {before[0]} -> {after[0]}, open files {before[1]} -> {after[1]}", end="")
    print(f", memory {before[2]:.1f} -> {after[2]:.1f} MiB")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sagas", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--long", type=int, default=0)
    parser.add_argument("--synchronous", default="FULL", choices=("FULL", "NORMAL"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        home = Path(folder) / "home"
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, synchronous={given.synchronous}")
        print(f"{'':34} {'p50 ms':>8} {'p99 ms':>8} {'per s':>9}")
        each, total_s = timed(floor(Path(folder) / "floor.db", given.synchronous), given.sagas, 1)
        print(row("floor: 4 commits", each, total_s))
        with SagaOrchestrator(home, settings=Settings(synchronous=given.synchronous)) as orchestrator:
            timed(lambda: orchestrator.execute(saga_of_three()), WARM_UP, given.at_once)
            for at_once in (1, given.at_once):
                each, total_s = timed(lambda: orchestrator.execute(saga_of_three()), given.sagas, at_once)
                print(row(f"saga of 3 steps, {at_once} at a time", each, total_s))
            if given.long:
                long_run(orchestrator, given.long)


if __name__ == "__main__":
    main()
