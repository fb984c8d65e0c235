"""What a step process has started is found by its mark and ended, wherever it went; another home is left alone."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe.linux import descendants, process, termination
from antistrophe.linux.process import ProcessIdentity, identity_of
from tests.waiting import until

# Prints the pid of a child that has left its group, its session and its environment behind, and ends.
MARKED = """
import os, subprocess, sys
from antistrophe.linux import descendants, process, termination
descendants.mark_home_descendants(sys.argv[1])
descendants.mark_step_descendants(sys.argv[2])
if len(sys.argv) > 3:  # it opens another home
    descendants.mark_home_descendants(sys.argv[3])
sleeper = [sys.executable, "-S", "-c", "import time; print(0, flush=True); time.sleep(600)"]
child = subprocess.Popen(sleeper, env={}, start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
os._exit(0)
"""


@pytest.fixture(autouse=True)
def _home(tmp_path: Path) -> Iterator[None]:
    """Mark this process as one of the home, like a supervisor; its limits are put back after the test."""
    before = resource.getrlimit(10)
    descendants.mark_home_descendants(tmp_path)
    yield
    resource.setrlimit(10, before)


def orphan(*arguments: str) -> ProcessIdentity:
    """A process whose parent carried these marks and has ended."""
    starter = subprocess.run([sys.executable, "-c", MARKED, *arguments], stdout=subprocess.PIPE, check=True, timeout=30)
    found = identity_of(int(starter.stdout))
    assert found is not None
    return found


def test_what_left_its_group_its_session_and_its_environment_is_ended(tmp_path: Path) -> None:
    name = f"lease-{os.getpid()}-a"
    found = orphan(str(tmp_path), name)
    assert descendants.end_step_descendants(f"{name}b") == [], "of another name"
    assert process.is_alive(found)
    assert descendants.end_step_descendants(name) == [found.pid], "it was there, so nothing is proven yet"
    until(lambda: not descendants.end_step_descendants(name), "the proof")
    assert not process.is_alive(found)


def test_a_system_of_another_home_is_left_alone(tmp_path: Path) -> None:
    name = f"lease-{os.getpid()}-c"
    found = orphan(str(tmp_path), name, str(tmp_path / "other"))
    try:
        assert descendants.end_step_descendants(name) == []
        assert process.is_alive(found)
    finally:
        assert termination.sweep(tmp_path / "other", deadline_s=10) == []
    assert not process.is_alive(found)


def test_a_process_that_may_not_be_marked_goes_on_unmarked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr("resource.setrlimit", refuse)
    descendants.mark_step_descendants("any")
    assert descendants.end_step_descendants("any") == []
