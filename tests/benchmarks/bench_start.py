"""What starting costs, in time and in memory: the import, opening, attaching again, closing, and fresh processes.

Usage: python -m tests.benchmarks.bench_start [--rounds N] [--beside CHECKOUT]

``--beside`` measures another checkout, which has a ``.venv`` of its own, in turns with this one. CPU counts the
application and the system's processes; on a busy machine it says more than the time does. Memory is PSS: a page that
several processes share counts once, in parts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Figures = dict[str, float]
"""Figures of one round, by their name in the table."""

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from antistrophe import SagaOrchestrator
from tests.benchmarks.steps_of_benchmarks import AnsweredAt, saga_of
orchestrator = SagaOrchestrator(sys.argv[1])
saga_id = orchestrator.start(saga_of(AnsweredAt(time.time() + 60.0))).id
while orchestrator.get_saga(saga_id).steps[0].status != "running":
    time.sleep(0.01)
print(saga_id, flush=True)
sys.stdin.read()
"""
FRESH_SAGAS = 40
AT_ONCE = 16
SAGAS_OF_THREE = 200
_ROUND_LIMIT_S = 180.0
_SETTLED_S = 10.0
_BYTECODE = "PYTHONDONTWRITEBYTECODE"  # with it, every import would compile its modules


def cpu_ms(pids: Iterable[int]) -> float:
    """CPU milliseconds of these processes, the threads that have ended excluded; one that is gone counts nothing."""
    total = 0
    for pid in pids:
        try:
            total += sum(int(file.read_text().split()[0]) for file in Path(f"/proc/{pid}/task").glob("*/schedstat"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / 1e6


def _imported() -> Figures:
    began, cpu = time.perf_counter(), time.process_time()
    import antistrophe  # noqa: F401 - what is measured

    return {
        "import, ms": (time.perf_counter() - began) * 1000,
        "import, CPU ms": (time.process_time() - cpu) * 1000,
        "import, modules": len(sys.modules),
    }


def _opened(home: Path, figures: Figures, name: str) -> Any:
    from antistrophe import SagaOrchestrator

    began, cpu = time.perf_counter(), time.process_time()
    orchestrator = SagaOrchestrator(home)
    figures[f"{name}, ms"] = (time.perf_counter() - began) * 1000
    figures[f"{name}, CPU ms of the application"] = (time.process_time() - cpu) * 1000
    return orchestrator


def _memory(orchestrator: Any, figures: Figures, when: str) -> None:
    from tests.benchmarks.measuring import pss_of

    roles = {process.pid: process.role for process in orchestrator.processes()}
    by_role: dict[str, float] = defaultdict(float)
    for pid, role in roles.items():
        by_role["step or idle" if role in ("step", "idle") else role] += pss_of([pid])
    figures[f"{when}, processes"] = len(roles)
    figures[f"{when}, MiB"] = sum(by_role.values())
    figures |= {f"{when}, MiB: {role}": mib for role, mib in sorted(by_role.items())}


def _settle(orchestrator: Any) -> None:
    """Wait until no process of the system works any more."""
    deadline = time.monotonic() + _SETTLED_S
    before = -1.0
    while time.monotonic() < deadline:
        now = cpu_ms({process.pid for process in orchestrator.processes()})
        if now - before < 5.0:
            return
        before = now
        time.sleep(0.2)


def _again(home: Path, figures: Figures, *, running: bool) -> None:
    """Attach to the home right after the application that held it was killed, while its saga runs or without one."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None, "a pipe was asked for"
        saga_id = holder.stdout.readline().decode().strip()
        if not running:
            _end(home, saga_id)
        holder.kill()
        holder.wait()
        orchestrator = _opened(home, figures, "attach again, a saga runs" if running else "attach again, all idle")
    if running:
        _end(home, saga_id)
    orchestrator.close()


def _end(home: Path, saga_id: str) -> None:
    from antistrophe import SagaCancelledError, SagaOrchestrator

    with SagaOrchestrator(home) as orchestrator, contextlib.suppress(SagaCancelledError):
        handle = orchestrator.handle(saga_id)
        handle.cancel()
        handle.result()


def _sagas(orchestrator: Any, figures: Figures) -> None:
    from tests.benchmarks.measuring import median, sample_of
    from tests.benchmarks.steps_of_benchmarks import Fresh, saga_of, saga_of_three

    orchestrator.execute(saga_of(Fresh()))
    before = _system_cpu(orchestrator)
    fresh = sample_of(lambda: orchestrator.execute(saga_of(Fresh())), FRESH_SAGAS, 1, 60.0)
    figures["fresh process, ms"] = median(fresh.each_s) * 1000
    figures["fresh process, CPU ms of what stays"] = (_system_cpu(orchestrator) - before) / len(fresh.each_s)
    three = sample_of(lambda: orchestrator.execute(saga_of_three()), SAGAS_OF_THREE, AT_ONCE, 60.0)
    figures[f"sagas a second at {AT_ONCE}"] = len(three.each_s) / three.total_s
    _memory(orchestrator, figures, f"after {AT_ONCE} at once")


def _system_cpu(orchestrator: Any) -> float:
    return cpu_ms({each.pid for each in orchestrator.processes() if each.role not in ("step", "idle")})


def one_round() -> Figures:
    """Measure everything once, in this process."""
    figures = _imported()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        orchestrator = _opened(home, figures, "open")
        figures["open, CPU ms of the system"] = cpu_ms({process.pid for process in orchestrator.processes()})
        _settle(orchestrator)
        _memory(orchestrator, figures, "idle")
        _sagas(orchestrator, figures)
        began = time.perf_counter()
        orchestrator.close()
        figures["close, ms"] = (time.perf_counter() - began) * 1000
        _again(home, figures, running=True)
        _again(home, figures, running=False)
    return figures


def _measured(checkout: Path, python: Path) -> Figures:
    """One round in a process of its own, of that checkout."""
    environment = {name: value for name, value in os.environ.items() if name != _BYTECODE}
    command = [str(python), str(Path(__file__).resolve()), "--one"]
    environment["PYTHONPATH"] = str(checkout)
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, timeout=_ROUND_LIMIT_S)
    figures: Figures = json.loads(done.stdout)
    return figures


def _print(columns: dict[str, list[Figures]], of: Callable[[Iterable[float]], float]) -> None:
    names = dict.fromkeys(name for rounds in columns.values() for each in rounds for name in each)
    print(f"  {'median':42}" + "".join(f"{column:>16}" for column in columns))
    for name in names:
        values = [of(each[name] for each in rounds if name in each) for rounds in columns.values()]
        print(f"  {name:42}" + "".join(f"{value:16.1f}" for value in values))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        json.dump(one_round(), sys.stdout)
        return
    from tests.benchmarks.measuring import conditions, median

    pythons = {"this": (ROOT, Path(sys.executable))}
    if given.beside is not None:
        pythons["beside it"] = (given.beside.resolve(), given.beside.resolve() / ".venv" / "bin" / "python")
    columns: dict[str, list[Figures]] = {column: [] for column in pythons}
    print(f"\n== Starting ({conditions()}) ==", flush=True)
    for _ in range(1 + given.rounds):  # the first round compiles the modules, and does not count
        for column, (checkout, python) in pythons.items():
            columns[column].append(_measured(checkout, python))
    _print({column: rounds[1:] for column, rounds in columns.items()}, median)


if __name__ == "__main__":
    main()
