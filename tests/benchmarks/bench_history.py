"""What a long history costs: start-up, queries and a purge with finished sagas in the journal, and sagas after many
others.

Usage: python -m tests.benchmarks.bench_history [--finished N] [--long N] [--limit SECONDS]

The finished sagas are written straight into the journal, by its own append. ``--long`` really runs so many sagas and
compares the cost of the last ones with that of the first.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from antistrophe import SagaOrchestrator, SagaStatus
from antistrophe.journal import SqliteJournal
from antistrophe.saga.listed import row_after
from antistrophe.saga.state import Saga
from tests.benchmarks.bench_journal import saga_parts
from tests.benchmarks.measuring import (
    Sample,
    clean_up_on_sigterm,
    conditions,
    cpu_of,
    median,
    percentile,
    pids_of,
    pss_of,
    sample_of,
)
from tests.benchmarks.steps_of_benchmarks import saga_of_three

PATIENCE_S = 60.0
_QUERIES = 200
_STARTS = 3
_PART = 500
_AT_ONCE = 16


def fill(home: Path, sagas: int, limit_s: float) -> int:
    """Write finished sagas of three steps into the journal of a home; how many there was time for."""
    home.mkdir(mode=0o700)
    journal = SqliteJournal(home / "journal.db", synchronous="NORMAL")
    deadline = time.monotonic() + limit_s
    written = 0
    try:
        while written < sagas and time.monotonic() < deadline:
            group = journal.group()
            group.open()
            for number in range(written, min(written + _PART, sagas)):
                _append(journal, f"finished-{number}")
                written = number + 1
            group.commit()
    finally:
        journal.close()
    return written


def _append(journal: SqliteJournal, saga_id: str) -> None:
    before: Saga | None = None
    for saga, entries, events in saga_parts(saga_id):
        seq = 0 if before is None else before.seq
        row = row_after(before, saga, entries)
        journal.append(saga_id, expected_seq=seq, entries=entries, events=events, row=row)
        before = saga


def _queries(orchestrator: SagaOrchestrator, sagas: int) -> dict[str, Callable[[int], object]]:
    middle = orchestrator.list_sagas(limit=1).cursor
    name = orchestrator.list_sagas(limit=1)[0].name
    return {
        "get_saga": lambda number: orchestrator.get_saga(f"finished-{number * 7919 % max(1, sagas)}"),
        "list_sagas, 100 newest": lambda _: orchestrator.list_sagas(limit=100),
        "list_sagas, 100 of a status": lambda _: orchestrator.list_sagas(SagaStatus.COMPLETED, limit=100),
        "list_sagas, 100 of a name": lambda _: orchestrator.list_sagas(name=name, limit=100),
        "list_sagas, of both": lambda _: orchestrator.list_sagas(SagaStatus.COMPLETED, name, limit=100),
        "list_sagas, with a text": lambda _: orchestrator.list_sagas(text="finished", limit=100),
        "list_sagas, none is like that": lambda _: orchestrator.list_sagas(SagaStatus.FAILED, name, limit=100),
        "list_sagas, page after page": lambda _: orchestrator.list_sagas(limit=100, cursor=middle),
        "history_count": lambda _: orchestrator.history_count(),
        "the next saga": lambda _: orchestrator.execute(saga_of_three(), timeout_s=PATIENCE_S),
    }


def with_history(sagas: int, limit_s: float) -> None:
    """Start-up and queries with that many finished sagas, beside a home that has a thousand; then a purge of all."""
    print(f"\n== Finished sagas in the journal ({conditions()}) ==")
    for wanted in (1_000, sagas):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            home = Path(folder, "home")
            written = fill(home, wanted, limit_s)
            if written < wanted:
                print(f"  !!! only {written:,} of {wanted:,} could be written within {limit_s:.0f} s")
            starts = []
            for _ in range(_STARTS):
                begun = time.perf_counter()
                with SagaOrchestrator(home) as orchestrator:
                    starts.append(time.perf_counter() - begun)
            print(f"{written:>9,} finished: start-up {median(starts) * 1e3:.0f} ms", flush=True)
            with SagaOrchestrator(home) as orchestrator:
                for label, query in _queries(orchestrator, written).items():
                    query(0)  # the first of its kind makes connections and caches
                    before = _cpu(orchestrator)
                    each = _each(query, limit_s)
                    cpu_ms = (_cpu(orchestrator) - before) * 1e3 / len(each)
                    print(
                        f"{label:>40}: p50 {percentile(each, 50) * 1e3:.2f}, p99 {percentile(each, 99) * 1e3:.2f} ms,"
                        f" CPU {cpu_ms:.2f} ms",
                        flush=True,
                    )
                _purge(orchestrator, home / "journal.db")


def _purge(orchestrator: SagaOrchestrator, file: Path) -> None:
    """Purge all, with the system up."""
    before, begun, cpu_s = file.stat().st_size, time.perf_counter(), _cpu(orchestrator)
    report = orchestrator.purge(older_than=timedelta(0), events=True)
    taken_s, cpu_s = time.perf_counter() - begun, _cpu(orchestrator) - cpu_s
    after = file.stat().st_size
    print(
        f"{'purge, with events':>40}: {report.sagas:,} sagas in {taken_s:.1f} s, CPU"
        f" {cpu_s * 1e3 / max(1, report.sagas):.2f} ms each; file {before / (1 << 20):.1f} MiB before and"
        f" {after / (1 << 20):.1f} MiB after, {after / max(1, report.sagas):.0f} bytes a saga",
        flush=True,
    )


def _each(query: Callable[[int], object], limit_s: float) -> list[float]:
    taken: list[float] = []
    start = time.perf_counter()
    for number in range(_QUERIES):
        begun = time.perf_counter()
        if begun - start > limit_s:
            break
        query(number)
        taken.append(time.perf_counter() - begun)
    return taken


def long_run(sagas: int, limit_s: float) -> None:
    """Run so many sagas, a thousand for each sample: what the last thousand cost beside the first, and what grew."""
    print(f"\n== {sagas:,} sagas one after another, {_AT_ONCE} at once ({conditions()}) ==")
    thousand = min(1_000, sagas)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, SagaOrchestrator(Path(folder, "home")) as orchestrator:
        deadline = time.monotonic() + limit_s
        done, shown = 0, thousand
        while done < sagas and time.monotonic() < deadline:
            before = _cpu(orchestrator)
            sample = sample_of(
                lambda: orchestrator.execute(saga_of_three(), timeout_s=PATIENCE_S),
                min(thousand, sagas - done),
                _AT_ONCE,
                max(1.0, deadline - time.monotonic()),
            )
            done += len(sample.each_s)
            if done >= shown or done >= sagas:
                _show(orchestrator, done, sample, _cpu(orchestrator) - before)
                shown *= 10 if done < sagas else 1
        if done < sagas:
            print(f"  !!! only {done:,} of {sagas:,} sagas within {limit_s:.0f} s")


def _show(orchestrator: SagaOrchestrator, done: int, sample: Sample, cpu_s: float) -> None:
    supervisors = [process.pid for process in orchestrator.processes() if process.role == "supervisor"]
    everyone = pids_of(orchestrator)
    print(
        f"up to {done:>9,}: p50 {percentile(sample.each_s, 50) * 1e3:.2f} ms,"
        f" p99 {percentile(sample.each_s, 99) * 1e3:.2f} ms,"
        f" {len(sample.each_s) / sample.total_s:.0f}/s, CPU {cpu_s * 1e3 / max(1, len(sample.each_s)):.2f} ms each;"
        f" supervisor {pss_of(supervisors):.1f} MiB, all {pss_of(everyone):.0f} MiB in {len(everyone)} processes",
        flush=True,
    )


def _cpu(orchestrator: SagaOrchestrator) -> float:
    return time.process_time() + sum(map(cpu_of, pids_of(orchestrator)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, default=10_000)
    parser.add_argument("--long", type=int, default=0)
    parser.add_argument("--limit", type=float, default=300.0)
    given = parser.parse_args()
    clean_up_on_sigterm()
    with_history(given.finished, given.limit)
    if given.long:
        long_run(given.long, given.limit)


if __name__ == "__main__":
    main()
