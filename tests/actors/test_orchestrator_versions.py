"""Events of an older version in the journal: brought up to date in answers, and in the store of the orchestrator."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from antistrophe import AsyncSagaOrchestrator, SagaDefinition, SagaOrchestrator, StepFailedError
from antistrophe.cqrs import EventStore, InvalidUpcasterError, VersionRegistry
from antistrophe.errors import UnknownVersionError
from antistrophe.journal import journal_path
from tests.actors.steps import Fail, Noted, WaitFor
from tests.actors.steps_versions import Paid, PaidV1, PayOld
from tests.waiting import until

SAGA = "pay"


@pytest.fixture
def versions() -> VersionRegistry:
    registry = VersionRegistry()

    @registry.upcaster("test.paid", from_version=1)
    def to_cents(data: dict[str, Any]) -> dict[str, Any]:
        return {"cents": data["euros"] * 100}

    return registry


def pay(*others: Any) -> SagaDefinition:
    saga = SagaDefinition(SAGA).add_step(PayOld(5))
    for step in others:
        saga = saga.add_step(step)
    return saga


def test_a_saga_that_resumes_and_one_that_has_finished_answer_in_the_newest_version(
    home: Path, tmp_path: Path, versions: VersionRegistry
) -> None:
    gate = tmp_path / "gate"
    saga = pay(WaitFor(str(gate)))
    with SagaOrchestrator(home) as older:
        older.start(saga)
        until(lambda: older.event_store.version(SAGA) == 1, "the first step's event is in the file")
        assert older.event_store.get_events(SAGA) == [PaidV1(5)]
    gate.touch()
    with SagaOrchestrator(home, versions=versions) as newer:
        resumed = newer.handle(SAGA).result(timeout_s=30)
        assert resumed[0] == Paid(500)
        assert isinstance(resumed[1], Noted)
        assert newer.execute(saga) == resumed, "it has finished"
        assert newer.start(saga).result() == resumed
        assert newer.event_store.get_events(SAGA) == resumed
    with EventStore(journal_path(home)) as store:
        assert [each.type_version for each in store.read_stream(SAGA)] == [1, 1], "what is stored stays as it was"


def test_compensations_events_of_an_older_version_are_read_in_the_newest(home: Path, versions: VersionRegistry) -> None:
    with SagaOrchestrator(home, versions=versions) as orchestrator:
        with pytest.raises(StepFailedError):
            orchestrator.execute(pay(Fail()))
        stored = orchestrator.event_store.get_events(SAGA)
    assert stored == [Paid(500), Paid(-500)]


def test_for_asyncio_the_same(home: Path, versions: VersionRegistry) -> None:
    async def main() -> None:
        async with AsyncSagaOrchestrator(home, versions=versions) as orchestrator:
            assert await orchestrator.execute(pay()) == [Paid(500)]
            assert orchestrator.event_store.get_events(SAGA) == [Paid(500)]

    asyncio.run(main())


def test_without_versions_events_come_as_they_were_written(home: Path) -> None:
    with SagaOrchestrator(home) as orchestrator:
        assert orchestrator.execute(pay()) == [PaidV1(5)]


def test_what_can_not_be_brought_up_to_date_is_told_and_the_saga_stands_as_it_ended(home: Path) -> None:
    gap = VersionRegistry()
    gap.upcaster("test.paid", from_version=2)(dict)
    with SagaOrchestrator(home, versions=gap) as orchestrator:
        with pytest.raises(InvalidUpcasterError, match=r"'test\.paid' has no upcaster from version 1"):
            orchestrator.execute(pay())
        saga = orchestrator.get_saga(SAGA)
    assert saga is not None
    assert saga.status.name == "COMPLETED"


def test_a_newer_version_than_is_known_is_refused_by_name(
    home: Path, versions: VersionRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from antistrophe.definition import events

    with SagaOrchestrator(home, versions=VersionRegistry()) as orchestrator:
        monkeypatch.setitem(events._newest, "test.paid", 0)  # as if this program came from an even older release
        with pytest.raises(UnknownVersionError, match=r"'test\.paid' is of version 1"):
            orchestrator.execute(pay())
