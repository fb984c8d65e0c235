"""Tables on terminals of any width: no id is cut, short ids keep their lines, and free text takes what is left."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from rich.console import Console
from rich.text import Text

from antistrophe.cli import screen
from antistrophe.cli.columns import rows_as_lines
from antistrophe.narration import times

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


# --- paragraphs and the moments in them -----------------------------------------------------------------------------


def printed(text: str, width: int, further: int = 0) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    table = screen.grid(2)
    table.add_row("at", screen.paragraphs(text, further))
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_end_of_a_line_that_is_folded_is_indented_as_its_beginning() -> None:
    assert printed('  in pay\n    raise OSError("no answer from the bank")\nOSError: no answer', 30) == [
        "at    in pay",
        '        raise OSError("no',
        '        answer from the bank")',
        "    OSError: no answer",
    ]
    assert printed("the undo of Charge, given up after 3\nthe undo of Ship", 30, further=2) == [
        "at  the undo of Charge,",
        "      given up after 3",
        "    the undo of Ship",
    ]


@pytest.mark.parametrize("width", [5, 9, 20, 400])
def test_a_paragraph_loses_nothing_and_fits_whatever_the_width(width: int) -> None:
    text = f"{' ' * 30}{LONG}\n\n  one two\x1b[31m three"
    said = printed(text, width)
    assert all(len(line) <= width for line in said)
    assert "".join("".join(said).split()).removeprefix("at") == "".join(screen.safe(text).plain.split())


@pytest.fixture
def _far_east() -> Iterator[None]:
    times.tell_in(timezone(timedelta(hours=9)))
    yield
    times.tell_in(None)


@pytest.mark.usefixtures("_far_east")
def test_a_moment_in_a_text_is_told_without_its_day_beside_another_of_that_day() -> None:
    text = "comes at 2026-11-28T20:43:06.123000+00:00"
    assert times.with_local_times(text) == "comes at 2026-11-29 05:43:06"
    assert times.with_local_times(text, exact=True) == "comes at 2026-11-29 05:43:06.123"
    at = datetime(2026, 11, 28, 15, 0, tzinfo=UTC)
    assert times.with_local_times(text, beside=at) == "comes at 05:43:06"
    assert times.with_local_times(text, beside=at - timedelta(seconds=1)) == "comes at 2026-11-29 05:43:06"
