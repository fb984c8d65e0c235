"""Thousands of sagas in flight: their memory, how long they take to start and to finish, and queries meanwhile.

Usage: python -m tests.benchmarks.bench_flight [--sagas N] [--limit SECONDS]

Three ways to wait: in an async step for an answer that comes to all at one moment, for a retry at such a moment (every
saga has its actor), and for the limit of running sagas (accepted, and no actor yet).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from antistrophe import SagaOrchestrator, SagaStep, Settings
from tests.benchmarks.measuring import Prober, clean_up_on_sigterm, conditions, percentile, pids_of, pss_of
from tests.benchmarks.steps_of_benchmarks import AnsweredAt, NotBefore, saga_of

_STARTERS = 16
_TRIAL = 100
_SLACK = 2.0
_MARGIN_S = 5.0


_Step: TypeAlias = Callable[[float], SagaStep]


def _start(
    orchestrator: SagaOrchestrator, step: _Step, sagas: int, due: float, until: float
) -> tuple[list[str], float]:
    """Ids of the sagas that were accepted before the moment ``until``, and the seconds that took."""
    begun = time.perf_counter()

    def one(_: int) -> str | None:
        return None if time.time() > until else orchestrator.start(saga_of(step(due))).id

    with ThreadPoolExecutor(_STARTERS) as threads:
        ids = [saga for saga in threads.map(one, range(sagas)) if saga is not None]
    return ids, time.perf_counter() - begun


def _memory(orchestrator: SagaOrchestrator) -> tuple[float, int]:
    pids = pids_of(orchestrator)
    return pss_of(pids), len(pids)


def flight(label: str, step: _Step, sagas: int, running: int, limit_s: float) -> None:
    """One row: all are started, wait for one moment, and finish."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        SagaOrchestrator(
            Path(folder, "home"), settings=Settings(max_running_sagas=running, async_calls_per_process=10_000)
        ) as orchestrator,
    ):
        _, trial_s = _start(orchestrator, step, _TRIAL, 0.0, time.time() + limit_s)
        orchestrator.wait_idle(limit_s)
        empty, _ = _memory(orchestrator)
        due = time.time() + min(limit_s / 2, _MARGIN_S + _SLACK * trial_s * sagas / _TRIAL)
        known: list[str] = []
        with Prober(lambda: orchestrator.get_saga(known[0]) if known else orchestrator.running_count()) as prober:
            ids, start_s = _start(orchestrator, step, sagas, due, due)
            known.extend(ids[:1])
            full, processes = _memory(orchestrator)
            in_flight = orchestrator.running_count()
            early = due - time.time()
            orchestrator.wait_idle(limit_s)
            finish_s = time.time() - due
    print(
        f"{label:32}{in_flight:>9,}{start_s:>9.1f}{finish_s:>9.1f}{full:>9.0f}{(full - empty) * 1024 / len(ids):>10.1f}"
        f"{processes:>7}{percentile(prober.each_s, 50) * 1e3:>11.2f}{percentile(prober.each_s, 99) * 1e3:>8.1f}",
        flush=True,
    )
    if early < 0 or len(ids) < sagas:
        print(f"  !!! {len(ids)} of {sagas} were started before the moment they waited for: not all were in flight")


def run(sagas: int, limit_s: float) -> None:
    """Measure each way to wait and print; each takes ``limit_s`` seconds at most, for each half of it."""
    print(f"\n== {sagas:,} sagas in flight ({conditions()}) ==")
    print(
        f"{'they wait for':32}{'at once':>9}{'start s':>9}{'finish s':>9}{'MiB':>9}{'KiB each':>10}{'procs':>7}"
        f"{'query p50 ms':>13}{'p99':>6}",
        flush=True,
    )
    all_of_them = max(32, sagas)
    rows: tuple[tuple[str, _Step, int], ...] = (
        ("an answer, in an async step", AnsweredAt, all_of_them),
        ("a retry", NotBefore, all_of_them),
        ("admission (32 running)", NotBefore, 32),
    )
    for label, step, running in rows:
        try:
            flight(label, step, sagas, running, limit_s)
        except TimeoutError as error:
            print(f"  !!! {label}: not finished within {limit_s:.0f} s: {error}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sagas", type=int, default=1_000)
    parser.add_argument("--limit", type=float, default=120.0)
    given = parser.parse_args()
    clean_up_on_sigterm()
    run(given.sagas, given.limit)


if __name__ == "__main__":
    main()
