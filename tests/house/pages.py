"""Reads the fenced blocks of a Markdown page: what is in them, and what is to be done with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^```(?P<words>[^\n`]*)\n(?P<text>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`((?:[\w-]+/)+[\w.-]+\.(?:py|md|toml))`")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. ``language`` is its first word, ``words`` the others (``run``, ``file=NAME``, ``exit=1``),
    ``line`` that of its fence."""

    language: str
    words: tuple[str, ...]
    text: str
    line: int

    def option(self, name: str) -> str | None:
        """The value of the word ``name=value``, or None."""
        return next((word.partition("=")[2] for word in self.words if word.startswith(f"{name}=")), None)


def blocks_of(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for found in _FENCE.finditer(page):
        words = found["words"].split()
        yield Block(words[0] if words else "", tuple(words[1:]), found["text"], page.count("\n", 0, found.start()) + 1)


def sentences_of(page: str) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page)


def commands_of(block: Block) -> list[str]:
    """The commands of a console block: its lines after ``$``, or all of them where none has one."""
    lines = block.text.splitlines()
    prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return prompted or [line for line in lines if line]


def links_of(page: str) -> list[str]:
    """The targets of the page's links, outside fenced blocks, that are paths of this project."""
    targets = _LINK.findall(sentences_of(page))
    return [target.partition("#")[0] for target in targets if "://" not in target and not target.startswith("#")]


def files_of(page: str) -> list[str]:
    """The paths of files that the page names in backticks, from the root or from the package."""
    return _FILE.findall(sentences_of(page))


def agrees(expected: str, said: str) -> bool:
    """True where ``said`` is what is expected; ``…`` stands for anything, a line of its own for any lines."""
    parts = [re.escape(part) for part in expected.strip().split("…")]
    return re.fullmatch(".*".join(parts), said.strip(), re.DOTALL) is not None
