"""The page of promises names tests and planted bugs that exist, at least one test for each promise."""

from __future__ import annotations

import re

from tests.actors.planting import PLANTED
from tests.house.tree import ROOT, source_of
from tests.simulation.mutants.catalogue import MUTANTS

PAGE = (ROOT / "docs" / "explanation" / "guarantees.md").read_text("utf-8")
ROWS = re.findall(r"^\| (G\d+) \| \[(test_\w+)\]\(\.\./\.\./(\S+)\) \| (.+) \|$", PAGE, re.MULTILINE)


def test_every_promise_has_a_test_and_a_planted_bug() -> None:
    assert [promise for promise, *_ in ROWS] == [f"G{number}" for number in range(1, 13)]


def test_every_test_that_is_named_exists() -> None:
    for promise, name, file, _ in ROWS:
        assert name in dict(source_of(ROOT / file).functions), f"{promise}: {file} has no {name}"


def test_every_planted_bug_that_is_named_exists_and_breaks_that_promise() -> None:
    breaks = {mutant.name: mutant.breaks.split() for mutant in MUTANTS}
    breaks |= {name: [promise] for name, (promise, _) in PLANTED.items()}
    assert not [row for row in ROWS if row[0] not in breaks.get(row[3], [])]
