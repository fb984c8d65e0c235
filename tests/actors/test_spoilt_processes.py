"""A process that a step has changed is as before for the next attempt, or is not lent again."""

from __future__ import annotations

import os

import pytest

from antistrophe import SagaDefinition, SagaOrchestrator, SagaStatus, Settings
from tests.actors.staging import outcome, seen
from tests.actors.steps_spoil import (
    FOR_GOOD,
    FOR_GOOD_AS_ROOT,
    LIMITS_LOWERED,
    PUT_BACK,
    Describe,
    DescribeShared,
    Spoil,
    SpoilShared,
)

RETIRED = [*FOR_GOOD, *(FOR_GOOD_AS_ROOT if os.geteuid() == 0 else ())]


@pytest.fixture(scope="module")
def system_settings() -> Settings:
    return Settings(drain_s=0.5, max_step_processes=1, spare_processes=0)


def described(
    system: SagaOrchestrator, saga_id: str, *, fails: bool = False, shared: bool = False
) -> tuple[dict[str, str], dict[str, str]]:
    """What the process is like before and after a step that spoils it."""
    what = saga_id.partition(": ")[2]
    spoil = SpoilShared(what) if shared else Spoil(what, fails=fails)
    describe = DescribeShared if shared else Describe
    assert outcome(system, SagaDefinition(f"{saga_id}: before").add_step(describe("description"))) == []
    told = outcome(system, SagaDefinition(saga_id).add_step(spoil))
    assert "no such account" in str(told) if fails else told == [], told
    assert outcome(system, SagaDefinition(f"{saga_id}: after").add_step(describe("description"))) == []
    before, after = (system.get_outputs(f"{saga_id}: {when}")["description"] for when in ("before", "after"))
    return before, after


@pytest.mark.parametrize("what", PUT_BACK)
def test_what_can_be_put_back_is_as_before_for_the_next_attempt(system: SagaOrchestrator, what: str) -> None:
    before, after = described(system, f"put back: {what}")
    assert before == after


@pytest.mark.parametrize("what", RETIRED)
def test_a_process_that_is_changed_for_good_is_ended_and_the_outcome_counts(
    system: SagaOrchestrator, what: str
) -> None:
    before, after = described(system, f"for good: {what}")
    assert before.pop("pid") != after.pop("pid")
    assert before == after
    assert any("of its process for good" in str(entry) for entry in system.get_timeline(f"for good: {what}"))
    assert seen(system, f"for good: {what}").status is SagaStatus.COMPLETED


@pytest.mark.parametrize("what", ["no files", "patched os", "stdout closed", "mask"])
def test_what_such_a_step_raised_counts_too(system: SagaOrchestrator, what: str) -> None:
    before, after = described(system, f"raises: {what}", fails=True)
    del before["pid"], after["pid"]
    assert before == after
    assert seen(system, f"raises: {what}").status is SagaStatus.COMPENSATED


NOT_SHARED = {"signal that is ignored", "signal handler", "default of a signal", "signal of the stacks", "wakeup"}
"""Only the main thread may change these, where no coroutine runs."""

NEEDED_BY_THE_LOOP = {"patched monotonic", "patched len"}
"""Without these the loop can't go on to anything, so the process ends in the midst of the call."""

OF_THE_MAIN_THREAD = {"end with the parent"}


@pytest.mark.parametrize("what", [what for what in PUT_BACK if what not in NOT_SHARED])
def test_a_shared_process_is_put_back_when_no_call_runs(system: SagaOrchestrator, what: str) -> None:
    before, after = described(system, f"shared: {what}", shared=True)
    assert before == after


@pytest.mark.parametrize("what", [each for each in RETIRED if each not in NEEDED_BY_THE_LOOP | OF_THE_MAIN_THREAD])
def test_a_shared_process_that_is_changed_for_good_makes_no_more_calls(system: SagaOrchestrator, what: str) -> None:
    before, after = described(system, f"shared for good: {what}", shared=True)
    assert before.pop("pid") != after.pop("pid")
    assert before == after


@pytest.mark.parametrize("what", LIMITS_LOWERED)
def test_a_hard_limit_that_is_lowered_harms_nobody_else(system: SagaOrchestrator, what: str) -> None:
    """Who may raise it again keeps the process."""
    before, after = described(system, f"lowers: {what}")
    del before["pid"], after["pid"]
    assert before == after
