"""What a step process has started is found by its mark and ended, wherever it went; another home is left alone."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe.linux import control_groups, descendants, process, termination
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


# Forks again and again, and each process ends at once. Each writes when it was there.
CHAIN = """
import os, sys, time
from antistrophe.linux import descendants
descendants.mark_home_descendants(sys.argv[1])
descendants.mark_step_descendants(sys.argv[2])
while True:
    with open(sys.argv[3], "a") as file:
        file.write(f"{time.monotonic()}\\n")
    if os.fork():
        os._exit(0)
"""


@pytest.mark.parametrize("way", ["its step process", "its home"])
def test_a_chain_of_forks_does_not_outrun_its_end(tmp_path: Path, way: str) -> None:
    name, beats = f"lease-{os.getpid()}-{way[-4:]}", tmp_path / "beats"

    def end() -> list[int]:
        if way == "its home":
            return descendants.end_home_descendants(descendants.home_mark(tmp_path), ())
        return descendants.end_step_descendants(name)

    starter = [sys.executable, "-c", CHAIN, str(tmp_path), name, str(beats)]
    subprocess.run(starter, start_new_session=True, check=True, timeout=30)
    until(lambda: beats.exists() and beats.read_text().count("\n") > 20, "the chain")
    until(lambda: not end(), "the proof")
    ended = time.monotonic()
    until(lambda: time.monotonic() - ended > 0.3, "a while")
    assert float(beats.read_text().split()[-1]) < ended


def test_a_kernel_without_control_groups_that_can_be_ended_makes_none(tmp_path: Path) -> None:
    assert control_groups.make_group(tmp_path, 1, "a") == ""
    assert list(tmp_path.iterdir()) == []
    assert control_groups.make_group(tmp_path / "missing", 1, "a") == ""


@pytest.mark.skipif(control_groups.group_folder() is None, reason="this machine delegates no control group")
def test_a_control_group_ends_at_once_with_all_that_is_in_it() -> None:
    folder = control_groups.group_folder()
    assert folder is not None
    group = control_groups.make_group(folder, os.getpid(), "test")
    enter = "import sys, time; from antistrophe.linux.control_groups import *; enter_group(sys.argv[1])"
    starter = [sys.executable, "-c", f"{enter}; print(1, flush=True); time.sleep(600)", group]
    with subprocess.Popen(starter, stdout=subprocess.PIPE) as member:
        assert member.stdout is not None
        assert member.stdout.readline() == b"1\n"
        assert not control_groups.is_empty(group)
        control_groups.end_groups(os.getpid())
        member.wait()
    until(lambda: control_groups.is_empty(group), "the kernel to notice")
    control_groups.end_groups(os.getpid())
    assert not Path(group).exists()


def test_the_fence_is_told_in_words() -> None:
    told = {
        control_groups.fence_in_words(folder, marks=marks) for folder in (None, Path("/x")) for marks in (True, False)
    }
    assert len(told) == 4
