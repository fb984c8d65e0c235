"""What type checkers let through and what they refuse: the package, its right and wrong uses, and the pages' code.

Each checker runs once, over all of it: a run takes seconds, and what it has read serves every file.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import get_overloads, get_type_hints

import pytest

from antistrophe import StepOptions, step
from tests.house.pages import blocks_of
from tests.house.tree import ROOT, name_of, pages, project

USES = ROOT / "tests" / "house" / "typing"
WRONG = USES / "wrong_uses.py"
_MYPY = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+): error: (?P<text>.*)$", re.MULTILINE)

Errors = Mapping[tuple[str, int], list[str]]


@pytest.mark.timeout(300)  # types are checked from nothing on a fresh clone
def test_mypy_is_content_but_with_what_is_wrong(tmp_path: Path) -> None:
    page_names = extract(tmp_path)
    ours = [str(path) for each in project()["tool"]["mypy"]["files"] for path in ROOT.glob(each)]
    checked = [*ours, str(WRONG), str(tmp_path / "pages")]
    command = [sys.executable, "-m", "mypy", "--show-absolute-path", *checked]
    ran = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, f"mypy did not run: it ended with {ran.returncode}\n{ran.stdout}{ran.stderr}"
    found: dict[tuple[str, int], list[str]] = {}
    for each in _MYPY.finditer(ran.stdout):
        found.setdefault((each["file"], int(each["line"])), []).append(each["text"])
    check(found, page_names)


@pytest.mark.timeout(300)
def test_pyright_is_content_but_with_what_is_wrong(tmp_path: Path) -> None:
    page_names = extract(tmp_path)
    (tmp_path / "uses").mkdir()
    for path in USES.glob("*.py"):
        (tmp_path / "uses" / path.name).write_text(path.read_text("utf-8"), "utf-8")
    page_names[str(tmp_path / "uses" / WRONG.name)] = str(WRONG)
    settings = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "extraPaths": [str(ROOT / "src")],
        "reportUnusedImport": False,  # an import for its effect is no mistake of types
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), "utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    ran = subprocess.run(command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ran.stdout.startswith("{"), (
        f"pyright did not run: it ended with {ran.returncode}. It is in the dev extra, with the Node.js that it runs "
        f"on: pip install -e '.[dev]'\n{ran.stdout}{ran.stderr}"
    )
    said = json.loads(ran.stdout)
    assert said["summary"]["filesAnalyzed"] >= len(page_names)
    found: dict[tuple[str, int], list[str]] = {}
    for each in said["generalDiagnostics"]:
        place = each["file"], each["range"]["start"]["line"] + 1
        found.setdefault(place, []).append(each["message"])
    check(found, page_names)


def test_the_decorator_takes_the_options_that_a_class_takes() -> None:
    with_options = get_overloads(step)[-1]
    hints = get_type_hints(with_options)
    assert {name: hint for name, hint in hints.items() if name != "return"} == get_type_hints(StepOptions)


def extract(folder: Path) -> dict[str, str]:
    """Write the Python blocks of each page into a package of its own below ``folder``, each block at its own lines.
    Returns the path of the page's file for each that was written."""
    written: dict[str, str] = {}
    for path in pages():
        name = name_of(path)
        package = f"pages.{re.sub(r'[^a-z]', '_', name.removesuffix('.md').lower())}"
        blocks = [block for block in blocks_of(path.read_text("utf-8")) if block.language == "python"]
        files = {block.option("file") or f"block_{block.line}.py": block for block in blocks}
        modules = "|".join(re.escape(file.removesuffix(".py").replace("/", ".")) for file in files)
        for file, block in files.items():
            target = folder.joinpath(*package.split("."), file)
            target.parent.mkdir(parents=True, exist_ok=True)
            # The modules of two pages may have one name.
            text = re.sub(rf"(?m)^(\s*)from ({modules}) import", rf"\1from {package}.\2 import", block.text)
            text = re.sub(rf"(?m)^(\s*)import ({modules})\b(?!\.)", partial(_import_from, package), text)
            target.write_text("\n" * block.line + text, "utf-8")
            written[str(target)] = name
    return written


def _import_from(package: str, found: re.Match[str]) -> str:
    indent, module = found.groups()
    return f"{indent}import {package}.{module}" if "." in module else f"{indent}from {package} import {module}"


def check(found: Errors, page_names: Mapping[str, str]) -> None:
    """Fail unless the errors are those of the lines that are marked as wrong, each of them and no other."""
    marked = {
        number for number, line in enumerate(WRONG.read_text("utf-8").splitlines(), 1) if line.endswith("  # wrong")
    }
    assert len(marked) >= 40
    named = {(page_names.get(file, file), line): texts for (file, line), texts in found.items()}
    refused = {line for file, line in named if file == str(WRONG)}
    others = [
        f"{file}:{line}: {text}"
        for (file, line), texts in sorted(named.items())
        for text in texts
        if file != str(WRONG) or line not in marked
    ]
    assert not others, "\n".join(others)
    assert not marked - refused, f"lines of {WRONG.name} that are let through"
