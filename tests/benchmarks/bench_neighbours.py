"""The sagas of others while a neighbour hangs, crashes, eats memory or floods, beside undisturbed ones, in turns.

Usage: python -m tests.benchmarks.bench_neighbours [--rounds N] [--limit SECONDS]

The neighbour's step class and sagas have a limit of two at once, as the how-to on isolation advises.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from antistrophe import OverloadedError, SagaError, SagaOrchestrator, SagaStep, Settings
from tests.benchmarks.measuring import clean_up_on_sigterm, conditions, percentile, sample_of
from tests.benchmarks.steps_of_benchmarks import saga_of, saga_of_three
from tests.benchmarks.steps_of_neighbours import AT_ONCE_OF_A_NEIGHBOUR, Crashing, Eating, Flooding, Hanging

PATIENCE_S = 60.0
_SAGAS, _AT_ONCE = 100, 2
_FLOODERS = 4
_KINDS: dict[str, Callable[[], SagaStep]] = {
    "hangs, is killed": Hanging,
    "crashes": Crashing,
    "eats memory": Eating,
    "floods": Flooding,
}


@contextlib.contextmanager
def neighbour(orchestrator: SagaOrchestrator, step: Callable[[], SagaStep]) -> Iterator[list[int]]:
    """Sagas of that step all the time, as many as it takes; the list gets a number for each that has ended."""
    over, ended = threading.Event(), list[int]()

    def go_on() -> None:
        while not over.is_set():
            with contextlib.suppress(SagaError, OverloadedError):
                orchestrator.execute(saga_of(step(), AT_ONCE_OF_A_NEIGHBOUR), timeout_s=PATIENCE_S)
            ended.append(1)

    with ThreadPoolExecutor(_FLOODERS) as threads:
        running = [threads.submit(go_on) for _ in range(_FLOODERS)]
        try:
            yield ended
        finally:
            over.set()
    for each in running:
        each.result()


def run(rounds: int, limit_s: float) -> None:
    """Measure every kind and print; no turn begins a saga after ``limit_s`` seconds."""
    print(f"\n== A bad neighbour ({conditions()}) ==")
    print(
        f"{'it':22}{'its sagas':>10}{'p50 ms':>9}{'p99 ms':>9}{'alone: p50':>12}{'p99':>9}{'ratio p50':>11}{'p99':>8}"
    )
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        SagaOrchestrator(Path(folder, "home"), settings=Settings(drain_s=0.5)) as orchestrator,
    ):

        def others() -> list[float]:
            execute = orchestrator.execute
            return sample_of(lambda: execute(saga_of_three(), timeout_s=PATIENCE_S), _SAGAS, _AT_ONCE, limit_s).each_s

        others()
        for kind, step in _KINDS.items():
            alone: list[float] = []
            beside: list[float] = []
            count = 0
            for _ in range(rounds):
                alone += others()
                with neighbour(orchestrator, step) as ended:
                    beside += others()
                count += len(ended)
            figures = [percentile(each, part) * 1e3 for each in (beside, alone) for part in (50, 99)]
            ratios = f"{figures[0] / figures[2]:>10.2f}x{figures[1] / figures[3]:>7.2f}x"
            cells = "".join(f"{value:>{width}.2f}" for value, width in zip(figures, (9, 9, 12, 9), strict=True))
            print(f"{kind:22}{count:>10,}{cells}{ratios}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=5.0)
    given = parser.parse_args()
    clean_up_on_sigterm()
    run(given.rounds, given.limit)


if __name__ == "__main__":
    main()
