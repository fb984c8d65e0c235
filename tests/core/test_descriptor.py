"""Which descriptors are still what they were, after user code has closed some and opened others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe.linux.descriptor import changed, file_behind, files_behind, is_open
from antistrophe.linux.own_state import read_standard_files


@pytest.fixture
def files(tmp_path: Path) -> Iterator[list[int]]:
    opened = [os.open(tmp_path / f"{number}", os.O_RDWR | os.O_CREAT) for number in range(3)]
    yield opened
    for number in opened:
        os.close(number)


def test_what_nobody_touched_is_unchanged(files: list[int]) -> None:
    before = files_behind(files)
    assert changed(before) == []
    os.write(files[0], b"more")
    assert changed(before) == []
    assert changed({}) == []


@pytest.mark.parametrize("closed", [(0,), (2,), (0, 1), (0, 1, 2)])
def test_what_is_closed_or_another_file_is_told(files: list[int], tmp_path: Path, closed: tuple[int, ...]) -> None:
    before = files_behind(files)
    for each in closed:
        os.close(files[each])
    assert changed(before) == [files[each] for each in closed]
    assert [is_open(file, before[file]) for file in files] == [each not in closed for each in range(3)]
    assert [os.open(tmp_path / "another", os.O_RDWR | os.O_CREAT) for _ in closed] == sorted(files[e] for e in closed)
    assert changed(before) == [files[each] for each in closed]
    assert [is_open(file, before[file]) for file in files] == [each not in closed for each in range(3)]


def test_a_number_that_was_free_has_to_stay_free(files: list[int], tmp_path: Path) -> None:
    free = os.open(tmp_path / "free", os.O_RDWR | os.O_CREAT)
    os.close(free)
    before = files_behind([*files, free])
    assert before[free] is None
    assert changed(before) == []
    assert os.open(tmp_path / "free", os.O_RDWR) == free
    assert changed(before) == [free]
    os.close(free)
    assert not is_open(free, None)


def test_a_standard_file_that_is_closed_is_told() -> None:
    healthy = read_standard_files()
    assert healthy == tuple(map(file_behind, (0, 1, 2)))
    kept = os.dup(0)
    os.close(0)
    try:
        assert read_standard_files() == (None, *healthy[1:])
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert read_standard_files() == healthy
