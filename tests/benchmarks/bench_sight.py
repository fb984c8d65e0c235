"""What watching costs the sagas: with traces, metrics and the dashboard, each alone and all together, and without.

Usage: python -m tests.benchmarks.bench_sight [--rounds N] [--seconds SECONDS]

In each round every way of watching has one turn in the same system, in an order that moves on from round to round. A
way is set up before its turn and ended after it. A turn begins when the programs that watch have read what they read
once, when they start: the dashboard the last hour, and the export the sagas of the turns without it. The metrics are
scraped each second, one browser follows the overview, and traces go to a collector that throws them away.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from antistrophe import SagaOrchestrator
from tests.benchmarks.bench_dashboard import dashboard, look
from tests.benchmarks.bench_metrics import PATIENCE_S, SCRAPE_EACH_S, served
from tests.benchmarks.measuring import Prober, clean_up_on_sigterm, conditions, cpu_of, median, pids_of, sample_of
from tests.benchmarks.steps_of_benchmarks import saga_of_three

WAYS: Mapping[str, tuple[str, ...]] = {
    "nothing": (),
    "traces": ("traces",),
    "metrics": ("metrics",),
    "dashboard": ("dashboard",),
    "all three": ("traces", "metrics", "dashboard"),
}
_AT_ONCE = 8
_MOST = 100_000
_LOOK_S, _AT_REST, _AT_REST_WITHIN_S = 1.0, 0.03, 60.0


@dataclass(frozen=True)
class Turn:
    """Sagas a second, CPU milliseconds of the system and of the programs that watch for each, and CPU seconds a second
    of those programs."""

    sagas_s: float
    cpu_ms: float
    watching_ms: float
    watching: float


@contextmanager
def traced(home: Path) -> Iterator[int]:
    """A process that exports the traces of that home to a collector: its pid."""
    sink = [sys.executable, "-m", "tests.benchmarks.trace_sink"]
    export = [sys.executable, "-m", "antistrophe", "--home", str(home), "--json", "serve", "--traces"]
    with subprocess.Popen(sink, stdout=subprocess.PIPE, text=True) as collector:
        assert collector.stdout is not None
        try:
            environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.stdout.readline().strip()}
            with subprocess.Popen(export, env=environment, stdout=subprocess.PIPE, text=True) as exporter:
                assert exporter.stdout is not None
                try:
                    json.loads(exporter.stdout.readline())
                    yield exporter.pid
                finally:
                    exporter.terminate()
        finally:
            collector.terminate()


def _watched(home: Path, how: str, left: ExitStack) -> int:
    """Watch a home in that way until ``left`` is closed. Returns the pid of the program that does."""
    if how == "traces":
        return left.enter_context(traced(home))
    if how == "metrics":
        address, pid = left.enter_context(served(home))
        left.enter_context(Prober(lambda: urlopen(address, timeout=PATIENCE_S).read(), SCRAPE_EACH_S))
        return pid
    url, pid = left.enter_context(dashboard(home))
    left.enter_context(look(url, "/live?view=overview"))
    return pid


def _come_to_rest(watching: Iterable[int]) -> None:
    """Wait until these programs do no more than a program has to that watches a system without work."""
    give_up_at = time.monotonic() + _AT_REST_WITHIN_S
    for pid in watching:
        used = 1.0
        while used > _AT_REST and time.monotonic() < give_up_at:
            before = cpu_of(pid)
            time.sleep(_LOOK_S)
            used = (cpu_of(pid) - before) / _LOOK_S


def turn(orchestrator: SagaOrchestrator, way: str, seconds: float) -> Turn:
    """One turn of so many seconds."""
    with ExitStack() as left:
        watching = [_watched(orchestrator.home, how, left) for how in WAYS[way]]
        _come_to_rest(watching)
        system = pids_of(orchestrator)
        before, watched = sum(map(cpu_of, system)), sum(map(cpu_of, watching))
        sample = sample_of(
            lambda: orchestrator.execute(saga_of_three(), timeout_s=PATIENCE_S), _MOST, _AT_ONCE, seconds
        )
        used, watched = sum(map(cpu_of, system)) - before, sum(map(cpu_of, watching)) - watched
    done = len(sample.each_s)
    return Turn(done / sample.total_s, used / done * 1e3, watched / done * 1e3, watched / sample.total_s)


def run(rounds: int, seconds: float) -> None:
    """Measure and print; each turn takes so many seconds."""
    print(f"\n== What watching costs ({conditions()}) ==")
    names = list(WAYS)
    found: dict[str, list[Turn]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, SagaOrchestrator(Path(folder, "home")) as orchestrator:
        turn(orchestrator, names[-1], seconds)  # until everything is warm
        for number in range(rounds):
            first = number % len(names)
            for name in (*names[first:], *names[:first]):
                found[name].append(turn(orchestrator, name, seconds))
    without = found[names[0]]
    for name, turns in found.items():
        ratio = median(one.sagas_s / other.sagas_s for one, other in zip(turns, without, strict=True))
        print(
            f"{name:10}{median(each.sagas_s for each in turns):>6.0f} sagas/s{ratio:>7.3f} of those without"
            f"{median(each.cpu_ms for each in turns):>8.2f} ms CPU of the system each"
            f"{median(each.watching_ms for each in turns):>6.2f} ms and"
            f"{median(each.watching for each in turns) * 100:>5.1f} % of a core to watch",
            flush=True,
        )
    print(f"conditions at the end: {conditions()}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    clean_up_on_sigterm()
    run(given.rounds, given.seconds)


if __name__ == "__main__":
    main()
