"""What a long history costs: start-up, queries and a purge with finished sagas in the journal, and sagas after many
others.

Usage: python -m tests.benchmarks.bench_history [--finished N] [--long N] [--limit SECONDS]

The finished sagas are copies, written straight into the journal: a million take some minutes. One of 50 was undone, one
of 1,000 is parked. Each figure stands beside that of a home with a thousand, measured in turns. ``--long`` really runs
so many sagas and compares the cost of the last ones with that of the first.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from antistrophe import SagaOrchestrator, SagaStatus
from antistrophe.journal.paging import cursor_before
from tests.benchmarks.filled_journal import NAMES, fill, saga_id
from tests.benchmarks.measuring import (
    Sample,
    clean_up_on_sigterm,
    conditions,
    cpu_of,
    percentile,
    pids_of,
    pss_of,
    sample_of,
)
from tests.benchmarks.steps_of_benchmarks import saga_of_three

PATIENCE_S = 60.0
_STARTS = 3
_TURNS, _EACH_TURN = 10, 20
_MOST_PURGED = 100_000
"""A purge of more would take most of an hour."""

_PAGE = 100
_SMALL_PAGE = 50
"""A home of a thousand sagas has so many of a status and a name in its older half."""

_RARE = 20
"""So many were undone of a thousand."""

_ENTRIES = 8
"""So many entries a finished saga has."""

_AT_ONCE = 16


def _queries(orchestrator: SagaOrchestrator, sagas: int) -> dict[str, Callable[[int], object]]:
    deep_in = cursor_before(sagas * _ENTRIES // 2)
    name = NAMES[0]
    rare = SagaStatus.COMPENSATED
    return {
        "get_saga": lambda number: orchestrator.get_saga(saga_id(number * 7919 % max(1, sagas))),
        "list_sagas, the newest": lambda _: orchestrator.list_sagas(limit=_PAGE),
        "list_sagas, deep in": lambda _: orchestrator.list_sagas(limit=_PAGE, cursor=deep_in),
        "list_sagas, of a status": lambda _: orchestrator.list_sagas(SagaStatus.COMPLETED, limit=_PAGE),
        "list_sagas, of a rare status": lambda _: orchestrator.list_sagas(rare, limit=_RARE),
        "list_sagas, of a name": lambda _: orchestrator.list_sagas(name=name, limit=_PAGE),
        "list_sagas, of both": lambda _: orchestrator.list_sagas(SagaStatus.COMPLETED, name, limit=_PAGE),
        "list_sagas, of both, deep in": lambda _: orchestrator.list_sagas(
            SagaStatus.COMPLETED, name, limit=_SMALL_PAGE, cursor=deep_in
        ),
        "list_sagas, of both, none": lambda _: orchestrator.list_sagas(SagaStatus.EXECUTING, name, limit=_PAGE),
        "list_sagas, a text of all": lambda _: orchestrator.list_sagas(text="finished", limit=_PAGE),
        "list_sagas, a text of few": lambda _: orchestrator.list_sagas(text=saga_id(sagas // 2)[-6:], limit=_PAGE),
        "list_sagas, an id as a text": lambda _: orchestrator.list_sagas(text=saga_id(sagas * 5 // 13), limit=_PAGE),
        "list_sagas, a text of none": lambda _: orchestrator.list_sagas(text="no-such-saga", limit=_PAGE),
        "history_count": lambda _: orchestrator.history_count(),
        "the next saga": lambda _: orchestrator.execute(saga_of_three(), timeout_s=PATIENCE_S),
    }


def with_history(sagas: int, limit_s: float) -> None:
    """Start-up and queries with that many finished sagas, in turns with a home that has a thousand; then a purge."""
    print(f"\n== Finished sagas in the journal ({conditions()}) ==")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.ExitStack() as stack:
        homes = [_filled(Path(folder, str(number)), number, limit_s) for number in (1_000, sagas)]
        taken: list[list[float]] = [[], []]
        for _ in range(_STARTS):
            for home, starts in zip(homes, taken, strict=True):
                begun = time.perf_counter()
                with SagaOrchestrator(home.path):
                    starts.append(time.perf_counter() - begun)
        _show_both("start-up", taken)
        systems = [stack.enter_context(SagaOrchestrator(home.path)) for home in homes]
        questions = [_queries(system, home.sagas) for system, home in zip(systems, homes, strict=True)]
        for label in questions[0]:
            _show_both(label, *_in_turns(systems, [each[label] for each in questions], limit_s))
        for system, home in zip(systems, homes, strict=True):
            if home.sagas <= _MOST_PURGED:
                _purge(system, home.path / "journal.db")
        print(f"({conditions()} at the end)", flush=True)


@dataclass(frozen=True)
class _Home:
    path: Path
    sagas: int


def _filled(path: Path, sagas: int, limit_s: float) -> _Home:
    begun = time.perf_counter()
    written = fill(path, sagas, limit_s)
    taken_s = time.perf_counter() - begun
    if written < sagas:
        print(f"  !!! only {written:,} of {sagas:,} could be written within {limit_s:.0f} s")
    size = (path / "journal.db").stat().st_size / max(1, written)
    print(f"{written:>9,} finished: written in {taken_s:.1f} s, {size:.0f} bytes a saga", flush=True)
    return _Home(path, written)


def _in_turns(
    systems: Sequence[SagaOrchestrator], questions: Sequence[Callable[[int], object]], limit_s: float
) -> tuple[list[list[float]], list[float]]:
    """The seconds of each question, and the mean CPU seconds of it, of one system and of the other."""
    taken: list[list[float]] = [[], []]
    cpu_s = [0.0, 0.0]
    for question in questions:
        question(0)  # the first of its kind makes connections and caches
    start = time.perf_counter()
    for turn in range(_TURNS):
        for which, (system, question) in enumerate(zip(systems, questions, strict=True)):
            before = _cpu(system)
            for number in range(_EACH_TURN):
                begun = time.perf_counter()
                question(turn * _EACH_TURN + number)
                taken[which].append(time.perf_counter() - begun)
            cpu_s[which] += _cpu(system) - before
        if time.perf_counter() - start > limit_s:
            break
    return taken, [total / len(each) for total, each in zip(cpu_s, taken, strict=True)]


def _show_both(label: str, taken: Sequence[Sequence[float]], cpu_s: Sequence[float] = ()) -> None:
    """A line: the times of the smaller home and of the larger one, and how many times as long the latter takes."""
    (few, few99), (many, many99) = [(percentile(each, 50) * 1e3, percentile(each, 99) * 1e3) for each in taken]
    cpu = f"; CPU {cpu_s[0] * 1e3:.2f}, {cpu_s[1] * 1e3:.2f} ms" if cpu_s else ""
    print(
        f"{label:>30}: p50 {few:.2f}, {many:.2f} ms ({many / few:.2f}x); p99 {few99:.2f}, {many99:.2f} ms{cpu}",
        flush=True,
    )


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
    parser.add_argument("--limit", type=float, default=600.0)
    given = parser.parse_args()
    clean_up_on_sigterm()
    with_history(given.finished, given.limit)
    if given.long:
        long_run(given.long, given.limit)


if __name__ == "__main__":
    main()
