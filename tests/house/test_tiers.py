"""The fast tier leaves out what tests/tiers.py names, and still looks at every part of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.tree import ROOT, files_of_tests, name_of, source_of
from tests.tiers import FIRST, TIERS, in_order, is_slow, left_out


@pytest.mark.parametrize("start", [*TIERS, *FIRST])
def test_what_a_tier_names_exists(start: str) -> None:
    file, _, name = start.partition("::")
    if file.endswith("/"):
        assert (ROOT / file).is_dir()
    else:
        assert (ROOT / file).is_file()
    if name:
        assert name.partition("[")[0] in dict(source_of(ROOT / file).functions)


def test_each_folder_of_tests_has_some_that_are_fast() -> None:
    modules = [path for path in files_of_tests() if path.name.startswith("test_")]
    folders = {path.parent for path in modules}
    fast = {path.parent for path in modules if not _is_slow(path)}
    assert folders == fast


def test_the_longer_start_counts() -> None:
    assert is_slow("tests/actors/test_hangs.py::test_any")
    assert not is_slow("tests/actors/test_context.py::test_any")
    assert not is_slow("tests/core/test_payload.py::test_any")


def test_a_run_of_the_fast_tier_leaves_out_the_slow_and_no_other(request: pytest.FixtureRequest) -> None:
    wrong = [
        item.nodeid for item in request.session.items if is_slow(item.nodeid) and not item.get_closest_marker("slow")
    ]
    assert not wrong


def test_a_sample_is_a_quarter_of_the_slow_cases_and_another_with_another_seed() -> None:
    many = [f"tests/actors/test_hangs.py::test_any[{number}]" for number in range(30)]
    few = [f"tests/actors/test_hangs.py::test_other[{number}]" for number in range(3)]
    whole = ["tests/actors/test_hangs.py::test_one", *(f"tests/core/test_payload.py::test_any[{n}]" for n in range(9))]
    out = left_out([*many, *few, *whole], 1)
    assert (len(out & set(many)), len(out & set(few)), len(out & set(whole))) == (22, 2, 0)
    assert out == left_out([*whole, *few, *many], 1)
    assert out != left_out([*many, *few, *whole], 2)


def test_of_fast_tests_on_both_databases_a_half_is_tried_on_postgresql() -> None:
    twins = [
        f"tests/contract/test_journal.py::test_{n}[{which}]" for n in range(10) for which in ("sqlite", "postgres")
    ]
    out = left_out(twins, 1)
    assert len(out) == 5
    assert all("postgres" in each for each in out)


def test_workers_begin_with_the_longest_files_and_end_with_the_fast() -> None:
    fast, slow = "tests/core/test_payload.py", "tests/actors/test_hangs.py"
    assert in_order([fast, FIRST[1], slow, FIRST[0]], {slow, *FIRST}) == [FIRST[0], FIRST[1], slow, fast]


def test_workers_begin_with_them_in_this_run(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> None:
    if not hasattr(pytestconfig, "workerinput"):
        assert not pytestconfig.getoption("loadscopereorder")
        return
    files = list(dict.fromkeys(item.nodeid.partition("::")[0] for item in request.session.items))
    long = [file for file in FIRST if file in files]
    assert files[: len(long)] == long


def _is_slow(path: Path) -> bool:
    return is_slow(f"{name_of(path)}::test")
