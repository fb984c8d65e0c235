"""The files of the project as the house's tests see them."""

from __future__ import annotations

import ast
import gc
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "antistrophe"
ACTORS = ROOT / "actors"


@cache
def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def product_files() -> list[Path]:
    """Every Python file that is shipped; the actors once, not again through their symlink."""
    package = [path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(PACKAGE / "actors")]
    return sorted(package) + sorted(ACTORS.rglob("*.py"))


def files_of_tests() -> list[Path]:
    """Every Python file below tests/."""
    return sorted((ROOT / "tests").rglob("*.py"))


def example_files() -> list[Path]:
    """Every Python file below docs/."""
    return sorted((ROOT / "docs").rglob("*.py"))


def python_files() -> list[Path]:
    """Every Python file of the project."""
    return product_files() + files_of_tests() + example_files()


def pages() -> list[Path]:
    """Every page that people read: those at the root and all below docs/."""
    return sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md"))


def name_of(path: Path) -> str:
    """The path as it is written in a message: from the root."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    """The file's syntax tree."""
    # All trees stay, millions of nodes: collecting garbage meanwhile would walk through them again and again.
    gc.disable()
    try:
        return ast.parse(path.read_text("utf-8"), str(path))
    finally:
        gc.enable()


def functions_of(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function of the file with its qualified name."""
    yield from _functions(tree_of(path), "")


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            continue  # no function is defined in an expression, and most nodes are in one
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, child
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        else:
            yield from _functions(child, prefix)


def imported_modules(path: Path) -> set[str]:
    """The absolute names of what the file imports: ``a.b`` for ``import a.b`` and for ``from a.b import c``."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found
