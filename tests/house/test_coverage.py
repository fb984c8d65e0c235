"""The pure wings are covered by the tests that run them in pytest's own process, to the floor in pyproject.toml.

The other wings work in processes that are forked and killed: a number for them would say little.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT, project

COVERAGE = [sys.executable, "-m", "coverage"]
TESTS = ["tests/core", "tests/simulation/test_worlds.py"]
WORLDS = "800"
"""Fewer simulated worlds than usual, for each takes several times as long while it is measured."""


@pytest.mark.timeout(600)  # half a minute of processor time, on a machine that may be busy
def test_what_decides_is_covered(tmp_path: Path) -> None:
    # Not with pytest-cov: our own pytest plugin has imported the package before another plugin can begin to measure.
    environment = {**os.environ, "COVERAGE_FILE": str(tmp_path / "coverage"), "ANTISTROPHE_WORLDS": WORLDS}
    basetemp = f"--basetemp={tmp_path / 'tmp'}"
    # A test takes several times as long while it is measured, and so is given longer than its usual minute.
    inner = ["-m", "pytest", "-q", "-m", "not slow", "--timeout=400", "-p", "no:cacheprovider", basetemp, *TESTS]
    for command in ([*COVERAGE, "run", *inner], [*COVERAGE, "report"]):
        ran = subprocess.run(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_wings_that_are_measured_exist() -> None:
    measured = [Path(pattern).parent for pattern in project()["tool"]["coverage"]["run"]["include"]]
    assert measured
    assert not [folder for folder in measured if not (ROOT / folder / "__init__.py").is_file()]
