"""The examples: each runs as a reader would run it, and says what the page says. They share one actor system."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator
from tests.house.pages import agrees, blocks_of
from tests.house.tree import ROOT

FOLDER = ROOT / "docs" / "examples"
SHOWN = {
    word.removeprefix("output-of-"): block.text
    for block in blocks_of((FOLDER / "README.md").read_text("utf-8"))
    for word in block.words
    if word.startswith("output-of-")
}
LINES = 80


@pytest.fixture(scope="module")
def home(shared_home: Path) -> Iterator[Path]:
    """The home of a system that runs for all of them."""
    with SagaOrchestrator(shared_home):
        yield shared_home


def run(name: str, folder: Path, home: Path) -> str:
    """`python NAME.py` in that folder, to its end."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / f"{name}.py")],
        cwd=folder,
        env={**os.environ, "ANTISTROPHE_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120.0,
        check=False,
    )
    assert ended.returncode == 0, ended
    return ended.stdout


def test_the_page_shows_every_example_and_none_is_long() -> None:
    lines = {path.stem: len(path.read_text("utf-8").splitlines()) for path in FOLDER.glob("*.py")}
    assert sorted(lines) == sorted(SHOWN)
    assert not {name: number for name, number in lines.items() if number > LINES}


@pytest.mark.parametrize("name", SHOWN)
def test_an_example_says_what_the_page_says(name: str, tmp_path: Path, home: Path) -> None:
    said = run(name, tmp_path, home)
    assert agrees(SHOWN[name], said), said
