"""A message is lost, of each type that a saga or its system cannot do without: it goes on all the same."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from antistrophe import RetryPolicy, SagaCancelledError, SagaError, SagaHandle, SagaOrchestrator, SagaStatus, Settings
from antistrophe.actors.saga.saga import SLEEP_FROM_S
from tests.actors.staging import Stage, seen
from tests.chaos import losses
from tests.chaos.rounds import LONG
from tests.waiting import until

SETTINGS = Settings(drain_s=2.0, start_timeout_s=3.0)
"""A host that is busy hears of the drain in time, and a process can start beside others."""

ASLEEP_S = SLEEP_FROM_S + 2.0
"""A wait that is still long enough to sleep when the host hears of it late."""

FIRST_WORDS = ("Configuration", "HostConfiguration", "StepConfiguration", "StepReady", "LoadCode", "CodeLoaded")
OF_A_SAGA = (
    "StartSaga",
    "BeginSaga",
    "RequestLease",
    "ProcessGrant",
    "RunStep",
    "StepAnswer",
    "EndProcess",
    "ProcessDead",
    "ReturnProcess",
    "SagaEnded",
    "SagaSleeps",
    "ResumeSaga",
    "DrainSagas",
)
OF_APPLICATIONS = ("OrderSaga", "SagaOrder", "AwaitSaga", "GetSaga", "RegistryQuery", "ListProcesses")
OF_A_STOP = ("ClientLeft", "Drain")
GROUPS = (FIRST_WORDS, OF_A_SAGA, (*OF_APPLICATIONS, *OF_A_STOP))
EACH = tuple((kind,) for group in GROUPS for kind in group) if LONG else ()


def end_of(handle: SagaHandle) -> object:
    try:
        return handle.result(60.0)
    except SagaError as error:
        return error


@pytest.mark.timeout(120)  # what was lost is said again after some seconds, and longer each time
@pytest.mark.usefixtures("injected")
@pytest.mark.parametrize("kinds", [*GROUPS, *EACH], ids="+".join)
def test_a_saga_goes_on_without_messages_that_were_lost(
    kinds: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = tmp_path / "losses"
    faults.mkdir()
    monkeypatch.setenv(losses.FOLDER, str(faults))
    monkeypatch.setenv(losses.FIRST, ",".join(kinds))
    stage = Stage(tmp_path)
    retry = RetryPolicy(9, 0.05)  # more than the lost messages cost: a machine that stands still costs one, too
    sure: dict[str, Any] = {"idempotent": True, "retry": retry, "timeout_s": 1.0, "kill_grace_s": 0.2}
    saga = stage.saga(
        stage.act("first", **sure),
        stage.act("hangs once", "hang", "ok", **sure),
        stage.act("asks for time", f"retryable:{ASLEEP_S}", "ok", isolation="fresh", **sure),
    )
    held = stage.saga(stage.act("held", "gate:never", kill_grace_s=0.2))
    ends: list[object] = []
    began = time.monotonic()
    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as orchestrator:
        orchestrator.start(held)
        orchestrator.start(saga)
        assert orchestrator.processes()
        waiter = threading.Thread(target=lambda: ends.append(end_of(orchestrator.handle(held.id))))
        waiter.start()
        orchestrator.handle(saga.id).result(50.0)
        orchestrator.cancel(held.id)
        waiter.join(30.0)
        assert isinstance(ends[0], SagaCancelledError)
        orchestrator.wait_idle(30.0)
        assert seen(orchestrator, saga.id).status is SagaStatus.COMPLETED
        # A stop with nothing to drain would end the saga host before it is told to drain.
        running = stage.saga(stage.act("runs at the stop", "gate:never", kill_grace_s=0.2))
        orchestrator.start(running)
        until(lambda: stage.log.find(running.id, "begin"), "the last step to begin")
    lost = {file.name.partition("+")[2] for file in faults.glob("lost+*")}
    sys.stdout.write(f"lost: {', '.join(sorted(lost))}; all was done in {time.monotonic() - began:.1f} s\n")
    assert lost == set(kinds)
