"""A script that a profiler, a tracer or a debugger runs is found by its file, as one that runs by itself."""

from __future__ import annotations

import importlib.util
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from antistrophe.definition.code_loading import class_ref, origin_of, origin_of_this_process
from tests.core.test_code_naming import BANK

SCRIPT = (
    BANK
    + """
    from antistrophe.definition.code_loading import origin_of_this_process
    print(json.dumps(origin_of_this_process().script))
"""
).replace("def show", "import json\n\ndef show")

RUNNERS = {
    "alone": [],
    "cProfile": ["-m", "cProfile", "-o", "out"],
    "profile": ["-m", "profile", "-o", "out"],
    "trace": ["-m", "trace", "--count", "--coverdir=cover"],
    "pdb": ["-m", "pdb", "-c", "continue"],
    "coverage": ["-m", "coverage", "run"],
    "kernprof": ["-m", "kernprof"],
    "runpy": ["-c", "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"],
    "cProfile of cProfile": ["-m", "cProfile", "-o", "out", "-m", "cProfile", "-o", "out2"],
}


def run(folder: Path, *words: str) -> list[Any]:
    """The documents that a program prints."""
    ended = subprocess.run(
        [sys.executable, *words], cwd=folder, input="", capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, (ended.stdout, ended.stderr)
    assert "InvalidStepError" not in ended.stdout, ended.stdout
    return [json.loads(line) for line in ended.stdout.splitlines() if line[:1] in '{"']


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_script_is_what_is_run_and_not_what_runs_it(tmp_path: Path, runner: str) -> None:
    words = RUNNERS[runner]
    if runner in ("kernprof", "coverage") and importlib.util.find_spec(runner) is None:
        pytest.skip(f"{runner} is not installed: how it runs a script is not tested here")
    (tmp_path / "bank.py").write_text(SCRIPT)
    shown, script = run(tmp_path, *words, "bank.py")
    assert shown["refs"] == ["__main__:Debit", "__main__:note"]
    assert shown["script"] == script == str(tmp_path / "bank.py")
    assert str(tmp_path) in shown["sys_path"]


@pytest.mark.parametrize(
    "words",
    [["-m", "cProfile", "-o", "out", "-m"], ["-m", "trace", "--count", "--coverdir=cover", "--module"]],
    ids=["cProfile", "trace"],
)
def test_a_module_that_is_run_has_its_own_name(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "bank.py").write_text(BANK)
    shown = run(tmp_path, *words, "shop.bank")[0]
    assert shown["refs"] == ["shop.bank:Debit", "shop.bank:note"]
    assert shown["script"] is None


def test_a_name_in_an_annotation_is_the_scripts_own(tmp_path: Path) -> None:
    """cProfile itself has a class Profile, and knows no Inner."""
    (tmp_path / "bank.py").write_text(SCRIPT.replace("Inner", "Profile"))
    assert run(tmp_path, "-m", "cProfile", "-o", "out", "bank.py")[0]["refs"] == ["__main__:Debit", "__main__:note"]


def test_what_run_path_has_defined_is_found_after_its_end(tmp_path: Path) -> None:
    (tmp_path / "bank.py").write_text(BANK.replace("show()\n", "pass\n"))
    names = runpy.run_path(str(tmp_path / "bank.py"), run_name="__main__")
    assert class_ref(names["Debit"]) == "__main__:Debit"
    assert class_ref(names["note"]) == "__main__:note"
    assert origin_of([names["note"]]).script == str(tmp_path / "bank.py")
    assert origin_of_this_process().script != str(tmp_path / "bank.py")
