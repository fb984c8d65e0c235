"""Runs the README's first example with what an environment has installed: ``python -m tests.house.wheel PYTHON``.

It runs in an empty folder, and has to say what the README says. This needs nothing but the standard library, so that a
workflow can call it beside a wheel that was just built.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.house.pages import agrees, blocks_of

README = Path(__file__).resolve().parents[2] / "README.md"
LIMIT_S = 120.0
WHERE = "import pathlib, sys, antistrophe; print(pathlib.Path(antistrophe.__file__).is_relative_to(sys.prefix))"


def first_example() -> tuple[str, str, str]:
    """The name of the first example's file, what is in it, and what it has to print."""
    blocks = list(blocks_of(README.read_text("utf-8")))
    number = next(number for number, block in enumerate(blocks) if block.language == "python")
    return blocks[number].option("file") or "example.py", blocks[number].text, blocks[number + 1].text


def try_out(python: Path, folder: Path) -> None:
    """Raises AssertionError where the example does not run there, or says something else."""
    name, code, expected = first_example()
    (folder / name).write_text(code, "utf-8")
    assert _said(folder, python, "-c", WHERE).strip() == "True", f"{python} does not have antistrophe installed"
    said = _said(folder, python, "-W", "error", name)
    assert agrees(expected, said), said
    explained = _said(folder, python.with_name("antistrophe"), "explain", "alice-to-nobody")
    assert "no account 'nobody'" in explained, explained


def _said(folder: Path, *command: str | Path) -> str:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ANTISTROPHE_HOME"))
    }
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert ended.returncode == 0, ended
    return ended.stdout


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="try-") as empty:
        try_out(Path(sys.argv[1]).absolute(), Path(empty))
