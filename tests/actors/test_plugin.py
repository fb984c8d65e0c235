"""The fixture that users get with the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

USERS_TEST = """
import os
import subprocess
import sys
from antistrophe import SagaDefinition
from antistrophe.process import system_environment

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
    run = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=50.0, check=False)
    assert "3 passed, 1 error" in run.stdout, run.stdout
    assert "left processes behind" in run.stdout
