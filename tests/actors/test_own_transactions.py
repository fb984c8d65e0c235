"""What needs the journal's write lock is refused at once where the caller has a transaction open on the journal."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from antistrophe import AsyncSagaOrchestrator, RequestError, SagaOrchestrator, SagaStatus, Settings
from antistrophe.client import pending_request
from antistrophe.cqrs import EventStore, ProjectionRegistry
from antistrophe.journal import journal_path
from tests.actors.steps import Noted, WaitFor, notes, one
from tests.cqrs.totals import SqlTotals
from tests.waiting import until

REFUSED = "has a transaction open there itself"

CALLS: dict[str, Callable[[SagaOrchestrator], object]] = {
    "execute": lambda system: system.execute(notes("refused", "a")),
    "start": lambda system: system.start(notes("refused", "a")),
    "result": lambda system: system.handle("live").result(),
    "outputs": lambda system: system.handle("live").outputs(),
    "cancel": lambda system: system.cancel("live"),
    "cancel by its handle": lambda system: system.handle("live").cancel(),
    "retry": lambda system: system.retry_compensation("parked"),
    "resolve": lambda system: system.resolve("parked", "Stay", "done by hand"),
    "wait until all is idle": lambda system: system.wait_idle(),
}


def append_through_another_connection(system: SagaOrchestrator) -> None:
    with EventStore(journal_path(system.home)) as other:
        other.append("other", [Noted("b")])


CALLS["append to another store"] = append_through_another_connection


@pytest.fixture(scope="module")
def system_settings() -> Settings:
    return Settings(drain_s=0.5, max_step_processes=6)


@pytest.fixture(scope="module", autouse=True)
def sagas(system: SagaOrchestrator) -> None:
    """One saga that runs as long as these tests, and one that has ended."""
    home = system.home
    system.start(one("live", WaitFor(str(home / "never"))))
    system.start(one("ended", WaitFor(str(home))))
    system.handle("ended").result(30.0)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_would_wait_for_its_own_caller_is_refused(
    system: SagaOrchestrator, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_request, "JOURNAL_PATIENCE_S", 50.0)
    began = time.monotonic()
    with system.event_store.transaction() as transaction:
        transaction.append("mine", [Noted("a")])
        with pytest.raises(RequestError, match=REFUSED):
            CALLS[call](system)
    assert time.monotonic() - began < 25.0, "nobody waits for the lock"
    assert system.get_saga("refused") is None
    assert system.event_store.version("mine") > 0, "the transaction is not harmed"


def test_reading_and_what_has_ended_are_no_reason_to_refuse(system: SagaOrchestrator) -> None:
    with system.event_store.transaction():
        assert system.handle("ended").status() is SagaStatus.COMPLETED
        assert len(system.handle("ended").result()) == 1
        assert system.running_count() >= 1


def test_a_transaction_of_another_file_is_no_reason_to_refuse(system: SagaOrchestrator, tmp_path: Path) -> None:
    with EventStore(tmp_path / "events.db") as store, store.transaction():
        assert len(system.execute(notes("beside", "a"))) == 1


def test_another_thread_and_a_later_call_are_not_refused(system: SagaOrchestrator) -> None:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(system.execute(notes("by another", "a"))))
    with system.event_store.transaction():
        thread.start()
    thread.join(30.0)
    assert len(results) == 1
    assert len(system.execute(notes("later", "a"))) == 1


ASYNC_CALLS: dict[str, Callable[[AsyncSagaOrchestrator], Awaitable[Any]]] = {
    "execute": lambda system: system.execute(notes("refused", "a")),
    "start": lambda system: system.start(notes("refused", "a")),
    "cancel": lambda system: system.cancel("live"),
    "wait until all is idle": lambda system: system.wait_idle(),
}


@pytest.mark.parametrize("call", ASYNC_CALLS)
def test_a_task_is_refused_too(system: SagaOrchestrator, call: str) -> None:
    async def main() -> None:
        async with AsyncSagaOrchestrator(system.home) as orchestrator:
            with orchestrator.event_store.transaction():
                with pytest.raises(RequestError, match=REFUSED):
                    await ASYNC_CALLS[call](orchestrator)
                with pytest.raises(RequestError, match=REFUSED):
                    await asyncio.to_thread(system.execute, notes("refused", "a"))
            assert len(await orchestrator.execute(notes(f"after {call}", "a"))) == 1

    asyncio.run(main())
    assert system.get_saga("refused") is None


def test_a_projection_that_starts_a_saga_in_its_transaction_fails_by_name(system: SagaOrchestrator) -> None:
    class Starting(SqlTotals):
        def apply_in(self, connection: Any, recorded_event: Any) -> None:
            system.start(notes("refused", "a"))

    with ProjectionRegistry(system.event_store) as registry:
        registry.register("starting", Starting)
        registry.start_subscription()
        system.event_store.append("more", [Noted("a")])
        failed = until(lambda: registry.get_metadata("starting").failed, "the projection's failure")
        assert REFUSED in failed
    assert system.get_saga("refused") is None
