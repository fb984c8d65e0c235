"""The fixture that users get with the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(180)  # runs pytest, whose tests start systems

USERS_TEST = """
import os
import subprocess
import sys
from antistrophe import SagaDefinition
from antistrophe.linux.termination import system_environment

def test_the_first_has_a_home_of_its_own(orchestrator):
    orchestrator.execute(SagaDefinition("one"))
    assert orchestrator.history_count() == 1

def test_the_second_too(orchestrator):
    assert orchestrator.history_count() == 0

def test_one_that_hides_a_process_of_the_system(orchestrator):
    orchestrator.close()
    environment = system_environment(orchestrator.home, os.environ)
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment)
"""


def test_a_users_tests_get_an_orchestrator_each_and_are_told_of_processes_that_are_left(tmp_path: Path) -> None:
    (tmp_path / "test_user.py").write_text(USERS_TEST)
    arguments = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(tmp_path)]
    run = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=150.0, check=False)
    assert "3 passed, 1 error" in run.stdout, run.stdout
    assert "left processes behind" in run.stdout


USERS_PROOFS = """
from user_steps import Forgets, Undoes, look
from antistrophe import SagaDefinition

def test_one_that_is_undone(verify_compensable, tmp_path):
    (tmp_path / "world").mkdir()
    saga = SagaDefinition("good").add_step(Undoes(str(tmp_path / "world")))
    report = verify_compensable(saga, lambda: look(tmp_path / "world"), only="execute/*/kill-after")
    assert report.ok and report.runs

def test_one_that_is_not(verify_compensable, tmp_path):
    (tmp_path / "world").mkdir()
    saga = SagaDefinition("bad").add_step(Forgets(str(tmp_path / "world")))
    verify_compensable(saga, lambda: look(tmp_path / "world"), only="execute/*/kill-after")
"""

USERS_STEPS = """
from dataclasses import dataclass
from pathlib import Path
from antistrophe import SagaStep

def look(folder):
    return sorted(path.name for path in folder.iterdir())

@dataclass(frozen=True)
class Undoes(SagaStep):
    folder: str

    def execute(self, ctx):
        (Path(self.folder) / ctx.idempotency_key.replace("/", "-")).touch()

    def compensate(self, ctx):
        (Path(self.folder) / ctx.forward_key.replace("/", "-")).unlink(missing_ok=True)

@dataclass(frozen=True)
class Forgets(Undoes):
    def compensate(self, ctx):
        pass
"""


def test_a_users_test_fails_with_the_report_of_a_saga_that_can_not_be_undone(tmp_path: Path) -> None:
    (tmp_path / "user_steps.py").write_text(USERS_STEPS)
    (tmp_path / "test_proofs.py").write_text(USERS_PROOFS)
    arguments = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(tmp_path)]
    run = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=150.0, check=False)
    assert "1 failed, 1 passed" in run.stdout, run.stdout
    assert "residue" in run.stdout
    assert "Forgets" in run.stdout
