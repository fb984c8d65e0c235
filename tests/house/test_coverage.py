"""The pure wings are covered by the tests that run them in pytest's own process, to the floor in pyproject.toml.

The other wings work in processes that are forked and killed: a number for them would say little.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT, project

COVERAGE = [sys.executable, "-m", "coverage"]
WORLDS = "800"
"""Fewer simulated worlds than usual, and fewer examples: each takes several times as long while it is measured."""


@pytest.mark.timeout(600)  # half a minute of processor time, on a machine that may be busy
def test_what_decides_is_covered(tmp_path: Path) -> None:
    # Not with pytest-cov: our own pytest plugin has imported the package before another plugin can begin to measure.
    environment = {**os.environ, "COVERAGE_FILE": str(tmp_path / "coverage"), "ANTISTROPHE_WORLDS": WORLDS}
    basetemp = f"--basetemp={tmp_path / 'tmp'}"
    # A test takes several times as long while it is measured, and so is given longer than its usual minute.
    inner = ["-m", "pytest", "-q", "-m", "not slow", "--timeout=400", "-p", "no:cacheprovider", basetemp]
    inner += ["--hypothesis-profile=measured", *files_that_test(measured_wings()), "tests/simulation/test_worlds.py"]
    for command in ([*COVERAGE, "run", *inner], [*COVERAGE, "report"]):
        ran = subprocess.run(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_wings_that_are_measured_exist() -> None:
    assert measured_wings()
    assert not [folder for folder in measured_wings() if not (ROOT / folder / "__init__.py").is_file()]


def measured_wings() -> list[Path]:
    return [Path(pattern).parent for pattern in project()["tool"]["coverage"]["run"]["include"]]


def files_that_test(wings: list[Path]) -> list[str]:
    """The files of tests/core that import from one of these wings, themselves or by what they share: a test of another
    wing would cost its time and add no line."""
    names = "|".join([*(rf"antistrophe\.{wing.name}" for wing in wings), "saga_kit", "steps_inline"])
    files = sorted((ROOT / "tests" / "core").glob("test_*.py"))
    return [str(path) for path in files if re.search(rf"\b({names})\b", path.read_text("utf-8"))]
