"""``@on_worker_start``: made once in each process, before its first attempt, and closed at its end."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antistrophe import (
    SagaDefinition,
    SagaOrchestrator,
    SagaStatus,
    SagaStep,
    Settings,
    StepFailedError,
)
from antistrophe.linux.termination import processes_of_home
from antistrophe.testing import run_inline, verify_compensable
from tests.actors.staging import running, wait_for_status
from tests.actors.steps_worker import (
    Ask,
    AskAlone,
    AskForNothing,
    AskThread,
    AskThreadFresh,
    Lazy,
    wait_for_notes,
)
from tests.waiting import until

SETTINGS = Settings(max_async_processes=1, max_step_processes=1, drain_s=0.3)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the application, and so that of its step processes."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def system(folder: Path) -> Iterator[SagaOrchestrator]:
    yield from running(folder / "home", SETTINGS)


def outputs(system: SagaOrchestrator, *steps: SagaStep, count: int = 1) -> list[Any]:
    """What the steps return, one saga after another."""
    found: list[Any] = []
    for number in range(count):
        saga = SagaDefinition(f"{type(steps[0]).__name__}-{number}")
        for step in steps:
            saga = saga.add_step(step)
        found += system.start(saga).outputs(30.0).values()
    return found


@pytest.mark.parametrize("step", [Ask(), AskAlone(), AskThread()], ids=lambda step: type(step).__name__)
def test_it_lives_as_long_as_the_process_and_is_closed_with_it(folder: Path, step: SagaStep) -> None:
    with SagaOrchestrator(folder / "home", settings=SETTINGS) as system:
        found = outputs(system, step, count=3)
    assert [each["answer"] for each in found] in ([1, 2, 3], [True] * 3)
    assert len({tuple(each["pids"]) for each in found}) == 1, "one process, and one child of it"
    assert not any(each["locked"] for each in found)
    pid = str(found[0]["pids"][0])
    for line in ("started client", "started thread", "closed client", "closed thread", "closed group"):
        assert wait_for_notes(folder, line, 1) == [pid]
    assert processes_of_home(folder / "home") == []


def test_a_fresh_process_makes_and_closes_its_own(system: SagaOrchestrator, folder: Path) -> None:
    found = outputs(system, AskThreadFresh(), count=2)
    pids = [str(each["pids"][0]) for each in found]
    assert [each["answer"] for each in found] == [True, True]
    assert len(set(pids)) == 2
    assert set(pids) <= set(wait_for_notes(folder, "closed thread", 2))


def test_an_idle_process_that_is_retired_closes_what_it_has(folder: Path) -> None:
    settings = Settings(max_step_processes=1, max_async_processes=1, drain_s=0.3, idle_process_s=0.2)
    with SagaOrchestrator(folder / "home", settings=settings) as system:
        (one,) = outputs(system, AskThread())
        (other,) = outputs(system, Ask())
        assert set(wait_for_notes(folder, "closed thread", 2)) == {str(one["pids"][0]), str(other["pids"][0])}
        until(lambda: not [each for each in system.processes() if each.role == "idle"], "the processes to end")


def test_what_fails_keeps_the_saga_waiting_with_the_reason(
    system: SagaOrchestrator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "shop_steps.py").write_text(
        """
import os, time
from pathlib import Path
from antistrophe import step, on_worker_start

@on_worker_start
def broker():
    if not Path("repaired").exists():
        raise ConnectionError("no broker")

@step
def pay(ctx):
    Path("paid").touch()

@pay.compensation
def unpay(ctx): ...
"""
    )
    monkeypatch.syspath_prepend(folder)
    steps = importlib.import_module("shop_steps")
    handle = system.start(SagaDefinition("pay").add_step(steps.pay()))
    until(lambda: handle.metadata().waiting and "broker" in str(handle.metadata().waiting), "the reason")
    said = str(handle.metadata().waiting)
    assert "ConnectionError: no broker" in said
    assert "@on_worker_start" in said
    assert not (folder / "paid").exists()
    (folder / "repaired").touch()
    wait_for_status(system, "pay", SagaStatus.COMPLETED)


def test_what_hangs_is_ended_at_the_start_timeout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "hung_steps.py").write_text(
        """
import asyncio
from pathlib import Path
from antistrophe import step, on_worker_start

@on_worker_start
async def broker():
    await asyncio.sleep(0 if Path("repaired").exists() else 3600)

@step
async def pay(ctx): ...

@pay.compensation
async def unpay(ctx): ...
"""
    )
    monkeypatch.syspath_prepend(folder)
    steps = importlib.import_module("hung_steps")
    with SagaOrchestrator(folder / "home", settings=replace(SETTINGS, start_timeout_s=2.0)) as system:
        handle = system.start(SagaDefinition("pay").add_step(steps.pay()))
        until(lambda: "@on_worker_start" in str(handle.metadata().waiting), "the reason")
        (folder / "repaired").touch()
        wait_for_status(system, "pay", SagaStatus.COMPLETED)


def test_a_task_that_a_call_leaves_is_told_why_it_ends(system: SagaOrchestrator, folder: Path) -> None:
    assert outputs(system, Lazy()) == [1]
    with pytest.raises(StepFailedError, match="@on_worker_start"):
        system.execute(SagaDefinition("again").add_step(Lazy()))
    log = (folder / "home" / "log" / "system.log").read_text()
    assert "Client._serve" in log
    assert "@on_worker_start" in log


def test_a_name_that_nobody_has_is_told_with_those_there_are(system: SagaOrchestrator) -> None:
    with pytest.raises(StepFailedError, match="'client', 'thread', 'group', 'child', 'lock'") as failed:
        system.execute(SagaDefinition("nothing").add_step(AskForNothing()))
    assert failed.value.error_type == "ResourceNotFoundError"


def test_inline_it_is_made_for_the_run_and_closed_after_it(folder: Path) -> None:
    saga = SagaDefinition("inline").add_step(Ask()).add_step(AskAlone()).add_step(AskThread())
    assert run_inline(saga).status is SagaStatus.COMPLETED
    assert len(wait_for_notes(folder, "started client", 1)) == 1
    assert len(wait_for_notes(folder, "closed client", 1)) == 1
    assert len(wait_for_notes(folder, "closed group", 1)) == 1


def test_it_works_inline_beside_a_loop_that_runs(folder: Path) -> None:
    async def beside() -> SagaStatus:
        return run_inline(SagaDefinition("inline").add_step(Ask()).add_step(Ask("again"))).status

    assert asyncio.run(beside()) is SagaStatus.COMPLETED


def test_a_verification_has_it_too(folder: Path) -> None:
    saga = SagaDefinition("verified").add_step(AskThread()).add_step(Ask())
    only = ("all-steps-then-undo", "execute/Ask/hang-before")
    report = verify_compensable(saga, home=folder / "home", only=only)
    assert report.ok, str(report)
