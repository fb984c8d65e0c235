"""Sagas of three trivial steps with the journal in PostgreSQL: one, two and four hosts on this machine, beside DBOS on
the same server and one host on SQLite, taking turns in one run; and how long it takes until another host goes on.

Usage: python -m tests.benchmarks.bench_hosts [--rounds N] [--limit SECONDS] [--take-overs N] [--no-peers]

The server has fsync on. A round with several hosts gives its sagas to them in turn. For a take-over a whole host is
killed (SIGKILL to every process, its application too) while a step runs there; the time is from the kill to the first
line of the undo.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from antistrophe import SagaOrchestrator, Settings
from tests.actors.staging import Stage
from tests.benchmarks.bench_sagas import PATIENCE_S, Column, Figures, compare, used
from tests.benchmarks.measuring import Sample, clean_up_on_sigterm, conditions, cpu_of, median, sample_of
from tests.benchmarks.peer_column import Peer, PeerUnavailableError
from tests.benchmarks.steps_of_benchmarks import saga_of_three
from tests.killing import kill_all
from tests.postgres_cluster import DURABLE, PostgresCluster
from tests.waiting import until

_SAGAS = {1: 40, 16: 240}
_ROOT = Path(__file__).resolve().parents[2]


class Hosts:
    """So many hosts on one journal; with no URL one host with a file."""

    def __init__(self, name: str, folder: Path, url: str | None, number: int) -> None:
        self.name = name
        self._open = contextlib.ExitStack()
        self._hosts = [
            self._open.enter_context(
                SagaOrchestrator(folder / f"{name}-{each}".replace(" ", "-"), settings=settings_of(each), journal=url)
            )
            for each in range(number)
        ]

    def run(self, sagas: int, at_once: int, limit_s: float) -> Sample:
        """See ``Column``."""
        turns = itertools.cycle(self._hosts)
        before = self._cpu()
        sample = sample_of(lambda: next(turns).execute(saga_of_three(), timeout_s=PATIENCE_S), sagas, at_once, limit_s)
        return Sample(sample.each_s, sample.total_s, used(before, self._cpu()))

    def _cpu(self) -> dict[tuple[str, int], float]:
        records = [each for host in self._hosts for each in host.processes()]
        return {(each.role, each.pid): cpu_of(each.pid) for each in records}

    def close(self) -> None:
        """See ``Column``."""
        self._open.close()


def settings_of(number: int, lease_s: float = 10.0) -> Settings:
    """Of the host of that number."""
    return Settings(host_name=f"host-{number}", lease_s=lease_s, drain_s=0.2)


def show(figures: Figures) -> None:
    """Print a line for each column and width. CPU is that of our processes, or of the peer's one; not the server's."""
    print(f"{'3 steps':34}{'at once':>8}{'p50 ms':>9}{'p99 ms':>9}{'sagas/s':>9}{'CPU ms':>8}")
    for (name, at_once), row in figures.items():
        cells = f"{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}{row['per_s']:>9.0f}{row['cpu_ms']:>8.2f}"
        print(f"{name:34}{at_once:>8}{cells}")


def take_over(folder: Path, url: str, lease_s: float, times: int) -> list[float]:
    """How long after the kill of a whole host, its application included, another one began to undo, so often."""
    stage, found = Stage(folder), []
    with SagaOrchestrator(folder / f"taker-{lease_s:g}", settings=settings_of(0, lease_s), journal=url):
        for number in range(times):
            home, saga_id = folder / f"killed-{lease_s:g}-{number}", f"taken-{lease_s:g}-{number}"
            command = [sys.executable, "-m", "tests.benchmarks.killed_host", str(home), url, str(folder), saga_id]
            application = subprocess.Popen([*command, str(lease_s)], cwd=_ROOT)
            until(partial(stage.log.find, saga_id, "begin"), "the step")
            at = time.monotonic()
            application.kill()
            kill_all(home)
            application.wait()
            undo = until(partial(stage.log.find, saga_id, "undo"), "the undo", 4 * lease_s + 30)
            found.append(undo[0].at - at)
    return found


def run(rounds: int, limit_s: float, take_overs: int, *, with_peers: bool) -> None:
    """Measure in a folder of its own, print, and leave nothing behind."""
    print(f"\n== Hosts on PostgreSQL ({conditions()}) ==", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as place,
        PostgresCluster(DURABLE) as cluster,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(place)
        made: list[Callable[[], Column]] = [lambda: Hosts("one host, SQLite", folder, None, 1)]
        for number in (1, 2, 4):
            url = stack.enter_context(cluster.database())
            made.append(lambda url=url, number=number: Hosts(f"{number} on PostgreSQL", folder, url, number))  # type: ignore[misc]
        if with_peers:
            url = stack.enter_context(cluster.database())
            made.append(lambda url=url: Peer("DBOS on PostgreSQL", "dbos", url))  # type: ignore[misc]
        columns = []
        for make in made:
            try:
                columns.append(make())
                stack.callback(columns[-1].close)
            except PeerUnavailableError as error:
                print(f"!!! A COLUMN IS MISSING: {error}\n")
        show(compare(columns, rounds, limit_s, _SAGAS))
        for lease_s in (4.0, 10.0):
            times = take_over(folder, stack.enter_context(cluster.database()), lease_s, take_overs)
            print(
                f"take-over, lease_s {lease_s:g}: median {median(times):.2f} s, max {max(times):.2f} s of {len(times)}"
            )
    print(f"({conditions()} at the end)", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=10.0)
    parser.add_argument("--take-overs", type=int, default=50)
    parser.add_argument("--no-peers", action="store_true")
    given = parser.parse_args()
    clean_up_on_sigterm()
    run(given.rounds, given.limit, given.take_overs, with_peers=not given.no_peers)


if __name__ == "__main__":
    main()
