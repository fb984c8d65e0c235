"""Draws the packages from their imports: the page docs/explanation/packages.md."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache

from tests.house.tree import ACTORS, PACKAGE, product_files, project, source_of

ROOT_NAME = "antistrophe"
ENTRY = "__main__"  # what `python -m antistrophe` runs: one line above all floors
_Graph = dict[str, set[str]]


def floors() -> list[list[str]]:
    """The import contract: the packages and modules of each floor, from the lowest up. The root is on the highest."""
    contracts = project()["tool"]["importlinter"]["contracts"]
    (layers,) = [each["layers"] for each in contracts if each["name"] == "The floors"]
    found = [[part.strip() for part in re.split("[|:]", line)] for line in reversed(layers) if line != ENTRY]
    found[-1].append("package root")
    return found


@cache
def imports() -> _Graph:
    """Which package imports from which; imports within one package are left out."""
    graph: _Graph = defaultdict(set)
    for path in product_files():
        own = "actors" if path.is_relative_to(ACTORS) else path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if own in ("__init__", ENTRY):
            continue
        names = {name.split(".")[1] for name in source_of(path).imports if name.startswith(f"{ROOT_NAME}.")}
        graph[own] |= names - {own}
    return dict(graph)


def direct(graph: _Graph) -> _Graph:
    """Without the imports that a way over another package implies: what is left is the shape."""
    return {
        package: {low for low in below if not any(low in _reached(graph, other) for other in below - {low})}
        for package, below in graph.items()
    }


def _reached(graph: _Graph, start: str) -> set[str]:
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        for low in graph.get(ahead.pop(), set()) - seen:
            seen.add(low)
            ahead.append(low)
    return seen


def packages_page() -> str:
    """The diagram, floor by floor."""
    graph = imports()
    lines = [
        "# The packages",
        "",
        "A package imports only from floors below its own, and each answers one question: the first lines of its",
        "`__init__.py` say which, and where to start reading. What each is for stands in",
        "[CONTRIBUTING](../../CONTRIBUTING.md#the-floors); what runs in which process, in [processes](processes.md).",
        "This page is made from the imports by `python -m tests.house.reference`.",
        "",
        "An arrow leads from a package to one that it imports from. Where a longer way leads to the same package the",
        "direct arrow is left out.",
        "",
        "```mermaid",
        "flowchart TD",
    ]
    shape = direct(graph)
    for names in reversed(floors()):
        for name in sorted(set(names) & graph.keys()):
            lines += [f"    {name} --> {low}" for low in sorted(shape[name])]
    return "\n".join([*lines, "```"]) + "\n"
