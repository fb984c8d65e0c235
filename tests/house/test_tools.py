"""The checkers of the project, run as its tests: rules, format, types and floors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

PYTHON = sys.executable


@pytest.mark.timeout(300)  # types are checked from nothing on a fresh clone
@pytest.mark.parametrize(
    "command",
    [
        [PYTHON, "-m", "ruff", "check", "--no-fix", "."],
        [PYTHON, "-m", "ruff", "format", "--check", "."],
        [PYTHON, "-m", "mypy"],
        [str(Path(PYTHON).with_name("lint-imports")), "--no-cache"],
    ],
    ids=["rules", "format", "types", "floors"],
)
def test_the_checker_is_content(command: list[str]) -> None:
    ran = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
