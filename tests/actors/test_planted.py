"""A bug that is planted in the processes of a system is noticed by the test of the promise that it breaks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.actors.planting import PLANTED, plant_in_children

ROOT = Path(__file__).resolve().parents[2]
HANG = "tests/actors/test_hangs.py::test_a_hung_attempt_is_decided_in_time_and_dead_before_it_is_compensated"
NOTICED_BY = {
    "G3": "tests/actors/test_hangs.py::test_what_has_left_the_group_of_an_attempt_is_dead_before_it_is_compensated"
    "[daemon:hang-process]",
    "G10": f"{HANG}[stubborn-process]",
    "G11": "tests/actors/test_orchestrator.py::test_what_another_has_changed_is_told_within_the_bound",
    "G12": "tests/actors/test_hangs.py::test_neighbours_keep_their_pace_beside_one_that_hangs",
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_of_the_runtime_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    promise, _ = PLANTED[name]
    test = NOTICED_BY[promise]
    plant_in_children(monkeypatch, name)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert f"FAILED {test}" in ran.stdout
