"""What an application is told of a saga that was erased, while the system runs."""

from __future__ import annotations

import asyncio

import pytest

from antistrophe import AsyncSagaOrchestrator, SagaDefinition, SagaExistsError, SagaOrchestrator, SagaStatus
from tests.actors.staging import Stage
from tests.actors.steps import Noted, notes


def test_an_erased_saga_has_its_outcome_and_nothing_runs_again(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.act("x"))
    system.execute(saga, timeout_s=30.0)
    assert system.erase(saga.id)
    assert not system.erase(saga.id)
    assert system.execute(saga, timeout_s=30.0) == []
    assert system.handle(saga.id).outputs(30.0) == {}
    found = system.get_saga(saga.id)
    assert found is not None
    assert found.status is SagaStatus.COMPLETED
    with pytest.raises(SagaExistsError):
        system.execute(SagaDefinition(saga.id, name=saga.name), timeout_s=30.0)
    assert stage.log.story(saga.id) == ["begin x", "done x"]


def test_the_events_of_a_saga_are_erased_where_that_is_asked_for(system: SagaOrchestrator) -> None:
    system.execute(notes("noted", "x", "y"), timeout_s=30.0)
    system.event_store.append("noted", [Noted("by hand")])
    assert system.erase("noted")
    assert system.event_store.get_events("noted") == [Noted("x"), Noted("y"), Noted("by hand")]
    assert system.erase("noted", events=True)
    assert not system.erase("noted", events=True)
    assert [each.erased for each in system.event_store.read_stream("noted")] == [True, True, False]
    assert system.execute(notes("noted", "x", "y"), timeout_s=30.0) == []
    assert system.event_store.version("noted") == 3


def test_a_coroutine_erases_too(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.act("x"))
    system.execute(saga, timeout_s=30.0)

    async def ask() -> bool:
        async with AsyncSagaOrchestrator(system.home) as orchestrator:
            return await orchestrator.erase(saga.id, events=True)

    assert asyncio.run(ask())
    assert not system.erase(saga.id)
