"""The files of the project as the house's tests see them."""

from __future__ import annotations

import ast
import gc
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Source:
    """What the house looks at in a file. Its tree is not kept: with the trees of all files, millions of nodes, every
    collection of garbage would take seconds."""

    docstring: str
    functions: tuple[tuple[str, int], ...]
    """The qualified name of each, and its lines beside the docstring, which says what a caller must know however long
    that is."""

    imports: frozenset[str]
    """The absolute names of what it imports: ``a.b`` for ``import a.b`` and for ``from a.b import c``."""

    relative_imports: tuple[int, ...]
    """The lines of those."""


@cache
def source_of(path: Path) -> Source:
    gc.disable()  # meanwhile the nodes of one tree come and go, and none of them is garbage
    try:
        tree = tree_of(path)
        functions: list[tuple[str, int]] = []
        imports: list[ast.Import | ast.ImportFrom] = []
        _look_below(tree, "", functions, imports)
        relative = tuple(each.lineno for each in imports if isinstance(each, ast.ImportFrom) and each.level)
        names = frozenset(name for each in imports for name in _imported(each))
        return Source(ast.get_docstring(tree) or "", tuple(functions), names, relative)
    finally:
        gc.enable()


def tree_of(path: Path) -> ast.Module:
    """The file's syntax tree, made anew."""
    return ast.parse(path.read_text("utf-8"), str(path))


def _look_below(
    node: ast.AST, prefix: str, functions: list[tuple[str, int]], imports: list[ast.Import | ast.ImportFrom]
) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            continue  # none of them is in an expression, and most nodes are in one
        if isinstance(child, ast.Import | ast.ImportFrom):
            imports.append(child)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not isinstance(child, ast.ClassDef):
                functions.append((prefix + child.name, _length(child)))
            _look_below(child, f"{prefix}{child.name}.", functions, imports)
        else:
            _look_below(child, prefix, functions, imports)


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif node.level == 0 and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
