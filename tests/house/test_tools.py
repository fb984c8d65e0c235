"""The checkers of the project, run as its tests: rules, format and floors. `test_typing` runs those of types."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT

PYTHON = sys.executable


@pytest.mark.parametrize(
    "command",
    [
        [PYTHON, "-m", "ruff", "check", "--no-fix", "."],
        [PYTHON, "-m", "ruff", "format", "--check", "."],
        [str(Path(PYTHON).with_name("lint-imports")), "--no-cache"],
    ],
    ids=["rules", "format", "floors"],
)
def test_the_checker_is_content(command: list[str]) -> None:
    ran = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
