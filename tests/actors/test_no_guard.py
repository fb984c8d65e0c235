"""A script, or a module, that opens an orchestrator when it is loaded: whoever waits is told within seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, Settings
from antistrophe.linux.termination import processes_of_home
from tests.waiting import until

STEPS = """
import asyncio, sys, time
from dataclasses import dataclass
from antistrophe import AsyncSagaOrchestrator, SagaDefinition, SagaOrchestrator, SagaStep, Settings

with open("top-levels", "a") as top_levels:
    print(__name__, file=top_levels)

@dataclass(frozen=True)
class Pay(SagaStep):
    def execute(self, ctx): ...
    def compensate(self, ctx): ...

@dataclass(frozen=True)
class PayAsync(SagaStep):
    async def execute(self, ctx): ...
    async def compensate(self, ctx): ...

settings = Settings(drain_s=0.2)
saga = SagaDefinition("saga").add_step(Pay())
"""

CALLS = {
    "execute": "orchestrator.execute(saga)",
    "async step": 'orchestrator.execute(SagaDefinition("saga").add_step(PayAsync()))',
    "result": "orchestrator.start(saga).result()",
    "second result": """handle = orchestrator.start(saga)
    try:
        handle.result()
    except Exception:
        handle.result()""",
    "wait_idle": "orchestrator.start(saga)\n    orchestrator.wait_idle(30.0)",
}
OPEN = """
with SagaOrchestrator("home", settings=settings) as orchestrator:
    {call}
"""
OTHERS = {
    "async orchestrator": """
async def main():
    async with AsyncSagaOrchestrator("home", settings=settings) as orchestrator:
        await orchestrator.execute(saga)

asyncio.run(main())
""",
    "main that exits": """
import argparse

def main():
    options = argparse.ArgumentParser()
    options.add_argument("name")
    options.parse_args()
    with SagaOrchestrator("home", settings=settings) as orchestrator:
        orchestrator.execute(saga)

main()
""",
    "wrapped": """
try:
    with SagaOrchestrator("home", settings=settings) as orchestrator:
        orchestrator.execute(saga)
except Exception as error:
    raise RuntimeError("the shop can't start") from error
""",
}
SCRIPTS = {**{name: OPEN.format(call=call) for name, call in CALLS.items()}, **OTHERS}
GUARD = 'if __name__ == "__main__":'


def started(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "script.py", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=50, check=False)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    ran = started(folder, *arguments)
    assert processes_of_home(folder / "home") == []
    return ran


def waiting(folder: Path) -> str:
    """Why the saga waits, with the script's own code."""
    with SagaOrchestrator(folder / "home", settings=Settings(drain_s=0.2)) as orchestrator:
        handle = orchestrator.handle("saga")
        return str(
            until(lambda: GUARD in (handle.metadata().waiting or "") and handle.metadata().waiting, "the reason")
        )


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_without_a_guard_is_told_within_seconds(tmp_path: Path, name: str) -> None:
    (tmp_path / "script.py").write_text(STEPS + SCRIPTS[name])
    ran = run(tmp_path, "name")
    assert ran.returncode == 1
    assert "SystemStateError" in ran.stderr
    assert GUARD in ran.stderr
    loads = (tmp_path / "top-levels").read_text().split()
    assert loads[0] == "__main__"
    assert len(loads) <= 3, "its top level does not run again and again"
    assert GUARD in waiting(tmp_path)


def test_what_was_accepted_goes_on_when_the_script_has_a_guard(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(STEPS + SCRIPTS["execute"])
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.2)) as orchestrator:
        without = subprocess.run(
            [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert "SystemStateError" in without.stderr
        handle = orchestrator.handle("saga")
        assert GUARD in str(handle.metadata().waiting)
        script = STEPS + GUARD + SCRIPTS["execute"].replace("\n", "\n    ")
        (tmp_path / "script.py").write_text(script)
        run_again = subprocess.run(
            [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert run_again.returncode == 0, run_again.stderr
        assert handle.result(30.0) == []


def test_a_module_that_opens_one_at_its_import_is_told_too(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(STEPS + '\norchestrator = SagaOrchestrator("home", settings=settings)\n')
    (tmp_path / "script.py").write_text(
        "import shop\nwith shop.orchestrator:\n    shop.orchestrator.execute(shop.saga)\n"
    )
    ran = run(tmp_path)
    assert ran.returncode == 1
    assert "SystemStateError" in ran.stderr
    assert "the import of module shop opens an orchestrator" in ran.stderr


def test_the_reason_of_an_import_that_fails_is_there_at_once(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        STEPS
        + f"""
if __name__ != "__main__":
    raise ImportError("no driver")
{GUARD}
    with SagaOrchestrator("home", settings=settings) as orchestrator:
        handle, until = orchestrator.start(saga), time.monotonic() + 20
        while "no driver" not in (handle.metadata().waiting or "") and time.monotonic() < until:
            time.sleep(0.01)
        print(handle.metadata().waiting)
"""
    )
    ran = run(tmp_path)
    assert "can't be loaded: ImportError: no driver" in ran.stdout, ran.stderr
