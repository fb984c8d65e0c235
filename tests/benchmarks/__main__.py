"""Every benchmark of the actor system in one run: one report, and the chart for the docs.

Usage: python -m tests.benchmarks [--full] [--long] [--only PART ...] [--no-peers] [--chart PATH]

The default takes less than three minutes; ``--full`` measures 10,000 sagas in flight, 100,000 finished ones and more
rounds; ``--long`` runs 100,000 sagas. The chart is written only where sagas were measured.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import subprocess
import sys
from pathlib import Path

from tests.benchmarks import (
    bench_flight,
    bench_history,
    bench_metrics,
    bench_neighbours,
    bench_sagas,
    bench_sight,
    chart,
)
from tests.benchmarks.measuring import clean_up_on_sigterm

PARTS = ("sagas", "flight", "history", "neighbours", "metrics", "sight", "messages")
_GRACE_S = 20.0


def messages(runs: int, peers: int, limit_s: float) -> None:
    """The benchmark of messages, in a process of its own that is ended after ``limit_s``."""
    print("\n== Messages between two actors ==", flush=True)
    command = [sys.executable, "-m", "tests.benchmarks.bench_messages", "--runs", str(runs), "--peers", str(peers)]
    process = subprocess.Popen(command)
    try:
        if code := process.wait(limit_s):
            print(f"  !!! bench_messages has failed with code {code}")
    except subprocess.TimeoutExpired:
        print(f"  !!! bench_messages was ended after {limit_s:.0f} s: rows are missing")
    finally:
        process.terminate()  # it sweeps what it has started
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)


def write_chart(figures: bench_sagas.Figures, path: Path) -> None:
    """Latency of one at a time; throughput and CPU of 16 at a time."""
    at_once = {name: row for (name, width), row in figures.items() if width == 16}
    alone = {name: row for (name, width), row in figures.items() if width == 1 and name in at_once}
    panels = [
        chart.Panel("p50 of a saga, ms", "one at a time; less is better", _column(alone, "p50_ms")),
        chart.Panel("sagas a second", "16 at a time; more is better", _column(at_once, "per_s")),
        chart.Panel("CPU of a saga, ms", "16 at a time; less is better", _column(at_once, "cpu_ms")),
    ]
    note = (
        f"3 trivial steps, SQLite, synchronous=FULL, {os.cpu_count()} cores, Python {platform.python_version()};"
        " DBOS and larzstate run their steps in their one process, the others in processes of their own."
        f" Load {os.getloadavg()[0]:.1f}."
    )
    path.write_text(chart.draw("A saga of three steps", note, list(at_once), bench_sagas.OURS, panels), "utf-8")
    print(f"\nchart: {path}")


def _column(rows: dict[str, dict[str, float]], figure: str) -> dict[str, float]:
    return {name: row[figure] for name, row in rows.items()}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--chart", type=Path, default=chart.PATH)
    given = parser.parse_args()
    clean_up_on_sigterm()
    full: bool = given.full
    if "sagas" in given.only:
        figures = bench_sagas.run(7 if full else 2, 15.0 if full else 3.0, with_peers=not given.no_peers)
        write_chart(figures, given.chart)
    if "flight" in given.only:
        bench_flight.run(10_000 if full else 500, 240.0 if full else 20.0)
    if "history" in given.only:
        bench_history.with_history(100_000 if full else 2_000, 300.0 if full else 10.0)
    if "neighbours" in given.only:
        bench_neighbours.run(7 if full else 1, 10.0 if full else 2.0)
    if "metrics" in given.only:
        bench_metrics.run(7 if full else 2, 10.0 if full else 3.0)
    if "sight" in given.only:
        bench_sight.run(7 if full else 1, 10.0 if full else 2.0)
    if "messages" in given.only:
        messages(5 if full else 1, 100 if full else 10, 600.0 if full else 30.0)
    if given.long:
        bench_history.long_run(100_000, 1_800.0)


if __name__ == "__main__":
    main()
