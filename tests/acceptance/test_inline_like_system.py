"""A saga that is run inline is decided as in an actor system: the same entries, the same outcome."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe import RetryPolicy, SagaDefinition, SagaError, SagaOrchestrator, SagaStep
from antistrophe.records import TimelineEntry
from antistrophe.testing import run_inline
from tests.core import steps_inline as steps

QUICK = RetryPolicy(max_attempts=3, initial_s=0.0)
SAGAS: dict[str, list[SagaStep]] = {
    "completes": [steps.Work("one", output=(1, {2})), steps.AsyncWork("two")],
    "is undone": [steps.Work("one"), steps.greet("you"), steps.Fail("raise", retry=QUICK)],
    "exits": [steps.Work("one"), steps.Fail("exit")],
    "lazy": [steps.Fail("lazy"), steps.Fail("lazy later", "two"), steps.Fail("lazy together", "three")],
    "lazy coroutine": [steps.AsyncLazy("one"), steps.AsyncLazy("two", events=1)],
    "lazy coroutine fails": [steps.AsyncLazy("one"), steps.AsyncLazy("two", events=3)],
    "lazy fails": [steps.Work("one"), steps.Fail("lazy fails", retry=QUICK)],
    "lazy later fails": [steps.Work("one"), steps.Fail("lazy later fails", retry=QUICK)],
    "wrong result": [steps.Work("one"), steps.Fail("wrong result", retry=QUICK)],
    "stops its loop": [steps.Work("one"), steps.Fail("stop the loop", retry=QUICK)],
    "lazy undo": [steps.LazyUndo("one"), steps.Fail("raise")],
    "doubt in a task group": [steps.Work("one"), steps.Fail("doubt in a task group", retry=QUICK)],
    "fatal in a group": [steps.Work("one"), steps.Fail("fatal in a group", retry=QUICK)],
    "exit in a group": [steps.Work("one"), steps.Fail("exit in a group", retry=QUICK)],
    "cause": [steps.Work("one"), steps.Fail("cause", retry=QUICK)],
    "exits with words": [steps.Work("one"), steps.Fail("exit with words")],
    "exits with an object": [steps.Work("one"), steps.Fail("exit with an object")],
    "exits without words": [steps.Work("one"), steps.Fail("exit without words")],
    "too large": [steps.AsyncWork("one"), steps.Fail("large")],
    "late": [steps.Work("one"), steps.Late(name="Late")],
    "verified": [steps.Verified(), steps.Verified(name="not", answer="not")],
    "retried": [steps.Fail("raise", until=3, retry=QUICK), steps.BadUndo(2, compensation_retry=QUICK)],
    "parked": [steps.BadUndo(9, compensation_retry=QUICK), steps.Fail("doubt")],
}


@pytest.fixture(scope="module")
def orchestrator(shared_home: Path) -> Iterator[SagaOrchestrator]:
    with SagaOrchestrator(shared_home) as opened:
        yield opened


def entries(timeline: list[TimelineEntry]) -> list[tuple[object, ...]]:
    return [(each.kind, *(each.data.get(name) for name in ("step", "action", "attempt"))) for each in timeline]


@pytest.mark.parametrize("kind", [steps.SetsContext, steps.AsyncSetsContext])
def test_no_call_sees_what_another_has_set_in_its_context(
    orchestrator: SagaOrchestrator, kind: type[steps.SetsContext]
) -> None:
    seen: dict[int, list[steps.Seen]] = {}
    deadline = time.monotonic() + 30.0
    number = 0
    while max(map(len, seen.values()), default=0) < 3:
        assert time.monotonic() < deadline, "no process was used three times"
        number += 1
        saga = SagaDefinition(f"context-{kind.__name__}-{number}").add_step(kind("one"))
        for each in orchestrator.execute(saga):
            assert isinstance(each, steps.Seen)
            seen.setdefault(each.pid, []).append(each)
    for each in (each for found in seen.values() for each in found):
        assert (each.built_for, each.tenant, each.precision) == ("of the module", "built for one", 28)


@pytest.mark.parametrize("name", SAGAS)
def test_the_same_is_decided(orchestrator: SagaOrchestrator, name: str) -> None:
    saga = SagaDefinition(name)
    for step in SAGAS[name]:
        saga = saga.add_step(step)
    with steps.recording():
        inline = run_inline(saga)
    try:
        said: object = orchestrator.execute(saga)
    except SagaError as error:
        said = str(error)
    # A system without a process at hand accepts a saga first, and so says that it waits; the machine decides the rest.
    there = [entry for entry in orchestrator.get_timeline(saga.id) if entry.kind != "SagaWaits"]
    assert entries(inline.timeline) == entries(there)
    assert (inline.events if inline.error is None else str(inline.error)) == said
