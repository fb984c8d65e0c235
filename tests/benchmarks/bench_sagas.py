"""Sagas of three trivial steps: antistrophe, a floor of a few lines, DBOS on SQLite, and larzstate, taking turns in one
run.

Usage: python -m tests.benchmarks.bench_sagas [--rounds N] [--limit SECONDS] [--no-peers]

Ours and the floor commit with synchronous=FULL and write-ahead logging; DBOS as it comes: FULL too, by SQLite's
default, with a rollback journal. larzstate writes a JSON file for each saga anew after each step, and syncs it, but not
its folder. Ours and the floor run their steps in warm processes of their own, each of the others in its one.
All are up during the whole run and are measured in turns; latencies are of all rounds, rates and CPU their medians.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from antistrophe import SagaOrchestrator, Settings
from tests.benchmarks.floor import Floor
from tests.benchmarks.measuring import Sample, clean_up_on_sigterm, conditions, cpu_of, median, percentile, sample_of
from tests.benchmarks.peer_column import Peer, PeerUnavailableError
from tests.benchmarks.steps_of_benchmarks import Fresh, saga_of, saga_of_three

AT_ONCE = (1, 16, 256)
OURS = "antistrophe"
FRESH = "fresh process, saga of 1 step"
PEERS = {"dbos": "DBOS on SQLite", "larzstate": "larzstate on files"}
"""The columns of other libraries, by the name of their package."""

PATIENCE_S = 60.0
_SAGAS = {1: 60, 16: 320, 256: 256}


class Column(Protocol):
    """What runs sagas."""

    name: str

    def run(self, sagas: int, at_once: int, limit_s: float) -> Sample:
        """So many sagas, so many at once; after ``limit_s`` seconds nothing more is begun."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


class Ours:
    """A home of its own, with room for all sagas at once."""

    name = OURS

    def __init__(self, folder: Path) -> None:
        self.orchestrator = SagaOrchestrator(folder / "home", settings=Settings(max_running_sagas=max(AT_ONCE)))

    def run(self, sagas: int, at_once: int, limit_s: float) -> Sample:
        """See ``Column``."""
        before = self._cpu()
        sample = sample_of(
            lambda: self.orchestrator.execute(saga_of_three(), timeout_s=PATIENCE_S), sagas, at_once, limit_s
        )
        return Sample(sample.each_s, sample.total_s, used(before, self._cpu()))

    def fresh(self, sagas: int, limit_s: float) -> Sample:
        """Sagas of one step that has a new process for each attempt, one at a time."""
        return sample_of(lambda: self.orchestrator.execute(saga_of(Fresh()), timeout_s=PATIENCE_S), sagas, 1, limit_s)

    def _cpu(self) -> dict[tuple[str, int], float]:
        pids = {(process.role, process.pid): cpu_of(process.pid) for process in self.orchestrator.processes()}
        return pids | {("application", os.getpid()): cpu_of(os.getpid())}

    def close(self) -> None:
        """See ``Column``."""
        self.orchestrator.close()


def used(before: dict[tuple[str, int], float], after: dict[tuple[str, int], float]) -> dict[str, float]:
    """The CPU seconds of each kind of process between two looks."""
    used: dict[str, float] = defaultdict(float)
    for (role, pid), seconds in after.items():
        earlier = next((then for (_, known), then in before.items() if known == pid), 0.0)  # roles change: step, idle
        used["step" if role == "idle" else role] += max(0.0, seconds - earlier)
    return used


Figures = dict[tuple[str, int], dict[str, float]]
"""Of a column at so many at once: p50_ms, p99_ms, per_s, cpu_ms, and the CPU ms of each kind of process."""


def figures_of(samples: Sequence[Sample]) -> dict[str, float]:
    """What the rounds of one column say."""
    each = [seconds for sample in samples for seconds in sample.each_s]
    some = [sample for sample in samples if sample.each_s]
    kinds = sorted({kind for sample in some for kind in sample.cpu_s})
    cpu = {f"cpu of {kind}": median(1e3 * s.cpu_s.get(kind, 0) / len(s.each_s) for s in some) for kind in kinds}
    return {
        "p50_ms": percentile(each, 50) * 1e3,
        "p99_ms": percentile(each, 99) * 1e3,
        "per_s": median(len(sample.each_s) / sample.total_s for sample in some),
        "cpu_ms": median(1e3 * sum(sample.cpu_s.values()) / len(sample.each_s) for sample in some),
        **cpu,
    }


def compare(columns: Sequence[Column], rounds: int, limit_s: float, sagas: Mapping[int, int] = _SAGAS) -> Figures:
    """Every column at every width of ``sagas``, which says how many a turn has there, in turns; no turn begins a saga
    after ``limit_s``."""
    figures: Figures = {}
    for column in columns:
        column.run(50, 8, limit_s)  # warm, and the logs are written over from then on
    for at_once, many in sagas.items():
        samples: dict[str, list[Sample]] = {column.name: [] for column in columns}
        for _ in range(rounds):
            for column in columns:
                samples[column.name].append(column.run(many, at_once, limit_s))
        figures |= {(name, at_once): figures_of(found) for name, found in samples.items()}
    return figures


def show(figures: Figures) -> None:
    """Print the table and where the CPU time went."""
    heads = f"{'p50 ms':>9}{'p99 ms':>9}{'sagas/s':>9}{'CPU ms':>8}{'ours: p50':>11}{'rate':>7}"
    print(f"{'3 steps, FULL':28}{'at once':>8}{heads}")
    for (name, at_once), row in sorted(figures.items(), key=lambda item: item[0][1]):
        if name == FRESH:
            continue
        ours = figures[OURS, at_once]
        ratios = f"{ours['p50_ms'] / row['p50_ms']:>10.2f}x{ours['per_s'] / row['per_s']:>6.2f}x"
        cells = f"{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}{row['per_s']:>9.0f}{row['cpu_ms']:>8.2f}"
        print(f"{name:28}{at_once:>8}{cells}{ratios}")
    fresh = figures[FRESH, 1]
    print(f"{FRESH:28}{1:>8}{fresh['p50_ms']:>9.2f}{fresh['p99_ms']:>9.2f}{fresh['per_s']:>9.0f}")
    print("\nCPU ms of a saga, by process (clock ticks of 10 ms, so ±0.1)")
    for (name, at_once), row in figures.items():
        parts = [
            f"{kind.removeprefix('cpu of ')} {value:.2f}" for kind, value in row.items() if kind.startswith("cpu of")
        ]
        if parts:
            print(f"  {name}, {at_once} at once: {', '.join(parts)}")


def run(rounds: int, limit_s: float, *, with_peers: bool = True) -> Figures:
    """Measure in a folder of its own, print, and leave nothing behind."""
    print(f"\n== Sagas beside a floor, DBOS and larzstate ({conditions()}) ==", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as place, contextlib.ExitStack() as stack:
        folder = Path(place)
        columns: list[Column] = [Floor(folder, shared=False)]
        stack.callback(columns[0].close)
        columns.append(Floor(folder, shared=True))
        stack.callback(columns[1].close)
        ours = Ours(folder)
        stack.callback(ours.close)
        columns.append(ours)
        for package, name in PEERS.items() if with_peers else ():
            try:
                peer = Peer(name, package, folder)
                stack.callback(peer.close)
                columns.append(peer)
            except PeerUnavailableError as error:
                print(f"!!! THE COLUMN OF {package} IS MISSING: {error}\n")
        figures = compare(columns, rounds, limit_s)
        ours.fresh(2, limit_s)
        figures[FRESH, 1] = figures_of([ours.fresh(20, limit_s) for _ in range(rounds)])
    show(figures)
    print(f"({conditions()} at the end)", flush=True)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=10.0)
    parser.add_argument("--no-peers", action="store_true")
    given = parser.parse_args()
    clean_up_on_sigterm()
    run(given.rounds, given.limit, with_peers=not given.no_peers)


if __name__ == "__main__":
    main()
