"""The size, names and imports of the project's files: what makes a file easy to read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.tree import (
    files_of_tests,
    name_of,
    product_files,
    python_files,
    source_of,
    tree_of,
)

FILE_LINES = 350
TEST_FILE_LINES = 450  # case after case of one thing reads well a little longer
FUNCTION_LINES = 40

# What is longer, and why. An entry that is not needed any more fails as well.
LONG_FILES: dict[str, str] = {
    "src/antistrophe/errors.py": "every exception stands in one tree",
}
LONG_FUNCTIONS: dict[str, str] = {}

# Names that say nothing of what is inside.
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc", "base_classes"}
NAMES_OF_OTHERS = {"actor_manager"}  # Thespian's own word for the part that it replaces

# Nothing that comes from outside a process may run code in it.
PICKLING = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}


def test_no_file_is_too_long() -> None:
    long = {name_of(path): lines for path in python_files() if (lines := _lines(path)) > _limit(path)}
    assert not {name: lines for name, lines in long.items() if name not in LONG_FILES}
    assert not sorted(LONG_FILES.keys() - long.keys()), "listed as long, but is not"


def test_no_function_is_too_long() -> None:
    long = {
        f"{name_of(path)}:{name}": lines
        for path in python_files()
        for name, lines in source_of(path).functions
        if lines > FUNCTION_LINES
    }
    assert not {name: lines for name, lines in long.items() if name not in LONG_FUNCTIONS}
    assert not sorted(LONG_FUNCTIONS.keys() - long.keys()), "listed as long, but is not"


def test_every_module_opens_with_its_one_job() -> None:
    assert not [name_of(path) for path in python_files() if not _opens_with_a_sentence(path)]


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert not [
        name_of(path)
        for path in python_files()
        if EMPTY_NAMES & set(path.stem.split("_")) and path.stem not in NAMES_OF_OTHERS
    ]


def test_nothing_is_pickled() -> None:
    assert not [name_of(path) for path in product_files() if PICKLING & source_of(path).imports]


def test_every_import_is_by_full_name() -> None:
    """One way for all, and the actors are one module each, whether they are found through their symlink or not."""
    assert not [f"{name_of(path)}:{line}" for path in product_files() for line in source_of(path).relative_imports]
    assert not [
        name_of(path)
        for path in product_files()
        if any(name.split(".")[0] == "actors" for name in source_of(path).imports)
    ]


def test_the_tests_do_not_sleep() -> None:
    """Waiting is on a condition, in a ``while`` with a deadline; steps may sleep, for that is how they hang."""
    assert not [f"{name_of(path)}:{line}" for path in files_of_tests() for line in _naps(path)]


@pytest.mark.parametrize(
    ("code", "naps"),
    [
        ("import time\ntime.sleep(1)", 1),
        ("from time import sleep\nsleep(1)", 1),
        ("import asyncio\nasync def test_x():\n    await asyncio.sleep(1)", 1),
        ("import time\nfor _ in range(9):\n    time.sleep(1)", 1),
        ("import time\nwhile not done():\n    time.sleep(0.01)", 0),
        ("import asyncio\nasync def test_x():\n    await asyncio.sleep(0)", 0),
        ("import time\nclass Hang:\n    def execute(self):\n        time.sleep(3600)", 0),
        ("CODE = 'import time; time.sleep(1)'", 0),
    ],
)
def test_a_nap_is_found(tmp_path: Path, code: str, naps: int) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(code, "utf-8")
    assert len(_naps(path)) == naps
    steps = tmp_path / "steps_of_it.py"
    steps.write_text(code, "utf-8")
    assert not _naps(steps)


def _lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def _limit(path: Path) -> int:
    return TEST_FILE_LINES if name_of(path).startswith("tests/") else FILE_LINES


def _opens_with_a_sentence(path: Path) -> bool:
    first = source_of(path).docstring.partition("\n\n")[0].replace("\n", " ").rstrip()
    return first.endswith((".", ":")) and len(first.split()) >= 3


def _naps(path: Path) -> list[int]:
    """Lines that sleep for a fixed time."""
    if path.stem.startswith("steps") or "sleep" not in path.read_text("utf-8"):
        return []
    return sorted(_naps_below(tree_of(path)))


def _naps_below(node: ast.AST) -> list[int]:
    found: list[int] = []
    for child in ast.iter_child_nodes(node):
        waits = isinstance(child, ast.While)
        acts = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and child.name in {
            "execute",
            "compensate",
            "verify",
            "do_sleep",  # of a test actor, which hangs because it is told to
        }
        if waits or acts:
            continue
        if isinstance(child, ast.Call) and _sleeps(child):
            found.append(child.lineno)
        found.extend(_naps_below(child))
    return found


def _sleeps(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    gives_way = bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0
    return name == "sleep" and not gives_way
