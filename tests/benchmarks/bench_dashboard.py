"""What the dashboard costs: lists of a long history, and many who look. `bench_sight` has what it costs the sagas.

Usage: python -m tests.benchmarks.bench_dashboard [--finished N] [--viewers N]

The dashboard runs as its own process, as `antistrophe dashboard` does; its CPU time is what the kernel says. The
machine may have other work, so times of answers say less than CPU times do.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

from antistrophe import SagaOrchestrator
from tests.benchmarks.filled_journal import NAMES, fill, saga_id
from tests.benchmarks.measuring import clean_up_on_sigterm, conditions, cpu_of, median, percentile
from tests.benchmarks.steps_of_benchmarks import saga_of_three

_ASKED = 60
_LOOK_S = 10.0
_FILL_S = 900.0
_PATIENCE_S = 120.0


@contextlib.contextmanager
def dashboard(home: Path) -> Iterator[tuple[str, int]]:
    """The dashboard of a home: its address without a slash at the end, and its pid."""
    command = [sys.executable, "-m", "antistrophe", "--home", str(home), "--json", "dashboard", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        try:
            yield json.loads(program.stdout.readline())["url"].rstrip("/"), program.pid
        finally:
            program.terminate()


def lists(sagas: int) -> None:
    """Pages of a home with so many finished sagas: the list and each filter that an index answers."""
    print(f"\n== Pages of {sagas:,} finished sagas ({conditions()}) ==")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        home = Path(folder, "home")
        print(f"{fill(home, sagas, _FILL_S):,} were written", flush=True)
        paths = {
            "overview": "/",
            "newest": "/sagas",
            "of a status": "/sagas?status=completed",
            "of a rare status": "/sagas?status=failed",
            "of a name": f"/sagas?name={NAMES[0]}",
            "deep in": f"/sagas?cursor=before-{sagas * 4}",
            "older than": "/sagas?older=1s",
            "in doubt": "/sagas?doubt=1",
            "waiting": "/sagas?waiting=1",
            "a text of few": f"/sagas?text={saga_id(sagas // 2)[-6:]}",
            "a step of none": "/sagas?step=NoSuchStep",
            "one saga": f"/sagas/{saga_id(sagas // 2)}",
        }
        with dashboard(home) as (url, pid):
            urlopen(f"{url}/", timeout=_PATIENCE_S).read()  # what was counted once is not counted again
            for name, path in paths.items():
                _ask(name, url + path, pid)


def _ask(name: str, url: str, pid: int) -> None:
    taken: list[float] = []
    before = cpu_of(pid)
    for _ in range(_ASKED):
        begun = time.perf_counter()
        with urlopen(url, timeout=_PATIENCE_S) as answer:
            answer.read()
        taken.append((time.perf_counter() - begun) * 1e3)
    cpu_ms = (cpu_of(pid) - before) / _ASKED * 1e3
    print(
        f"{name:<20} p50 {median(taken):>7.1f} ms  p99 {percentile(taken, 99):>7.1f} ms  CPU {cpu_ms:>6.1f} ms",
        flush=True,
    )


def look(url: str, path: str) -> socket.socket:
    """Follow a live page, as a browser does."""
    place = urlsplit(url)
    connection = socket.create_connection((place.hostname or "", place.port or 0), timeout=_PATIENCE_S)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
    connection.recv(1 << 16)
    return connection


def _cpu_share(pid: int) -> float:
    begun, before = time.perf_counter(), cpu_of(pid)
    while time.perf_counter() - begun < _LOOK_S:
        time.sleep(0.1)
    return (cpu_of(pid) - before) / (time.perf_counter() - begun) * 100


def viewers(number: int) -> None:
    """The share of a core that the dashboard takes while so many look at it, of a home at rest and at work."""
    print(f"\n== {number} viewers ({conditions()}) ==")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.ExitStack() as left:
        home = Path(folder, "home")
        orchestrator = left.enter_context(SagaOrchestrator(home))
        orchestrator.execute(saga_of_three(), timeout_s=_PATIENCE_S)
        url, pid = left.enter_context(dashboard(home))
        for looking in (1, number):
            with contextlib.ExitStack() as looks:
                for _ in range(looking):
                    looks.enter_context(look(url, "/live?view=overview"))
                _cpu_share(pid)  # until everybody has got the page
                rests = _cpu_share(pid)
                ends = time.monotonic() + _LOOK_S
                begun, before = time.perf_counter(), cpu_of(pid)
                while time.monotonic() < ends:
                    orchestrator.execute(saga_of_three(), timeout_s=_PATIENCE_S)
                works = (cpu_of(pid) - before) / (time.perf_counter() - begun) * 100
            print(
                f"{looking:>5} look at it: {rests:5.1f} % of a core at rest, {works:5.1f} % while sagas run", flush=True
            )


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--finished", type=int, default=20_000)
    parser.add_argument("--viewers", type=int, default=200)
    asked = parser.parse_args()
    clean_up_on_sigterm()
    os.environ.pop("ANTISTROPHE_HOME", None)
    lists(asked.finished)
    viewers(asked.viewers)


if __name__ == "__main__":
    main()
