"""A journal append beside a bare commit of two rows, in one run.

    python -m tests.benchmarks.bench_journal [--sagas N]

The two take turns, append by append, so that both see the same machine. Both sync every commit.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from antistrophe.journal import SqliteJournal
from tests.benchmarks.made_sagas import appends

WARM_UP = 200
"""Sagas after which the logs grow no more but are written over, which is quicker."""


def compare(folder: Path, sagas: int) -> None:
    """The time of one append, in turns with a bare commit of two rows of about the same size."""
    journal = SqliteJournal(folder / "journal.db")
    bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute("CREATE TABLE rows(position INTEGER PRIMARY KEY, saga_id, seq, entry)")
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(WARM_UP + sagas):
        saga_id = f"saga-{number}"
        for each in appends(saga_id, time.time()):
            begun = time.perf_counter()
            each.write(journal)
            between = time.perf_counter()
            bare.execute("BEGIN IMMEDIATE")
            for _ in range(2):
                bare.execute("INSERT INTO rows(saga_id, seq, entry) VALUES (?, ?, ?)", (saga_id, number, b"x" * 200))
            bare.execute("COMMIT")
            if each.before and number >= WARM_UP:  # the acceptance holds a whole definition
                ours.append(between - begun)
                theirs.append(time.perf_counter() - between)
    journal.close()
    bare.close()
    size = (folder / "journal.db").stat().st_size / (WARM_UP + sagas)
    ours_us, theirs_us = statistics.median(ours) * 1e6, statistics.median(theirs) * 1e6
    print(
        f"journal append of 2 entries, 1 event and the saga's row: {ours_us:,.0f} us; bare commit of 2 rows:"
        f" {theirs_us:,.0f} us ({ours_us / theirs_us:.2f}x); p99 {_p99(ours):,.0f} and {_p99(theirs):,.0f} us;"
        f" {size:,.0f} bytes a saga with three events"
    )


def _p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)] * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sagas", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="antistrophe-bench-") as folder:
        compare(Path(folder), arguments.sagas)


if __name__ == "__main__":
    main()
