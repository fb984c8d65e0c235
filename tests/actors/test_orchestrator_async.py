"""The orchestrator for asyncio, against a running system."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from antistrophe import (
    AsyncSagaOrchestrator,
    RequestError,
    SagaCancelledError,
    SagaNotFoundError,
    SagaStatus,
    Settings,
    StepFailedError,
    SystemStateError,
)
from antistrophe.linux.termination import processes_of_home
from tests.actors.steps import Fail, Noted, Return, WaitFor, notes, one
from tests.killing import await_end
from tests.waiting import until


def waiting_threads() -> int:
    return sum(thread.name.startswith("antistrophe-wait") for thread in threading.enumerate())


def test_every_call_is_there_and_awaited(tmp_path: Path) -> None:
    async def main() -> None:
        gate = tmp_path / "gate"
        async with AsyncSagaOrchestrator(tmp_path / "home") as orchestrator:
            assert await orchestrator.execute(notes("a", "1", "2")) == [Noted("1"), Noted("2")]
            with pytest.raises(StepFailedError):
                await orchestrator.execute(one("fails", Fail()))
            handle = await orchestrator.start(one("waits", WaitFor(str(gate))))
            assert await handle.status() is SagaStatus.EXECUTING
            assert await orchestrator.running_count() == 1
            assert [saga.id for saga in await orchestrator.get_running_sagas()] == ["waits"]
            with pytest.raises(TimeoutError):
                await handle.result(timeout_s=0.1)
            with pytest.raises(TimeoutError):
                await orchestrator.wait_idle(0.1)
            assert await handle.cancel("no more") is True
            with pytest.raises(SagaCancelledError):
                await (await orchestrator.handle("waits")).result()
            await orchestrator.wait_idle(20.0)
            assert await orchestrator.history_count() == 3
            assert len(await orchestrator.get_history()) == 3
            assert len(await orchestrator.list_sagas(limit=2)) == 2
            assert await orchestrator.get_timeline("a")
            returns = await orchestrator.start(one("returns", Return({"receipt": 17})))
            assert await returns.outputs() == await orchestrator.get_outputs("returns") == {"Return": {"receipt": 17}}
            with pytest.raises(SagaNotFoundError):
                await orchestrator.get_outputs("nobody")
            assert await orchestrator.cancel("a") is False
            with pytest.raises(SagaNotFoundError):
                await orchestrator.handle("nobody")
            assert {record.role for record in await orchestrator.processes()} >= {"launcher", "supervisor"}
            assert orchestrator.event_store.version("a") == 2
            with pytest.raises(RequestError, match="hosts share a journal in PostgreSQL"):
                await orchestrator.hosts()
        assert processes_of_home(tmp_path / "home") == []

    asyncio.run(main())


def test_many_wait_at_the_same_time_while_the_loop_runs_and_others_are_answered(tmp_path: Path) -> None:
    async def main() -> None:
        gate = tmp_path / "gate"
        async with AsyncSagaOrchestrator(tmp_path / "home") as orchestrator:
            handle = await orchestrator.start(one("waits", WaitFor(str(gate))))
            waits = [asyncio.create_task(handle.result()) for _ in range(80)]
            await asyncio.sleep(0)
            assert await asyncio.wait_for(orchestrator.running_count(), 20.0) == 1
            assert await orchestrator.execute(notes("meanwhile", "x"), timeout_s=20.0) == [Noted("x")]
            assert not any(wait.done() for wait in waits)
            gate.touch()
            assert await asyncio.gather(*waits) == [[Noted("attempt 1")]] * 80

    asyncio.run(main())


def test_a_task_that_is_cancelled_leaves_its_saga_running_and_its_thread_free(tmp_path: Path) -> None:
    async def main() -> None:
        gate = tmp_path / "gate"
        async with AsyncSagaOrchestrator(tmp_path / "home") as orchestrator:
            task = asyncio.create_task(orchestrator.execute(one("left", WaitFor(str(gate)))))
            async for change in orchestrator.subscribe(from_position=0):
                if change.saga.id == "left":
                    break
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await (await orchestrator.handle("left")).status() is SagaStatus.EXECUTING
            requests = orchestrator._threads.session.requests
            await asyncio.to_thread(until, lambda: requests.waiting == 0, "the end of the cancelled call in its thread")
            gate.touch()
            assert await (await orchestrator.handle("left")).result(timeout_s=20.0)

    asyncio.run(main())


def test_a_subscription_sees_what_comes_after_it_and_loses_nothing_to_a_timeout(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncSagaOrchestrator(tmp_path / "home") as orchestrator:
            await orchestrator.execute(notes("before", "x"))
            changes = orchestrator.subscribe()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(changes), 0.05)
            await orchestrator.execute(notes("after", "x"))
            seen = []
            async for change in changes:
                seen.append(change)
                if change.saga.status is SagaStatus.COMPLETED:
                    break
            assert {change.saga.id for change in seen} == {"after"}
            waiting = asyncio.create_task(anext(changes, None))
            await asyncio.sleep(0)
            await changes.close()
            assert await asyncio.wait_for(waiting, 20.0) is None
            everything = [change async for change in aiter_of(orchestrator, len(seen) + 1)]
            assert everything[0].saga.id == "before"

    async def aiter_of(orchestrator: AsyncSagaOrchestrator, number: int):  # type: ignore[no-untyped-def]
        async with orchestrator.subscribe(from_position=0) as changes:
            for _ in range(number):
                yield await anext(changes)

    asyncio.run(main())


def test_closing_ends_what_waits(tmp_path: Path) -> None:
    async def main() -> None:
        settings = Settings(drain_s=0.0)
        orchestrator = await AsyncSagaOrchestrator(tmp_path / "home", settings=settings).open()
        handle = await orchestrator.start(one("waits", WaitFor(str(tmp_path / "never"))))
        waits = [asyncio.create_task(handle.result()) for _ in range(5)]
        await asyncio.to_thread(until, lambda: waiting_threads() == 5, "the threads that wait")
        await orchestrator.close()
        ends = await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 20.0)
        assert [type(end) for end in ends] == [SystemStateError] * 5
        assert processes_of_home(tmp_path / "home") == []

    asyncio.run(main())


def test_one_that_was_not_opened_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(SystemStateError, match="async with"):
            await AsyncSagaOrchestrator(tmp_path / "home").running_count()

    asyncio.run(main())


def test_one_whose_opening_was_cancelled_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        opening = asyncio.create_task(AsyncSagaOrchestrator(tmp_path / "home").open())
        await asyncio.to_thread(until, (tmp_path / "home").exists, "the beginning of the opening")
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    asyncio.run(main())
    await_end(tmp_path / "home")


def test_one_that_is_never_closed_is_complained_about(tmp_path: Path) -> None:
    async def main() -> None:
        orchestrator: AsyncSagaOrchestrator | None = await AsyncSagaOrchestrator(tmp_path / "home").open()
        with pytest.warns(ResourceWarning, match="never closed") as complaints:
            orchestrator = None  # noqa: F841 - nobody holds it any more
        assert [str(each.message).split("(")[0] for each in complaints] == ["AsyncSagaOrchestrator"]

    asyncio.run(main())
    await_end(tmp_path / "home")
