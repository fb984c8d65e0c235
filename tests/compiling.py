"""Compiles what the tests run: once for a run, before its first test, on every core.

Where PYTHONDONTWRITEBYTECODE is set, each process that a test starts would compile the package anew, which takes a
third of a system's start, and each worker of a run would rewrite the asserts of every file, which takes longer than to
collect all tests. What is compiled holds for one text of its source: an edited copy is never taken for what it was made
of.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import py_compile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGE = _ROOT / "src" / "antistrophe"
_FOLDERS = (_PACKAGE, _PACKAGE / "actors", _ROOT / "tests")  # the actors are behind a link, which is not followed
_TESTS = ("test_*.py", "conftest.py")


def compile_all(config: pytest.Config) -> None:
    """Compile the package and the tests as Python does it, and for a run of several workers also as pytest does it."""
    ours = [path for folder in _FOLDERS for path in folder.rglob("*.py")]
    _on_every_core(compile_one, [path for path in ours if not is_fresh(path, _compiled(path))])
    if config.getoption("numprocesses", default=None):
        hook = config.pluginmanager.rewrite_hook
        already = hook._rewritten_names.values() if isinstance(hook, rewrite.AssertionRewritingHook) else ()
        marked = [path for path in ours if path.is_relative_to(_PACKAGE) or any(map(path.match, _TESTS))]
        stale = [path for path in {*marked, *already} if not is_fresh(path, rewritten(path))]
        _on_every_core(lambda path: rewrite_one(path, config), stale)


def compile_one(path: Path) -> None:
    """Compile a file for whoever imports it."""
    py_compile.compile(str(path), quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)


def rewrite_one(path: Path, config: pytest.Config) -> None:
    """Compile a file for pytest, with the asserts that say more. If it can't be, pytest says so when it imports it."""
    with contextlib.suppress(SyntaxError, OSError):
        source, code = rewrite._rewrite_test(path, config)
        rewritten(path).parent.mkdir(exist_ok=True)
        rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, source, rewritten(path))


def is_fresh(path: Path, compiled: Path) -> bool:
    """Whether ``compiled`` was made of what ``path`` holds now."""
    with contextlib.suppress(OSError), compiled.open("rb") as file:
        made_of = importlib.util.MAGIC_NUMBER + b"\x03\0\0\0" + importlib.util.source_hash(path.read_bytes())
        return file.read(len(made_of)) == made_of
    return False


def rewritten(path: Path) -> Path:
    """Where pytest keeps what it has made of a file."""
    return rewrite.get_cache_dir(path) / f"{path.stem}{rewrite.PYC_TAIL}"


def _compiled(path: Path) -> Path:
    return Path(importlib.util.cache_from_source(path))


def _on_every_core(work: Callable[[Path], None], paths: Sequence[Path]) -> None:
    cores = min(os.cpu_count() or 1, len(paths))
    children = [_forked(work, paths[first::cores]) for first in range(cores)]
    for pid in children:
        os.waitpid(pid, 0)


def _forked(work: Callable[[Path], None], paths: Sequence[Path]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            for path in paths:
                work(path)
        finally:
            os._exit(0)
    return pid
