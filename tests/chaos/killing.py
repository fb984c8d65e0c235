"""Killing processes of an actor system, at a moment that the steps' own lines name, and judging what is left."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

from antistrophe import SagaDefinition, SagaOrchestrator
from antistrophe.actors.step.attempt_file import AttemptId, read_attempt_file
from antistrophe.saga.entries import Action
from tests.actors.staging import Stage, seen
from tests.chaos.oracle import Tally, check
from tests.killing import kill
from tests.waiting import until

ROLES = ("launcher", "admin", "logger", "supervisor", "registry", "saga", "step")
UP_AGAIN_S = 60.0


def kill_role(orchestrator: SagaOrchestrator, role: str, draw: random.Random) -> None:
    """Kill one of that role, drawn among those there are. No step is left once all sagas have ended."""

    def killed() -> bool:
        records = [each for each in orchestrator.processes() if each.role == role]
        if records:
            return kill(draw.choice(records).pid)
        return role == "step" and orchestrator.running_count() == 0

    until(killed, f"a {role} to kill", UP_AGAIN_S)


def wait_for_lines(stage: Stage, lines: int, draw: random.Random) -> None:
    """Until the steps have written that many lines, and up to 20 ms more."""
    until(lambda: len(stage.log.read()) >= lines, f"{lines} effects", UP_AGAIN_S)
    spin(draw)


def spin(draw: random.Random) -> None:
    """Let up to 20 ms pass."""
    later = time.monotonic() + draw.random() * 0.02
    while time.monotonic() < later:
        pass


def settle(orchestrator: SagaOrchestrator, stage: Stage, sagas: Sequence[SagaDefinition]) -> Tally:
    """Wait until all sagas have ended, and check each."""
    orchestrator.wait_idle(90.0)
    tally = Tally()
    for saga in sagas:
        check(saga, seen(orchestrator, saga.id).status, stage.log.read(saga.id), tally)
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.completed + tally.compensated + tally.parked == len(sagas)
    assert orchestrator.running_count() == 0
    assert orchestrator.history_count() == len(sagas)
    return tally


def written_outcomes(home: Path, saga_id: str) -> int:
    """How many processes have written the outcome of the first attempt of the saga's second step."""
    attempt_id = AttemptId(saga_id, 1, Action.EXECUTE, 1)
    return sum(read_attempt_file(home, name, attempt_id).answer is not None for name in os.listdir(home / "attempts"))
