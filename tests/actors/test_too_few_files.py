"""Limits of open files that are too low to work with: one refusal when an orchestrator is opened, with the number."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from antistrophe import Settings
from antistrophe.client.opening import FILES_NEEDED
from antistrophe.launcher.files_needed import files_needed
from antistrophe.linux.termination import processes_of_home
from tests.actors import steps

PROGRAM = """
import sys
from antistrophe import SagaOrchestrator, SagaDefinition, Settings
from tests.actors.steps import Note

try:
    with SagaOrchestrator(sys.argv[1], settings=Settings(max_step_processes=4, drain_s=0.5)) as orchestrator:
        for number in range(20):
            orchestrator.start(SagaDefinition(f"saga-{number}").add_step(Note("a")))
        orchestrator.wait_idle(60.0)
        print(orchestrator.history_count(), orchestrator.event_store.head())
except Exception as error:
    print(type(error).__name__, error)
"""


def run(home: Path, limit: str) -> str:
    """What the program prints where this limit of open files holds, as bash's ``ulimit`` takes it."""
    command = ["bash", "-c", f'ulimit {limit} || exit 9; exec "$@"', "bash", sys.executable, "-c", PROGRAM, str(home)]
    folder = Path(steps.__file__).parents[2]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100.0, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize("limit", ["-n 14", "-n 18", "-n 24", "-n 32", "-Sn 32", "-n 48", "-n 70"])
def test_a_limit_that_is_too_low_is_refused_with_the_number_that_is_needed(tmp_path: Path, limit: str) -> None:
    said = run(tmp_path / "home", limit)
    assert said.startswith("SystemUnavailableError "), said
    allowed = int(limit.split()[1])
    assert f" {allowed} " in said
    found = re.search(r"at least (\d+)|needs (\d+) open files for each", said)
    assert found is not None, said
    assert allowed < int(found[1] or found[2]) <= files_needed(Settings())
    assert "ulimit -n" in said
    assert processes_of_home(tmp_path / "home") == []


@pytest.mark.parametrize("kind", ["-n", "-Sn"])
def test_the_number_that_is_said_is_enough(tmp_path: Path, kind: str) -> None:
    needed = files_needed(Settings(max_step_processes=4))
    assert needed > FILES_NEEDED
    assert run(tmp_path / "home", f"{kind} {needed}") == "20 20"
