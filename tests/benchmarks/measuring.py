"""What the benchmarks count with: samples of sagas, CPU time and memory of processes, lines of a table."""

from __future__ import annotations

import itertools
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from antistrophe import SagaOrchestrator

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
MIB = 1024  # KiB


@dataclass(frozen=True)
class Sample:
    """Sagas of one round: seconds of each, of all together, and CPU seconds by the kind of process."""

    each_s: list[float]
    total_s: float
    cpu_s: Mapping[str, float] = field(default_factory=dict)


def sample_of(work: Callable[[], object], times: int, at_once: int, limit_s: float) -> Sample:
    """Call ``work`` so often, so many at once; after ``limit_s`` seconds nothing more is begun."""
    begun = time.perf_counter()
    turns = itertools.count()

    def some() -> list[float]:
        found: list[float] = []
        while next(turns) < times and (start := time.perf_counter()) - begun <= limit_s:
            work()
            found.append(time.perf_counter() - start)
        return found

    if at_once == 1:
        return Sample(some(), time.perf_counter() - begun)
    with ThreadPoolExecutor(at_once) as threads:  # a task for each call would cost as much as a call
        tasks = [threads.submit(some) for _ in range(at_once)]
        each_s = [each for task in tasks for each in task.result()]
    return Sample(each_s, time.perf_counter() - begun)


def percentile(values: Iterable[float], percent: float) -> float:
    """The value that so many percent do not exceed; of no values, NaN."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")


def median(values: Iterable[float]) -> float:
    """The median; of no values, NaN."""
    found = list(values)
    return statistics.median(found) if found else float("nan")


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has used, to the clock tick; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK_S


def pids_of(orchestrator: SagaOrchestrator) -> set[int]:
    """The processes of a system. Its list names the one that hosts saga actors once for each saga."""
    return {process.pid for process in orchestrator.processes()}


def pss_of(pids: Iterable[int]) -> float:
    """Memory of these processes in MiB, shared pages counted once; those that are gone count nothing."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / MIB


def clean_up_on_sigterm() -> None:
    """Leave by an exception when told to end, so that processes and folders go too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def conditions() -> str:
    """The machine at this moment, for the line that every part of the table opens with."""
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}"


class Prober:
    """Calls something again and again in a thread of its own, while the body of its ``with`` runs; ``each_s`` has the
    seconds of every call. An error of a call ends it, and is raised at the end of the ``with``."""

    def __init__(self, call: Callable[[], object], pause_s: float = 0.01) -> None:
        self.each_s: list[float] = []
        self._call, self._pause_s = call, pause_s
        self._over = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self._over.wait(self._pause_s):
                begun = time.perf_counter()
                self._call()
                self.each_s.append(time.perf_counter() - begun)
        except Exception as error:
            self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._over.set()
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error
