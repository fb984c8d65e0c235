"""What holds for every test is itself checked: a process left behind fails a run, and a seed repeats it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import leaks
from tests.house.tree import ROOT

pytestmark = pytest.mark.timeout(180)  # starts many processes, on a machine that may be busy

# Each in a session of its own: it is no child of pytest's once the shell that started it has gone.
SHELL = "['sh', '-c', 'setsid sleep 300 >/dev/null 2>&1 &']"
PATH = "'PATH': os.environ['PATH']"
LEAKS = {
    "a program": f"subprocess.run({SHELL})",
    "a process of a home": f"subprocess.run({SHELL}, env={{{PATH}, 'ANTISTROPHE_HOME': str(tmp_path)}})",
    # The test ends once the other program runs, which closes the pipe: before that it would be one more pytest.
    "a fork": "reads, writes = os.pipe(); os.fork() or os.execve('/bin/sleep', ['sleep', '300'], {});"
    " os.close(writes); os.read(reads, 1); os.close(reads)",
}


def run_inner(folder: Path, body: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A pytest run of its own, with the conftest of these tests, over two tests: the first does ``body``."""
    test = folder / "test_inner.py"
    test.write_text(
        "import os, subprocess\nfrom hypothesis import given, strategies as st\n\n"
        f"def test_leaks(tmp_path):\n    {body}\n\n"
        "def test_after():\n    pass\n",
        "utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml")]
    command += ["--rootdir", str(folder), "-p", "no:cacheprovider", f"--basetemp={folder / 'tmp'}", str(test), *options]
    return subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ANTISTROPHE_TEST_GRACE_S": "0.2"},
    )


@pytest.mark.parametrize("body", LEAKS.values(), ids=LEAKS.keys())
def test_a_run_that_leaves_a_process_behind_fails_and_ends_it(
    tmp_path: Path, body: str, lasting_processes: set[int]
) -> None:
    ran = run_inner(tmp_path, body)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "2 passed, 1 error" in ran.stdout
    assert "1 process(es) left behind, 0 of them can't be ended" in ran.stdout
    assert "sleep 300" in ran.stdout
    assert leaks.leftovers((tmp_path / "tmp").resolve(), lasting_processes) == []


def test_a_run_that_leaves_nothing_behind_passes_and_tells_its_seed(tmp_path: Path) -> None:
    ran = run_inner(tmp_path, "subprocess.run(['true'])")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "repeat with --hypothesis-seed=" in ran.stdout


@pytest.mark.timeout(240)  # runs pytest three times
def test_a_seed_repeats_a_run(tmp_path: Path) -> None:
    drawn = tmp_path / "drawn"
    body = f"""
    @given(st.integers())
    def draw(number):
        print(number, file=file)

    with open({str(drawn)!r}, "w") as file:
        draw()
"""
    first = run_inner(tmp_path, body)
    found = re.search(r"--hypothesis-seed=\d+", first.stdout)
    assert first.returncode == 0
    assert found
    numbers = drawn.read_text("utf-8").split()
    assert len(numbers) >= 100
    run_inner(tmp_path, body, found[0])
    assert drawn.read_text("utf-8").split() == numbers
    run_inner(tmp_path, body, "--hypothesis-seed=1")
    assert drawn.read_text("utf-8").split() != numbers


def test_a_pid_that_came_back_as_another_process_is_left_alone() -> None:
    other = subprocess.Popen(["sleep", "300"])
    try:
        leaks.end(leaks.Leftover(other.pid, start_ticks=1, command="", home=None))
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
