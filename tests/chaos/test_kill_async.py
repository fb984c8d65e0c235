"""kill -9 while the coroutines of many sagas share a process: of that process, and of those that carry the system."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, Settings
from tests.actors.staging import Stage
from tests.chaos.killing import kill_role, settle, wait_for_lines
from tests.chaos.rounds import LONG
from tests.chaos.sample_sagas import saga_of

KINDS = ("completes", "compensates", "awaits", "hangs", "retries", "again")
ROLES = ("step", "saga", "supervisor", "launcher", "registry")


@pytest.mark.parametrize("role", ROLES if LONG else ROLES[:3])
@pytest.mark.timeout(240)  # the system may have to be started anew, on a busy machine
def test_one_of_that_role_is_killed_again_and_again(role: str, tmp_path: Path, run_seed: int, chaos_round: int) -> None:
    draw = random.Random(f"{run_seed}-shared-{role}-{chaos_round}")
    stage, number = Stage(tmp_path), 60 if LONG else 12
    kinds = [(KINDS[each % len(KINDS)], each) for each in range(number)]
    sagas = [saga_of(stage, kind, f"{kind}-{each}", 0.02, coroutines=True) for kind, each in kinds]
    draw.shuffle(sagas)
    settings = Settings(
        drain_s=0.5, max_async_processes=1, max_running_sagas=number, max_restarts=100, restart_window_s=1.0
    )
    with SagaOrchestrator(tmp_path / "home", settings=settings) as orchestrator:
        for saga in sagas:
            orchestrator.start(saga)
        for turn in range(8 if LONG else 2):
            # However they end, three lines for each there will be.
            wait_for_lines(stage, draw.randrange(number + turn * number // 4), draw)
            kill_role(orchestrator, role, draw)
        tally = settle(orchestrator, stage, sagas)
    sys.stdout.write(f"{role}, shared: {tally}\n")
