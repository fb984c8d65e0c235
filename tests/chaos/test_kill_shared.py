"""kill -9 while the coroutines of many sagas share a process: of that process, and of those that carry the system."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest

from antistrophe import RetryPolicy, SagaDefinition, SagaOrchestrator, Settings
from tests.actors.staging import Stage
from tests.chaos.killing import kill_role, settle, wait_for_lines
from tests.chaos.rounds import LONG
from tests.chaos.troupe import UNDO

KINDS = ("completes", "compensates", "hangs", "blocks", "retries", "again")
NAP = "nap:0.02"
ROLES = ("step", "saga", "supervisor", "launcher", "registry")


def saga_of(stage: Stage, kind: str, saga_id: str) -> SagaDefinition:
    """A saga of three coroutines of that kind."""
    back: dict[str, Any] = {"back": (NAP,), "compensation_retry": UNDO}
    first, second, last = (stage.async_act(name, NAP, **back) for name in "abc")
    if kind == "compensates":
        last = stage.async_act("c", "raise", **back)
    elif kind == "hangs":
        last = stage.async_act("c", "await", timeout_s=0.4, kill_grace_s=0.2, **back)
    elif kind == "blocks":
        last = stage.async_act("c", "hang", timeout_s=0.4, kill_grace_s=0.2, **back)
    elif kind == "retries":
        second = stage.async_act("b", "retryable:0.02", NAP, retry=RetryPolicy(3), **back)
    elif kind == "again":
        second = stage.async_act("b", NAP, idempotent=True, retry=RetryPolicy(9, 0.01), **back)
    return stage.saga(first, second, last, saga_id=saga_id)


@pytest.mark.parametrize("role", ROLES if LONG else ROLES[:3])
@pytest.mark.timeout(240)  # the system may have to be started anew, on a busy machine
def test_one_of_that_role_is_killed_again_and_again(role: str, tmp_path: Path, run_seed: int, chaos_round: int) -> None:
    draw = random.Random(f"{run_seed}-shared-{role}-{chaos_round}")
    stage, number = Stage(tmp_path), 60 if LONG else 12
    sagas = [saga_of(stage, KINDS[each % len(KINDS)], f"{KINDS[each % len(KINDS)]}-{each}") for each in range(number)]
    draw.shuffle(sagas)
    settings = Settings(
        drain_s=0.5, max_async_processes=1, max_running_sagas=number, max_restarts=100, restart_window_s=1.0
    )
    with SagaOrchestrator(tmp_path / "home", settings=settings) as orchestrator:
        for saga in sagas:
            orchestrator.start(saga)
        for turn in range(8 if LONG else 2):
            wait_for_lines(stage, draw.randrange((turn + 1) * number), draw)
            if orchestrator.running_count():
                kill_role(orchestrator, role, draw)
        tally = settle(orchestrator, stage, sagas)
    sys.stdout.write(f"{role}, shared: {tally}\n")
