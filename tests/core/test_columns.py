"""Tables on terminals of any width: no id is cut, short ids keep their lines, and free text takes what is left."""

from __future__ import annotations

import pytest
from rich.text import Text

from antistrophe.cli.columns import rows_as_lines

LONG = "x" * 100


def lines(rows: list[tuple[str, ...]], width: int | None, names: int = 0) -> list[str]:
    heads = ["saga", "status", "why"] if names == 0 else ["step", "", "status", "why"]
    made = rows_as_lines(heads, [[Text(cell) for cell in row] for row in rows], width, names=names)
    return [line.plain for line in made]


def test_a_long_id_stands_alone_and_moves_no_other_row() -> None:
    assert lines([("a-1", "done", "because of it"), (LONG, "failed", "other"), ("b", "done", "")], 30) == [
        "saga  status  why",
        "a-1   done    because of it",
        LONG,
        "      failed  other",
        "b     done",
    ]


def test_an_id_that_leaves_room_has_one_line() -> None:
    assert lines([("x" * 12, "done", "because of it")], 30) == [
        "saga          status  why",
        "xxxxxxxxxxxx  done    because…",
    ]


def test_a_long_name_in_a_later_column_stands_with_what_is_before_it() -> None:
    assert lines([("0", "short", "done", "no"), ("1", LONG, "failed", "why not")], 40, names=1) == [
        "step         status  why",
        "0     short  done    no",
        f"1     {LONG}",
        "             failed  why not",
    ]


def test_a_pipe_gets_one_line_for_each_row() -> None:
    assert lines([("a", "done", "y" * 500), (LONG, "failed", "other")], None) == [
        f"{'saga':<100}  status  why",
        f"{'a':<100}  done    {'y' * 500}",
        f"{LONG}  failed  other",
    ]


@pytest.mark.parametrize("width", [1, 10, 30, 80, 140])
def test_whatever_the_width_every_id_is_there_whole(width: int) -> None:
    ids = ["a", LONG, "漢字" * 20, "b" * 79]
    shown = lines([(each, "compensation failed", "why") for each in ids], width)
    assert [line.split()[0] for line in shown if line.split()[0] in ids] == ids
