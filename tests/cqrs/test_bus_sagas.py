"""Handlers that start a saga: its events are the answer, and are in the store already."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from antistrophe.cqrs.bus import CommandBus
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.errors import CqrsError, SagaError, StepFailedError
from antistrophe.eventstore.store import EventStore
from tests.cqrs.shop import CreateUser, UserCreated, UserGreeted


@dataclass
class Sagas:
    """Stands for an orchestrator: runs a saga once for each id, and writes its events into the store itself."""

    store: EventStore
    runs: list[str] = field(default_factory=list)
    outcomes: dict[str, Any] = field(default_factory=dict)
    fail: SagaError | None = None

    def execute(self, saga: SagaDefinition, *, if_live: str) -> list[Any]:
        assert if_live == "join"
        if saga.id not in self.outcomes:
            self.runs.append(saga.id)
            self.outcomes[saga.id] = self.fail or self.written(saga)
        if isinstance(self.outcomes[saga.id], SagaError):
            raise self.outcomes[saga.id]
        return list(self.outcomes[saga.id])

    def written(self, saga: SagaDefinition) -> list[Any]:
        events = [UserCreated(saga.id), UserGreeted(saga.id)]
        self.store.append(saga.id, events, metadata={"saga": saga.id})
        return events


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with EventStore(tmp_path / "events.db") as opened:
        yield opened


@pytest.fixture
def sagas(store: EventStore) -> Sagas:
    return Sagas(store)


@pytest.fixture
def bus(store: EventStore, sagas: Sagas) -> CommandBus:
    made = CommandBus(store, sagas=sagas)
    made.register(CreateUser, lambda command: SagaDefinition(f"create-{command.name}"))
    return made


ANSWER = [UserCreated("create-Ada"), UserGreeted("create-Ada")]


@pytest.mark.parametrize("key", [None, "key"])
def test_the_dispatch_answers_with_the_sagas_events_which_are_stored_once(
    bus: CommandBus, store: EventStore, sagas: Sagas, key: str | None
) -> None:
    for _ in range(3):
        assert bus.dispatch(CreateUser("Ada"), key) == ANSWER
    stored = store.read()
    assert [each.event for each in stored] == ANSWER
    assert {each.metadata["saga"] for each in stored} == {"create-Ada"}
    assert sagas.runs == ["create-Ada"]


def test_a_saga_that_did_not_complete_raises_and_is_not_remembered_by_the_bus(bus: CommandBus, sagas: Sagas) -> None:
    failure = StepFailedError(saga_id="create-Ada", step_index=0, step_name="S", error="no", error_type="ValueError")
    sagas.fail = failure
    for _ in range(2):
        with pytest.raises(StepFailedError) as caught:
            bus.dispatch(CreateUser("Ada"), "key")
        assert caught.value is failure
    assert sagas.runs == ["create-Ada"]  # the saga itself is remembered by its id


def test_a_dispatch_that_died_after_its_saga_joins_that_saga(bus: CommandBus, store: EventStore, sagas: Sagas) -> None:
    class Killed(BaseException):
        """Nothing of this process runs any more."""

    def die(saga: SagaDefinition, *, if_live: str) -> list[Any]:
        Sagas.execute(sagas, saga, if_live=if_live)
        raise Killed

    sagas.execute = die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        bus.dispatch(CreateUser("Ada"), "key")
    del sagas.execute
    assert bus.dispatch(CreateUser("Ada"), "key") == ANSWER
    assert sagas.runs == ["create-Ada"]
    assert len(store.get_all_events()) == 2


def test_a_handler_may_start_the_saga_itself_and_return_its_handle(bus: CommandBus, sagas: Sagas) -> None:
    class Handle:
        def __init__(self, saga: SagaDefinition) -> None:
            self.id = saga.id
            self.saga = saga

        def result(self, timeout_s: float | None = None) -> list[Any]:
            return sagas.execute(self.saga, if_live="join")

    bus.register(CreateUser, lambda command: Handle(SagaDefinition(f"create-{command.name}")), replace=True)
    assert bus.dispatch(CreateUser("Ada"), "key") == ANSWER


def test_an_async_orchestrator_is_awaited(store: EventStore, sagas: Sagas) -> None:
    class AsyncSagas:
        async def execute(self, saga: SagaDefinition, *, if_live: str) -> list[Any]:
            loops.append(asyncio.get_running_loop())
            return sagas.execute(saga, if_live=if_live)

    loops: list[Any] = []
    bus = CommandBus(store, sagas=AsyncSagas())
    bus.register(CreateUser, lambda command: SagaDefinition(f"create-{command.name}"))

    async def main() -> None:
        assert await bus.dispatch_async(CreateUser("Ada"), "key") == ANSWER
        assert loops == [asyncio.get_running_loop()]

    asyncio.run(main())


def test_without_an_orchestrator_a_saga_is_refused(store: EventStore) -> None:
    bus = CommandBus(store)
    bus.register(CreateUser, lambda command: SagaDefinition("s"))
    with pytest.raises(CqrsError, match=r"CommandBus\(store, sagas=orchestrator\)"):
        bus.dispatch(CreateUser("Ada"), "key")
