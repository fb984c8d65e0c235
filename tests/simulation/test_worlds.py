"""The properties of the machine, over simulated worlds with faults of every kind.

``ANTISTROPHE_WORLDS=100000 pytest tests/simulation`` is the deep mode: so many worlds instead of 2,500.
"""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st

from antistrophe.saga.state import replay
from tests.simulation.conftest import Tally
from tests.simulation.faults import Fault
from tests.simulation.oracle import goes_on, judge
from tests.simulation.properties import Check
from tests.simulation.scenario import MACHINERY, Scenario, scenario_of
from tests.simulation.world import History, run

WORLDS = int(os.environ.get("ANTISTROPHE_WORLDS", "2500"))
WORLDS_PER_TEST = 2_500
PARTS = max(1, WORLDS // WORLDS_PER_TEST)

LEAST_WORLDS = 2_000
"""From so many worlds on, a kind of fault that never occurred is a fault of the simulation."""

PREFIXES_PER_WORLD = 2
WORLDS_WITH_ALL_PREFIXES = max(1, min(WORLDS, WORLDS_PER_TEST) // 20)
WORLDS_RUN_TWICE = max(1, min(WORLDS, WORLDS_PER_TEST) // 12)

pytestmark = pytest.mark.timeout(600)

worlds = settings(max_examples=min(WORLDS, WORLDS_PER_TEST), suppress_health_check=list(HealthCheck), database=None)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """A scenario that shrinks to few steps and few kinds of fault."""
    kinds = sorted(MACHINERY)
    few = st.sets(st.sampled_from(kinds), max_size=6).map(frozenset)
    faults = draw(few | st.just(MACHINERY) | st.just(MACHINERY) | st.just(MACHINERY))
    # Hypothesis draws evenly from a range of this size, but mostly small numbers from a larger one.
    number = draw(st.integers(0, 2**24 - 1))
    return scenario_of(number, most_steps=draw(st.sampled_from((1, 2, 3, 4, 4, 5))), faults=faults)


def _explain(history: History, problems: list[object]) -> str:
    lines = [f"{problem}" for problem in problems]
    return "\n".join([*lines, history.describe()])


@pytest.mark.parametrize("part", range(PARTS))
def test_every_world_keeps_every_promise(tally: Tally, run_seed: int, part: int) -> None:
    """Every property at once, for each world: see tests.simulation.properties for the list."""

    @seed(run_seed + part)  # else every part would draw the same worlds
    @worlds
    @given(scenario=scenarios())
    def a_world(scenario: Scenario) -> None:
        history = run(scenario)
        tally.take(history)
        problems: list[object] = [*judge(history)]
        rng = random.Random(scenario.seed)
        for _ in range(PREFIXES_PER_WORLD):
            problems += goes_on(history, rng.randint(1, len(history.journal)))
            tally.prefixes += 1
        assert not problems, _explain(history, problems)

    a_world()


def test_every_fault_has_really_occurred(tally: Tally) -> None:
    if tally.worlds < LEAST_WORLDS:
        pytest.skip(f"only {tally.worlds} worlds were run")
    never = [fault.value for fault in Fault if not tally.faults[fault]]
    assert not never, f"in {tally.worlds} worlds never seen: {never}"


def test_a_saga_goes_on_from_every_prefix_of_its_journal(tally: Tally) -> None:
    @settings(worlds, max_examples=WORLDS_WITH_ALL_PREFIXES)
    @given(scenario=scenarios())
    def a_world(scenario: Scenario) -> None:
        history = run(scenario)
        problems: list[object] = []
        for length in range(1, len(history.journal) + 1):
            problems += goes_on(history, length)
            tally.prefixes += 1
        assert not problems, _explain(history, problems)

    a_world()


@settings(max_examples=WORLDS_RUN_TWICE, database=None)
@given(scenario=scenarios())
@example(scenario=scenario_of(0))
def test_the_same_seed_is_the_same_world(scenario: Scenario) -> None:
    """A counter-example can be seen again."""
    one, two = run(scenario), run(scenario)
    assert one.journal == two.journal
    assert one.ledger.calls == two.ledger.calls
    assert one.faults == two.faults


@settings(max_examples=WORLDS_RUN_TWICE, database=None)
@given(scenario=scenarios())
def test_a_recovered_saga_is_the_saga_as_it_was(scenario: Scenario) -> None:
    """The fold has no other source than the entries: read again, a journal gives an equal state."""
    journal = run(scenario).journal
    assert replay(journal) == replay(list(journal))
    assert replay(journal).seq == len(journal)


def test_every_promise_has_a_name_of_its_own() -> None:
    assert len({check.value for check in Check}) == len(Check)
