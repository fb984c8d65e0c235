"""One message is lost, of each type that a saga cannot do without: it goes on all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from antistrophe import RetryPolicy, SagaOrchestrator, SagaStatus, Settings
from tests.actors.staging import Stage, seen
from tests.chaos import losses

ROOT = Path(__file__).resolve().parents[2]


KINDS = (
    "StartSaga",
    "BeginSaga",
    "AskProcess",
    "ProcessGrant",
    "RunStep",
    "StepAnswer",
    "EndProcess",
    "ProcessDead",
    "ReturnProcess",
    "SagaEnded",
    "SagaSleeps",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saga_goes_on_without_a_message_that_was_lost(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = tmp_path / "losses"
    faults.mkdir()
    monkeypatch.setenv(losses.FOLDER, str(faults))
    monkeypatch.setenv(losses.FIRST, kind)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests' / 'chaos' / 'injected'}:{ROOT}")
    stage = Stage(tmp_path)
    sure: dict[str, Any] = {"idempotent": True, "retry": RetryPolicy(3, 0.05), "timeout_s": 1.0, "kill_grace_s": 0.2}
    saga = stage.saga(
        stage.act("first", **sure),
        stage.act("hangs once", "hang", "ok", **sure),
        stage.act("asks for time", "retryable:2.5", "ok", isolation="fresh", **sure),
    )
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.2, start_timeout_s=2.0)) as orchestrator:
        orchestrator.start(saga)
        orchestrator.wait_idle(50.0)
        status = seen(orchestrator, saga.id).status
    # Each process loses its first: where that is the call, a step whose calls are never made is given up at last.
    assert status is SagaStatus.COMPLETED or (kind == "RunStep" and status is SagaStatus.COMPENSATED)
    assert losses.counted(faults)["lost"]
