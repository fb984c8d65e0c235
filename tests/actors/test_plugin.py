"""The fixtures that users get with the package, by their long and their short names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(180)  # runs pytest, whose tests start systems


def run_users_tests(folder: Path, *options: str) -> str:
    """What a pytest run of the user's tests in the folder prints."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(folder)]
    run = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, timeout=150.0, check=False)
    return run.stdout


USERS_TEST = """
import os
import subprocess
import sys
from antistrophe import SagaDefinition, step
from antistrophe.linux.termination import system_environment

@step(requires_compensation=False)
def speak(ctx):
    ctx.log.info("said by %s", ctx.step_name)

def test_one_that_fails_shows_what_its_steps_said(orchestrator):
    orchestrator.execute(SagaDefinition("one").add_step(speak()))
    assert False

def test_the_first_has_a_home_of_its_own(orchestrator, antistrophe_orchestrator):
    assert orchestrator is antistrophe_orchestrator
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
    said = run_users_tests(tmp_path)
    assert "1 failed, 3 passed, 1 error" in said, said
    assert said.count("one: speak execute 1 INFO: said by speak") == 1
    assert "left processes behind" in said


USERS_PROOFS = """
from user_steps import Forgets, Undoes, look
from antistrophe import SagaDefinition

def test_one_that_is_undone(verify_compensable, tmp_path):
    (tmp_path / "world").mkdir()
    saga = SagaDefinition("good").add_step(Undoes(str(tmp_path / "world")))
    report = verify_compensable(saga, lambda: look(tmp_path / "world"), only="execute/*/kill-after")
    assert report.ok and report.runs

def test_one_that_is_not(antistrophe_verify_compensable, tmp_path):
    (tmp_path / "world").mkdir()
    saga = SagaDefinition("bad").add_step(Forgets(str(tmp_path / "world")))
    antistrophe_verify_compensable(saga, lambda: look(tmp_path / "world"), only="execute/*/kill-after")
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
    said = run_users_tests(tmp_path)
    assert "1 failed, 1 passed" in said, said
    assert "residue" in said
    assert "Forgets" in said


USERS_OWN = """
import pytest

@pytest.fixture
def orchestrator():
    return "the user's own"

@pytest.fixture
def verify_compensable():
    return "the user's own"
"""
USERS_OWN_TEST = """
def test_own(orchestrator, verify_compensable):
    assert orchestrator == verify_compensable == "the user's own"
"""
OFF = ("-o", "antistrophe_short_fixtures=false")


@pytest.mark.parametrize("options", [(), OFF], ids=["on", "off"])
@pytest.mark.parametrize("file", ["conftest.py", "test_own.py"])
def test_a_users_own_fixture_of_a_short_name_wins(file: str, options: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(USERS_OWN_TEST)
    with (tmp_path / file).open("a") as text:
        text.write(USERS_OWN)
    said = run_users_tests(tmp_path, *options)
    assert "1 passed" in said, said


USERS_OWN_PLUGIN_TEST = """
def test_of_another_plugin(orchestrator, verify_compensable):
    assert orchestrator == verify_compensable == "the user's own"

def test_long_name(antistrophe_verify_compensable):
    assert callable(antistrophe_verify_compensable)
"""


def test_without_short_names_those_of_another_plugin_can_not_be_hidden(tmp_path: Path) -> None:
    (tmp_path / "other_plugin.py").write_text(USERS_OWN)
    (tmp_path / "test_own.py").write_text(USERS_OWN_PLUGIN_TEST)
    said = run_users_tests(tmp_path, "-p", "other_plugin", *OFF)
    assert "2 passed" in said, said


@pytest.mark.parametrize("name", ["orchestrator", "verify_compensable"])
def test_short_names_can_be_turned_off(name: str, tmp_path: Path) -> None:
    (tmp_path / "test_short.py").write_text(f"def test_short({name}):\n    pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nantistrophe_short_fixtures = false\n")
    said = run_users_tests(tmp_path)
    assert f"fixture '{name}' not found" in said, said
