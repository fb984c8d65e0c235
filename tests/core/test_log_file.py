"""A log file that several processes append to: it stays small, and no line of those that are kept is lost."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
from pathlib import Path

import pytest

from antistrophe.linux.log_file import LogFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.log"


def sizes(path: Path) -> dict[str, int]:
    return {each.name: each.stat().st_size for each in path.parent.iterdir()}


def test_a_full_file_is_moved_away_and_an_earlier_one_goes(path: Path) -> None:
    file = LogFile(path, 100)
    for number in range(100):
        file.write(f"{number:09}\n")
    assert sizes(path) == {"x.log": 100, "x.log.1": 100}
    assert (path.read_text() + path.with_suffix(".log.1").read_text()).count("\n") == 20
    assert path.read_text().splitlines()[-1] == "000000099"


def _fill(path: Path, name: int) -> None:
    file = LogFile(path, 20_000)
    for number in range(500):
        file.write(f"{name} {number:04} {'.' * 12}\n")


def test_no_line_is_lost_where_several_processes_write(path: Path) -> None:
    processes = [multiprocessing.get_context("fork").Process(target=_fill, args=(path, name)) for name in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    lines = path.with_suffix(".log.1").read_text().splitlines() + path.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 1_500, "20,000 bytes twice hold all of them"
    assert all(len(line) == 19 for line in lines)


def test_who_finds_it_full_while_another_moves_it_goes_on_writing(path: Path) -> None:
    path.write_text("x" * 200)
    with path.open("rb") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        LogFile(path, 100).write("line\n")
    assert sizes(path) == {"x.log": 205}
    LogFile(path, 100).write("next\n")
    assert sizes(path) == {"x.log": 5, "x.log.1": 205}


def test_a_file_that_can_not_be_written_costs_the_lines_only(path: Path) -> None:
    path.mkdir()
    LogFile(path, 100).write("line\n")
    LogFile(path / "missing" / "x.log", 100).write("line\n")
    assert os.listdir(path) == []
