"""Each planted bug is caught, by the check that is named for it, in worlds that the machine as it is passes."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

import pytest

from tests.simulation.faults import Fault
from tests.simulation.mutants.catalogue import MUTANTS
from tests.simulation.mutants.lost_answers import LOST_ANSWERS
from tests.simulation.mutants.planting import Mutant, planted
from tests.simulation.oracle import goes_on, judge
from tests.simulation.properties import Check, Violation
from tests.simulation.scenario import MACHINERY, scenario_of
from tests.simulation.world import run

SEEDS = range(1_200)
"""A planted bug has to be caught in one of these worlds; the same in each run, for this is a test of the checks."""

ROUGH_SEEDS = (306, 1628, 2486)
"""Worlds whose server loses most answers, in which another one takes over at a bad moment: few in a thousand do."""

SEEDS_ON_SERVER = (*ROUGH_SEEDS, *range(400))
"""And one of a journal on a server in one of these."""

OF_SERVERS = frozenset(
    {Fault.COMMIT_UNKNOWN, Fault.FAIL_OVER, Fault.CRASH_AFTER_APPEND, Fault.ACTOR_FAILED, Fault.GRANT_LATE}
)

PREFIXES = 2

pytestmark = pytest.mark.timeout(300)


def findings(seed: int, *, on_server: bool = False) -> list[Violation]:
    """What the checks find in the world of that seed, and where it goes on from some prefixes of its journal."""
    faults = OF_SERVERS if on_server else MACHINERY
    rough = True if on_server and seed in ROUGH_SEEDS else None
    history = run(scenario_of(seed, faults=faults, on_server=on_server, rough_server=rough))
    found = judge(history)
    lengths = random.Random(seed)
    for _ in range(PREFIXES if history.journal else 0):
        found += goes_on(history, lengths.randint(1, len(history.journal)))
    return found


@pytest.fixture(scope="session")
def sound() -> None:
    """The machine as it is passes in every one of these worlds."""
    for seed in SEEDS:
        assert not findings(seed), f"world {seed}"


@pytest.fixture(scope="session")
def sound_on_server() -> None:
    """So it does where the journal is on a server."""
    for seed in SEEDS_ON_SERVER:
        assert not findings(seed, on_server=True), f"world {seed}"


def named(mutant: Mutant) -> str:
    return re.sub(r"[^a-z]+", "-", mutant.name.lower())


@pytest.mark.parametrize("mutant", MUTANTS, ids=named)
def test_a_planted_bug_is_caught(mutant: Mutant, sound: None) -> None:
    check(mutant, SEEDS, on_server=False)


@pytest.mark.parametrize("mutant", LOST_ANSWERS, ids=named)
def test_a_planted_bug_of_lost_answers_is_caught(mutant: Mutant, sound_on_server: None) -> None:
    check(mutant, SEEDS_ON_SERVER, on_server=True)


def check(mutant: Mutant, seeds: Iterable[int], *, on_server: bool) -> None:
    others: set[Check] = set()
    with planted(mutant):
        for seed in seeds:
            checks = {violation.check for violation in findings(seed, on_server=on_server)}
            if mutant.caught_by in checks:
                return
            others |= checks
    pytest.fail(f"{mutant.caught_by.name} noticed nothing in any of these worlds; others did: {others}")


def test_there_is_a_bug_for_every_property_and_promise() -> None:
    broken = {name for mutant in MUTANTS for name in mutant.breaks.split()}
    properties = {f"P{number}" for number in range(1, 9)}
    promises = {f"G{number}" for number in range(1, 8)} | {"G9"}
    assert broken >= properties | promises


def test_every_check_catches_a_bug() -> None:
    assert {mutant.caught_by for mutant in MUTANTS} == set(Check)


def test_a_mutant_is_gone_afterwards() -> None:
    before = [findings(seed) for seed in range(20)]
    with planted(MUTANTS[0]):
        pass
    assert [findings(seed) for seed in range(20)] == before == [[]] * 20
