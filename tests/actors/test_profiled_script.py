"""A script that a profiler or a tracer runs works as one that runs by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from __future__ import annotations
import os
from dataclasses import dataclass
from antistrophe import SagaDefinition, SagaOrchestrator, SagaStep, event

@event
@dataclass(frozen=True)
class Paid:
    amount: Amount

@dataclass(frozen=True)
class Amount:
    euros: int

@dataclass(frozen=True)
class Pay(SagaStep):
    amount: Amount

    def execute(self, ctx): return [Paid(self.amount)]
    def compensate(self, ctx): return []

if __name__ == "__main__":
    with SagaOrchestrator("home") as orchestrator:
        print(orchestrator.execute(SagaDefinition("p").add_step(Pay(Amount(5))), timeout_s=50))
"""


RUNNERS = {"cProfile": ["cProfile", "-o", "out"], "trace": ["trace", "--count", "--coverdir=cover"]}


@pytest.mark.parametrize("runner", RUNNERS.values(), ids=RUNNERS)
def test_a_saga_of_a_script_that_is_profiled_completes(tmp_path: Path, runner: list[str]) -> None:
    (tmp_path / "pay.py").write_text(SCRIPT)
    ended = subprocess.run(
        [sys.executable, "-m", *runner, "pay.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "[Paid(amount=Amount(euros=5))]" in ended.stdout
