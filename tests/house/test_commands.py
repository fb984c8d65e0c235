"""The two commands of the README, and that .ci/run is the second of them, for the interpreter that PYTHON names."""

from __future__ import annotations

import os
import subprocess

from tests.house.pages import blocks_of, commands_of
from tests.house.tree import ROOT

CI = ROOT / ".ci" / "run"
FROM_NOTHING = "python3 -m venv .venv && .venv/bin/pip install -q -e "


def readme_commands() -> list[str]:
    blocks = blocks_of((ROOT / "README.md").read_text("utf-8"))
    commands = [line for block in blocks if block.language == "console" for line in commands_of(block)]
    return [command for command in commands if command.startswith(FROM_NOTHING)]


def test_two_commands_start_from_a_fresh_clone() -> None:
    first, second = readme_commands()
    assert "/antistrophe run " in first
    assert second.endswith(" && .venv/bin/python -m pytest -n 4 --dist loadfile")


def test_ci_runs_the_test_command_of_the_readme() -> None:
    lines = CI.read_text("utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert lines[-1] == readme_commands()[1].replace("python3", '"${PYTHON:-python3}"', 1)
    assert sum("pytest" in line for line in lines) == 1


def test_ci_can_be_run_and_is_a_script_that_bash_reads() -> None:
    assert os.access(CI, os.X_OK)
    subprocess.run(["bash", "-n", str(CI)], check=True)


def test_git_ignores_what_the_commands_make() -> None:
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert {".venv/", ".antistrophe/", "*.egg-info/"} <= set(ignored)
