"""What a scrape costs the sagas: with one each second and without, in turns, and how long a scrape takes.

Usage: python -m tests.benchmarks.bench_metrics [--rounds N] [--seconds SECONDS]

The metrics are served by `antistrophe serve --metrics`, a process beside the system, in both kinds of turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from antistrophe import SagaOrchestrator
from tests.benchmarks.measuring import Prober, clean_up_on_sigterm, conditions, cpu_of, median, pids_of, sample_of
from tests.benchmarks.steps_of_benchmarks import saga_of_three

PATIENCE_S = 60.0
SCRAPE_EACH_S = 1.0
_AT_ONCE = 8
_MOST = 100_000
_SCRAPES_AT_REST = 20


@contextmanager
def served(home: Path) -> Iterator[tuple[str, int]]:
    """A process that keeps the system of that home up and serves its metrics: their address, and its pid."""
    command = [sys.executable, "-m", "antistrophe", "--home", str(home), "--json", "serve", "--metrics", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["metrics"], server.pid
        finally:
            server.terminate()


class Turns:
    """Turns of so many seconds in one system, whose metrics are at ``address``. ``took_s``: seconds of the scrapes."""

    def __init__(self, orchestrator: SagaOrchestrator, address: str, seconds: float) -> None:
        self.took_s: list[float] = []
        self._orchestrator, self._address, self._seconds = orchestrator, address, seconds

    def scrape(self) -> None:
        """Read the metrics once."""
        with urllib.request.urlopen(self._address, timeout=PATIENCE_S) as answer:
            answer.read()

    def turn(self, *, scraped: bool) -> tuple[float, float]:
        """Sagas a second, and CPU milliseconds of the system for each."""
        execute, pids = self._orchestrator.execute, pids_of(self._orchestrator)
        before = sum(map(cpu_of, pids))
        with Prober(self.scrape, SCRAPE_EACH_S) if scraped else nullcontext() as prober:
            sample = sample_of(lambda: execute(saga_of_three(), timeout_s=PATIENCE_S), _MOST, _AT_ONCE, self._seconds)
        self.took_s += prober.each_s if prober is not None else ()
        done = len(sample.each_s)
        return done / sample.total_s, (sum(map(cpu_of, pids)) - before) / done * 1e3


def run(rounds: int, seconds: float) -> None:
    """Measure and print; each turn takes so many seconds."""
    print(f"\n== A scrape each second ({conditions()}) ==")
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        served(Path(folder, "home")) as (address, server),
        SagaOrchestrator(Path(folder, "home")) as orchestrator,
    ):
        turns = Turns(orchestrator, address, seconds)
        turns.turn(scraped=True)
        turns.took_s.clear()
        used = cpu_of(server)
        pairs = [(turns.turn(scraped=number % 2 == 0), turns.turn(scraped=number % 2 == 1)) for number in range(rounds)]
        used = cpu_of(server) - used
        at_rest = sample_of(turns.scrape, _SCRAPES_AT_REST, 1, PATIENCE_S).each_s
    with_it = [pair[number % 2] for number, pair in enumerate(pairs)]
    without = [pair[1 - number % 2] for number, pair in enumerate(pairs)]
    for name, rows in (("with", with_it), ("without", without)):
        print(
            f"{name:10}{median(row[0] for row in rows):>9.0f} sagas/s{median(row[1] for row in rows):>9.2f} ms CPU each"
        )
    ratios = [one[0] / other[0] for one, other in zip(with_it, without, strict=True)]
    print(f"ratio of sagas/s, pair by pair, median: {median(ratios):.3f}")
    print(f"a scrape: {median(turns.took_s) * 1e3:.1f} ms beside them, {median(at_rest) * 1e3:.1f} ms at rest")
    print(f"CPU of the process that serves, for each scrape: {used / max(1, len(turns.took_s)) * 1e3:.1f} ms")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0)
    given = parser.parse_args()
    clean_up_on_sigterm()
    run(given.rounds, given.seconds)


if __name__ == "__main__":
    main()
