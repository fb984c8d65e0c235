"""Calls of an asyncio application that wait for the ends of sagas, where all threads that wait are taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from antistrophe import AsyncSagaOrchestrator, SagaStatus, Settings, StepFailedError, SystemStateError
from antistrophe.client import call_threads
from antistrophe.errors import CompensationFailedError
from antistrophe.linux.termination import processes_of_home
from tests.actors.steps import Fail, Noted, Return, Stay, WaitFor, notes, one

pytestmark = pytest.mark.timeout(120)

Scene = Callable[[AsyncSagaOrchestrator, Path], Awaitable[None]]


def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scene: Scene) -> None:
    """Run the scene where two calls, which wait for sagas that do not end by themselves, have the only two threads."""
    monkeypatch.setattr(call_threads, "_MAX_WAITS", 2)
    gate = tmp_path / "gate"

    async def main() -> None:
        async with AsyncSagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.0)) as orchestrator:
            waits = [asyncio.create_task(orchestrator.execute(one(f"w{n}", WaitFor(str(gate))))) for n in range(2)]
            begun: set[str] = set()
            async for change in orchestrator.subscribe(from_position=0):
                begun.add(change.saga.id)
                if len(begun) == 2:
                    break
            await scene(orchestrator, gate)
            if orchestrator._threads.opened:
                gate.touch()
                assert await asyncio.gather(*waits) == [[Noted("attempt 1")]] * 2
            else:
                ends = await asyncio.gather(*waits, return_exceptions=True)
                assert {type(end) for end in ends} == {SystemStateError}

    asyncio.run(main())
    assert processes_of_home(tmp_path / "home") == []


def test_sagas_run_and_their_ends_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(orchestrator: AsyncSagaOrchestrator, gate: Path) -> None:
        many = [orchestrator.execute(notes(f"n{n}", str(n))) for n in range(20)]
        assert await asyncio.gather(*many) == [[Noted(str(n))] for n in range(20)]
        with pytest.raises(StepFailedError):
            await orchestrator.execute(one("fails", Fail()))
        with pytest.raises(CompensationFailedError):
            await orchestrator.execute(one("parked", Stay(str(gate))).add_step(Fail()))
        handle = await orchestrator.start(one("returns", Return(17)))
        assert await handle.outputs() == {"Return": 17}
        assert await (await orchestrator.handle("n7")).result() == [Noted("7")]

    played(tmp_path, monkeypatch, scene)


def test_a_limit_of_time_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(orchestrator: AsyncSagaOrchestrator, gate: Path) -> None:
        for timeout_s in (0.0, 0.2):
            with pytest.raises(TimeoutError, match=rf"saga 'w0' has not ended within {timeout_s:g} s: .*WaitFor"):
                await (await orchestrator.handle("w0")).result(timeout_s=timeout_s)
        with pytest.raises(TimeoutError, match=r"saga 'late' has not ended within 0.3 s"):
            await orchestrator.execute(one("late", WaitFor(str(gate))), timeout_s=0.3)
        assert await (await orchestrator.handle("late")).status() is SagaStatus.EXECUTING

    played(tmp_path, monkeypatch, scene)


def test_one_that_is_cancelled_leaves_its_saga_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(orchestrator: AsyncSagaOrchestrator, gate: Path) -> None:
        handle = await orchestrator.start(one("left", WaitFor(str(gate))))
        task = asyncio.create_task(handle.result())
        other = asyncio.create_task(handle.result())
        await handle.status()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(gate.touch)
        assert await other == [Noted("attempt 1")]

    played(tmp_path, monkeypatch, scene)


def test_closing_ends_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(orchestrator: AsyncSagaOrchestrator, gate: Path) -> None:
        handle = await orchestrator.handle("w0")
        waits = [asyncio.create_task(handle.result()) for _ in range(5)]
        assert await orchestrator.running_count() == 2
        await orchestrator.close()
        ends = await asyncio.gather(*waits, return_exceptions=True)
        assert {type(end) for end in ends} == {SystemStateError}

    played(tmp_path, monkeypatch, scene)
