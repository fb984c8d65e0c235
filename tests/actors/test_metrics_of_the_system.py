"""The metrics of a home whose system runs: what it is asked, and that a scrape neither keeps it up nor waits for it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from antistrophe import SagaDefinition, SagaOrchestrator, Settings, StepFailedError
from antistrophe.linux.termination import processes_of_home
from antistrophe.metrics import running_system
from antistrophe.metrics.running_system import RunningSystem, ask
from tests.actors.steps import Fail, WaitFor, notes
from tests.contract.scraping import registry_of, scraped, value
from tests.waiting import until

A_BUSY_MACHINE_S = 20.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the system may take longer to answer than a scrape waits for it."""
    monkeypatch.setattr(running_system, "PROBE_S", A_BUSY_MACHINE_S)
    monkeypatch.setattr(running_system, "ANSWER_S", A_BUSY_MACHINE_S)


def test_a_system_tells_of_its_processes_and_is_down_once_nobody_is_attached(tmp_path: Path) -> None:
    home, gate = tmp_path / "home", tmp_path / "gate"
    registry = registry_of(home)
    with SagaOrchestrator(home, settings=Settings(drain_s=0.5)) as orchestrator:
        with pytest.raises(StepFailedError):
            orchestrator.execute(SagaDefinition("undone", name="pay").add_step(Fail()))
        handle = orchestrator.start(SagaDefinition("waits", name="wait").add_step(WaitFor(str(gate))))
        until(lambda: value(scraped(registry), "antistrophe_step_processes", state="working") == 1, "it works")
        found = scraped(registry)
        assert value(found, "antistrophe_up") == 1
        assert value(found, "antistrophe_registry_lag_seconds") < A_BUSY_MACHINE_S
        assert value(found, "antistrophe_journal_commits_total") >= 1
        assert 0 < value(found, "antistrophe_journal_commit_seconds_total") < 60
        assert value(found, "antistrophe_sagas", status="executing", name="wait") == 1
        assert value(found, "antistrophe_queue_length", reason="process") == 0
        assert value(found, "antistrophe_sagas_compensated_total", name="pay") == 1
        gate.touch()
        handle.result(60.0)
        assert value(scraped(registry), "antistrophe_sagas_completed_total", name="wait") == 1
    assert processes_of_home(home) == []
    found = scraped(registry)
    assert value(found, "antistrophe_up") == 0
    assert value(found, "antistrophe_sagas_completed_total", name="wait") == 1


def test_a_system_that_does_not_answer_keeps_no_scrape_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    with SagaOrchestrator(home, settings=Settings(drain_s=0.5)) as orchestrator:
        (supervisor,) = [each.pid for each in orchestrator.processes() if each.role == "supervisor"]
        monkeypatch.setattr(running_system, "ANSWER_S", 0.2)
        os.kill(supervisor, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            assert ask(home) == RunningSystem(up=True)
            assert time.monotonic() - begun < A_BUSY_MACHINE_S
        finally:
            os.kill(supervisor, signal.SIGCONT)
        monkeypatch.setattr(running_system, "ANSWER_S", A_BUSY_MACHINE_S)
        assert ask(home).processes is not None
        orchestrator.execute(notes("after", "a"))
