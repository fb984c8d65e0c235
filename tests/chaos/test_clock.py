"""A wall clock that jumps while the system runs, or between its lives, holds nothing up and cuts nothing short."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from antistrophe import RetryPolicy, SagaDefinition, SagaOrchestrator, SagaStatus, Settings
from tests.actors.staging import Stage, seen
from tests.chaos.clocks import VARIABLE

pytestmark = pytest.mark.usefixtures("injected")
SETTINGS = Settings(drain_s=0.3)
SOON_S = 30.0
HOURS = ("-7200", "7200", "0")


def test_a_clock_that_jumps_while_the_system_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "jumps")
    stage = Stage(tmp_path)
    patient = RetryPolicy(3, initial_s=0.3, multiplier=1.0, jitter=False)
    sagas = {
        "retried": stage.saga(stage.act("a", "raise", "ok", retry=patient)),
        "timed out": stage.saga(stage.act("a"), stage.act("b", "hang", timeout_s=0.4, kill_grace_s=0.2)),
        "in time": stage.saga(stage.act("a", "pause:0.3", timeout_s=20.0), deadline_s=600.0),
    }
    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as orchestrator:
        for saga in sagas.values():
            orchestrator.start(saga)
        orchestrator.wait_idle(SOON_S)
        ends = {what: seen(orchestrator, saga.id).status for what, saga in sagas.items()}
        assert ends == {
            "retried": SagaStatus.COMPLETED,
            "timed out": SagaStatus.COMPENSATED,
            "in time": SagaStatus.COMPLETED,
        }
        first, second = (
            entry.at for entry in orchestrator.get_timeline(sagas["retried"].id) if entry.kind == "AttemptStarted"
        )
        assert timedelta(seconds=0.3) <= second - first < timedelta(seconds=SOON_S)


def test_a_clock_that_is_set_between_two_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path)
    sagas: list[SagaDefinition] = []
    for number, off_s in enumerate(HOURS):
        monkeypatch.setenv(VARIABLE, off_s)
        with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as orchestrator:
            orchestrator.wait_idle(SOON_S)  # what the life before has left, whose time was another
            assert all(seen(orchestrator, saga.id).status is SagaStatus.COMPLETED for saga in sagas)
            saga = stage.saga(
                stage.act("a", "retryable:0.5", "ok", retry=RetryPolicy(2)), stage.act("b"), saga_id=f"life-{number}"
            )
            sagas.append(saga)
            orchestrator.start(saga)
            times = [entry.at for each in sagas for entry in orchestrator.get_timeline(each.id)]
            assert times == sorted(times), "the journal's time never goes back"
    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as orchestrator:
        orchestrator.wait_idle(SOON_S)
        assert all(seen(orchestrator, saga.id).status is SagaStatus.COMPLETED for saga in sagas)
