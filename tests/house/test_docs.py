"""What the pages show is run: every Python block, every console block marked ``run``, every profile, every link."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from antistrophe.settings import Settings
from tests.house.pages import Block, agrees, blocks_of, commands_of, files_of, links_of, sentences_of
from tests.house.tree import PACKAGE, ROOT, name_of, pages

BLOCK_S = 120.0  # what one block may take, on a machine that may be busy
PAGES = {name_of(path): path.read_text("utf-8") for path in pages()}
RUNNING = [
    name for name, text in PAGES.items() if any(b.language == "python" or "run" in b.words for b in blocks_of(text))
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", RUNNING)
def test_what_a_page_shows_runs_and_says_what_the_page_says(
    name: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of a page run in order, each as a process of its own, in one folder and one home. A page that reads
    ``DATABASE_URL`` has an empty database of PostgreSQL."""
    said = ""
    if "DATABASE_URL" in PAGES[name]:
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgres_store_url"))
    for block in blocks_of(PAGES[name]):
        if block.language == "python" or "run" in block.words:
            said = run(block, f"{name}:{block.line}", tmp_path)
        elif block.language == "text" and "output" in block.words:
            assert agrees(block.text, said), f"{name}:{block.line} shows\n{block.text}\nbut it was\n{said}"
        elif block.language == "toml" and "profile" in block.words:
            (tmp_path / "profile.toml").write_text(block.text, "utf-8")
            Settings.load(tmp_path / "profile.toml")


@pytest.mark.parametrize("name", PAGES)
def test_the_links_of_a_page_lead_somewhere(name: str) -> None:
    folder = (ROOT / name).parent
    assert not [link for link in links_of(PAGES[name]) if not (folder / link).exists()]


@pytest.mark.parametrize("name", PAGES)
def test_the_files_that_a_page_names_exist(name: str) -> None:
    roots = (ROOT, PACKAGE, (ROOT / name).parent)
    its_own = {block.option("file") for block in blocks_of(PAGES[name])}
    named = [file for file in files_of(PAGES[name]) if file not in its_own]
    assert not [file for file in named if not any((root / file).exists() for root in roots)]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_with_its_title_and_its_fences_are_told_apart(name: str) -> None:
    assert PAGES[name].startswith("# ")
    assert not [block.line for block in blocks_of(PAGES[name]) if not block.language]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_the_file_that_another_block_needs(name: str) -> None:
    """In its sentences, for what stands behind a fence is not shown. The only one may be named by a command alone."""
    blocks = list(blocks_of(PAGES[name]))
    files = {file: block for block in blocks if (file := block.option("file")) is not None}
    needed = [
        file for file, block in files.items() if any(needs(other.text, file) for other in blocks if other is not block)
    ]
    assert len(needed) == 1 or not [file for file in needed if f"`{file}`" not in sentences_of(PAGES[name])]


def test_a_block_that_fails_is_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="boom"):
        run(Block("python", (), "raise SystemExit('boom')", 1), "page:1", tmp_path)
    with pytest.raises(AssertionError, match="it went well"):
        run(Block("python", ("exit=1",), "print('it went well')", 1), "page:1", tmp_path)
    with pytest.raises(AssertionError, match="exit code 1"):
        run(Block("console", ("run",), "$ false\n$ true\n", 1), "page:1", tmp_path)


def test_what_is_said_is_compared() -> None:
    assert agrees("a … c\n", "a b c")
    assert not agrees("a … c\n", "a b d")
    assert not agrees("a.c", "abc")


def needs(code: str, file: str) -> bool:
    """Whether a block imports that file, serves its application, or calls it."""
    module = re.escape(file.removesuffix(".py").replace("/", "."))
    return (
        re.search(rf"\b{re.escape(file)}\b|\bfrom {module} import|\bimport {module}\b|\b{module}:\w", code) is not None
    )


def run(block: Block, where: str, folder: Path) -> str:
    """Run one block to its end, or only keep it; returns what it printed."""
    if block.language == "python":
        script = folder / (block.option("file") or f"block_{block.line}.py")
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(block.text, "utf-8")
        if "kept" in block.words:
            return ""
        command = [sys.executable, "-W", "error", str(script)]
    else:
        command = ["bash", "-euo", "pipefail", "-c", "\n".join(commands_of(block))]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "ANTISTROPHE_HOME": str(folder / "home"), "PATH": _path()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            said, complained = process.communicate(timeout=BLOCK_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"{where} did not end within {BLOCK_S} s") from None
    expected = int(block.option("exit") or 0)
    assert process.returncode == expected, f"{where}: exit code {process.returncode}\n{said}\n{complained}"
    return said


def _path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
