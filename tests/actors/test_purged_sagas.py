"""What an application is told of a saga that was purged, while the system runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from antistrophe import (
    AsyncSagaOrchestrator,
    RequestError,
    SagaDefinition,
    SagaExistsError,
    SagaHandle,
    SagaOrchestrator,
    SagaStatus,
    Settings,
)
from tests.actors.staging import Stage, outcome
from tests.waiting import until


@pytest.fixture
def gone(system: SagaOrchestrator, stage: Stage) -> SagaDefinition:
    """A saga that has completed and was purged."""
    saga = stage.saga(stage.act("x"))
    system.execute(saga, timeout_s=30.0)
    assert system.purge(older_than=timedelta(0), name=saga.name).sagas == 1
    return saga


ASKED: dict[str, Callable[[SagaOrchestrator, SagaDefinition], Any]] = {
    "start": lambda system, saga: system.start(saga),
    "execute": lambda system, saga: system.execute(saga, timeout_s=30.0),
    "join": lambda system, saga: system.execute(saga, if_live="join", timeout_s=30.0),
    "handle": lambda system, saga: system.handle(saga.id),
    "result": lambda system, saga: SagaHandle(system._session, saga.id).result(30.0),
    "status": lambda system, saga: SagaHandle(system._session, saga.id).status(),
    "timeline": lambda system, saga: system.get_timeline(saga.id),
    "outputs": lambda system, saga: system.get_outputs(saga.id),
}


@pytest.mark.parametrize("asked", ASKED)
def test_who_asks_for_a_purged_saga_is_told_how_and_when_it_ended(
    system: SagaOrchestrator, stage: Stage, gone: SagaDefinition, asked: str
) -> None:
    with pytest.raises(SagaExistsError, match=r"was completed at .* purged") as caught:
        ASKED[asked](system, gone)
    assert caught.value.status is SagaStatus.COMPLETED
    assert caught.value.finished_at is not None
    assert caught.value.finished_at.tzinfo is not None
    assert stage.log.story(gone.id) == ["begin x", "done x"], "nothing runs again"


def test_a_purged_saga_is_in_no_list_and_no_order_has_an_effect(
    system: SagaOrchestrator, stage: Stage, gone: SagaDefinition
) -> None:
    assert system.get_saga(gone.id) is None
    assert system.list_sagas(name=gone.name).sagas == ()
    assert system.cancel(gone.id) is False
    with pytest.raises(RequestError, match="is completed: it has ended"):
        system.retry_compensation(gone.id)
    assert system.purge(timedelta(0), gone.name).sagas == 0


def test_parked_and_running_sagas_are_not_purged_and_the_others_are(system: SagaOrchestrator, stage: Stage) -> None:
    runs = system.start(stage.saga(stage.act("x", "gate:purge")))
    parked = stage.saga(stage.act("x", back="fatal:broken"), stage.act("y", "raise:why"))
    outcome(system, parked)
    undone = stage.saga(stage.act("x"), stage.act("y", "raise:why"))
    outcome(system, undone)
    before = system.history_count()
    assert system.purge(timedelta(0), undone.name, SagaStatus.COMPENSATED, dry_run=True).sagas == 1
    assert system.purge(timedelta(0), events=True).sagas >= 1
    assert system.history_count() < before
    assert system.get_saga(undone.id) is None
    assert runs.status() is SagaStatus.EXECUTING
    assert system.handle(parked.id).status() is SagaStatus.FAILED
    stage.log.open_gate("purge")
    runs.result(30.0)


def test_the_events_of_a_purged_saga_stay_and_a_subscription_goes_on(
    system: SagaOrchestrator, stage: Stage, gone: SagaDefinition
) -> None:
    assert [each.event for each in system.event_store.read_stream(gone.id)]
    following = stage.saga(stage.act("x"))
    with system.subscribe(from_position=0) as changes:
        system.execute(following, timeout_s=30.0)
        assert next(change.saga.id for change in changes if change.saga.id in (gone.id, following.id)) == following.id


def test_a_purge_can_be_awaited(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.act("x"))
    system.execute(saga, timeout_s=30.0)

    async def purge() -> int:
        async with AsyncSagaOrchestrator(system.home) as orchestrator:
            return (await orchestrator.purge(timedelta(0), saga.name)).sagas

    assert asyncio.run(purge()) == 1
    assert system.get_saga(saga.id) is None


def test_the_system_purges_what_the_settings_do_not_retain(stage: Stage, tmp_path: Path) -> None:
    with SagaOrchestrator(tmp_path / "home", settings=Settings(retain_finished=1)) as orchestrator:
        sagas = [stage.saga(stage.act("x")) for _ in range(3)]
        for saga in sagas:
            orchestrator.execute(saga, timeout_s=30.0)
        until(lambda: orchestrator.history_count() == 1, "two sagas are purged")
        assert [saga.id for saga in orchestrator.get_history()] == [sagas[-1].id]
        with pytest.raises(SagaExistsError):
            orchestrator.execute(sagas[0])
