"""What is compiled before the first test is what Python and pytest take later, until the source is another."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

from tests import compiling


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "test_one.py"
    path.write_text("def test_one():\n    assert 1 == 2\n", "utf-8")
    return path


def test_pytest_takes_what_was_rewritten_for_it_until_the_file_is_another(
    source: Path, pytestconfig: pytest.Config
) -> None:
    kept = compiling.rewritten(source)
    assert not compiling.is_fresh(source, kept)
    compiling.rewrite_one(source, pytestconfig)
    assert compiling.is_fresh(source, kept)
    code = rewrite._read_pyc(source, kept)
    assert code is not None
    assert "@pytest_ar" in code.co_names
    source.write_text("def test_one():\n    assert 1 == 3\n", "utf-8")
    assert not compiling.is_fresh(source, kept)
    assert rewrite._read_pyc(source, kept) is None


def test_python_takes_what_was_compiled_until_the_file_is_another(source: Path) -> None:
    compiling.compile_one(source)
    kept = Path(importlib.util.cache_from_source(source))
    assert compiling.is_fresh(source, kept)
    source.write_text("def test_one():\n    assert 1 == 3\n", "utf-8")
    assert not compiling.is_fresh(source, kept)


def test_a_file_that_is_no_python_is_left_to_who_imports_it(source: Path, pytestconfig: pytest.Config) -> None:
    source.write_text("def test_one(:\n", "utf-8")
    compiling.compile_one(source)
    compiling.rewrite_one(source, pytestconfig)
    assert not compiling.rewritten(source).exists()


def test_the_files_of_a_run_are_fresh_in_it() -> None:
    """At least this one and what it is about."""
    for path in (Path(__file__), Path(compiling.__file__)):
        assert compiling.is_fresh(path, Path(importlib.util.cache_from_source(path)))
