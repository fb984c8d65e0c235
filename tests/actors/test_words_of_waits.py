"""What a caller hears whose saga takes long: each TimeoutError says what it waits for, and the log says it once."""

from __future__ import annotations

import asyncio
import importlib
import logging
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from antistrophe import (
    AsyncSagaOrchestrator,
    RetryPolicy,
    SagaDefinition,
    SagaOrchestrator,
    SagaStatus,
    Settings,
    SystemUnavailableError,
)
from antistrophe.client import pending_request, start_up_warning
from antistrophe.client.start_up_warning import StartUpWarning
from antistrophe.client.where_it_stands import where_it_stands
from antistrophe.launcher import slow_start
from tests.actors.many_waits import Gate
from tests.actors.steps import Fail, one
from tests.waiting import until


@dataclass(frozen=True)
class Retried(Fail):
    """Fails, and is tried again in ten minutes."""

    retry = RetryPolicy(5, 600.0, max_s=600.0, jitter=False)


STEP = """
from dataclasses import dataclass
from antistrophe import SagaStep
from antistrophe.definition.code_loading import inside_step_process

if inside_step_process():
    {at_import}

@dataclass(frozen=True)
class Pay(SagaStep):
    requires_compensation = False

    def execute(self):
        return None
"""


@pytest.fixture
def orchestrator(tmp_path: Path) -> Iterator[SagaOrchestrator]:
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5, max_running_sagas=1)) as opened:
        yield opened


def step_of(folder: Path, name: str, at_import: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A step of a module that does this where a step process imports it."""
    (folder / f"{name}.py").write_text(STEP.format(at_import=at_import))
    monkeypatch.syspath_prepend(str(folder))
    module = importlib.import_module(name)
    monkeypatch.setitem(sys.modules, name, module)
    return module.Pay()


def text_of(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(TimeoutError) as caught:
        call(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("at_import", "says"),
    [
        ("raise ImportError('no driver for the ledger')", "no driver for the ledger"),
        ("import time; time.sleep(600.0)", "a step process to execute Pay"),
    ],
    ids=["fails", "hangs"],
)
def test_an_import_that_keeps_a_saga_from_beginning_is_told(
    orchestrator: SagaOrchestrator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    at_import: str,
    says: str,
) -> None:
    name = f"ledger_that_{'fails' if says.startswith('no driver') else 'hangs'}"
    saga = SagaDefinition("pays").add_step(step_of(tmp_path, name, at_import, monkeypatch))
    for module in (pending_request, start_up_warning):  # long before the calls end, on a busy machine too
        monkeypatch.setattr(module, "WARN_AFTER_S", 1.0)
    handle = orchestrator.start(saga)
    until(lambda: says in (handle.metadata().waiting or ""), "the reason is known")
    texts: list[str] = []
    callers = [threading.Thread(target=lambda: texts.append(text_of(handle.result, timeout_s=6.5))) for _ in range(3)]
    with caplog.at_level(logging.WARNING, logger="antistrophe"):
        for each in callers:
            each.start()
        for each in callers:
            each.join()
    assert len(texts) == 3
    for text in texts:
        assert text.startswith("saga 'pays' has not ended within 6.5 s: it waits: ")
        assert says in text
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1, lines
    assert lines[0].startswith("saga 'pays' has not begun after 1 s. It waits: ")
    assert says in lines[0]
    assert "system.log" in lines[0]
    text = text_of(orchestrator.wait_idle, 0.1)
    assert "1 saga(s) of" in text
    assert "'pays': it waits: " in text
    assert says in text


def test_each_place_where_a_saga_may_stand_is_named(orchestrator: SagaOrchestrator, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = orchestrator.start(one("first", Gate(str(gate))))
    pid = until(lambda: first.metadata().steps[0].pid, "it runs")
    assert text_of(first.outputs, timeout_s=0.05).endswith(f"0.05 s: step 0 (Gate) runs, in process {pid}")
    second = orchestrator.start(one("second", Gate(str(gate))))
    assert "it waits: its turn: max_running_sagas lets 1 run" in text_of(second.result, timeout_s=0.05)
    text = text_of(orchestrator.wait_idle, 0.05)
    assert "'first': step 0 (Gate) runs" in text
    assert "'second': it waits: its turn" in text
    for number in range(4):
        orchestrator.start(one(f"more-{number}", Gate(str(gate))))
    assert text_of(orchestrator.wait_idle, 0.05).endswith("; and 3 more")
    text = text_of(orchestrator.execute, one("second", Gate(str(gate))), if_live="join", timeout_s=0.05)
    assert "its turn" in text
    gate.touch()
    orchestrator.wait_idle(30.0)


def test_a_retry_and_an_unknown_saga_are_named(orchestrator: SagaOrchestrator) -> None:
    handle = orchestrator.start(one("retried", Retried()))
    until(lambda: handle.metadata().steps[0].attempts == 1 and handle.metadata().waiting, "it waits")
    assert "it waits: the next attempt to execute Retried comes at " in text_of(handle.result, timeout_s=0.01)
    assert "not accepted" in where_it_stands(None)
    handle.cancel()
    orchestrator.wait_idle(30.0)
    assert where_it_stands(handle.metadata()) == "it is compensated"
    assert handle.status() is SagaStatus.COMPENSATED


def test_an_asyncio_wait_says_it_too(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def main() -> tuple[str, str]:
        async with AsyncSagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as orchestrator:
            handle = await orchestrator.start(one("first", Gate(str(gate))))
            while (await handle.metadata()).steps[0].pid is None:
                pass
            with pytest.raises(TimeoutError) as result:
                await handle.result(timeout_s=0.05)
            with pytest.raises(TimeoutError) as idle:
                await orchestrator.wait_idle(timeout_s=0.05)
            await asyncio.to_thread(gate.touch)
            await handle.result(timeout_s=30.0)
            return str(result.value), str(idle.value)

    result, idle = asyncio.run(main())
    assert "step 0 (Gate) runs, in process" in result
    assert "'first': step 0 (Gate) runs, in process" in idle


def test_a_system_that_does_not_come_up_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slow_start, "WARN_AFTER_S", 0.2)
    monkeypatch.setattr("sys.executable", "/bin/false")
    with (
        caplog.at_level(logging.WARNING, logger="antistrophe"),
        pytest.raises(SystemUnavailableError),
    ):
        SagaOrchestrator(tmp_path / "home", settings=Settings(open_timeout_s=4.0))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1, lines
    # How far it came in 0.2 s depends on how busy the machine is.
    state = r"(a launcher was started|the launcher that was started .*)"
    assert re.fullmatch(f"no actor system for {re.escape(str(tmp_path / 'home'))} after 0.2 s: {state}", lines[0])


def test_a_reason_is_told_once_and_a_few_reasons_only(
    orchestrator: SagaOrchestrator, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    orchestrator.start(one("first", Gate(str(gate))))
    saga = orchestrator.start(one("second", Gate(str(gate)))).metadata()
    warning = StartUpWarning(tmp_path)
    assert [warning.is_due(), warning.is_due()] == [True, False]
    with caplog.at_level(logging.WARNING, logger="antistrophe"):
        warning.tell(saga)
        warning.tell(saga)
    assert len(caplog.records) == 1
    gate.touch()
    orchestrator.wait_idle(30.0)
