"""Tables with one line for each row, in which an id is never cut: what is cut is the free text at the end of a line. An
id that leaves no room for the rest stands on a line of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

GAP = "  "
LEAST_TEXT = 8
"""Free text that would get fewer columns is left out."""


def width_of(console: Console) -> int | None:
    """The columns of the terminal; None in a pipe, where nothing is cut."""
    return console.width if console.is_terminal else None


def rows_as_lines(
    heads: Sequence[str], rows: Sequence[Sequence[Text]], width: int | None, *, names: int = 0
) -> list[Text]:
    """A head and the rows. The last column is free text: it is cut where a line would be longer than ``width``. All
    others are as wide as they have to be, but for column ``names``: where one in it is too long for a line, its row has
    two."""
    table = [[Text(head, style="bold") for head in heads], *rows]
    wide = [max(row[column].cell_len for row in table) for column in range(len(heads) - 1)]
    if width is not None:
        left = width - sum(wide) - len(GAP) * len(wide) + wide[names] - LEAST_TEXT
        fitting = [row[names].cell_len for row in table if row[names].cell_len <= left]
        wide[names] = max(fitting, default=table[0][names].cell_len)
    return [line for row in table for line in _lines_of(row, wide, width, names)]


def _lines_of(row: Sequence[Text], wide: Sequence[int], width: int | None, names: int) -> list[Text]:
    if row[names].cell_len <= wide[names]:
        return [row_as_line(row, wide, width)]
    name = row_as_line([*row[: names + 1], Text()], wide[: names + 1], None)
    rest = [*(Text() for _ in range(names + 1)), *row[names + 1 :]]
    return [name, row_as_line(rest, wide, width)]


def row_as_line(row: Sequence[Text], wide: Sequence[int], width: int | None) -> Text:
    """One row; ``wide`` has the widths of all its columns but the last."""
    line = Text()
    for cell, columns in zip(row, wide, strict=False):
        line.append_text(cell).append(" " * max(0, columns - cell.cell_len)).append(GAP)
    text = row[-1].copy()
    if width is not None:
        left = width - line.cell_len
        if left < min(LEAST_TEXT, text.cell_len):
            text = Text()
        text.truncate(max(left, 0), overflow="ellipsis" if can_print("…") else "crop")
    line.append_text(text)
    line.rstrip()
    return line


def print_lines(console: Console, lines: Iterable[Text]) -> None:
    """Print lines as they are: where one is longer than the terminal is wide, the terminal folds it."""
    for line in lines:
        console.print(line, soft_wrap=True)


def can_print(characters: str) -> bool:
    """Whether standard output can show these characters."""
    try:
        characters.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
