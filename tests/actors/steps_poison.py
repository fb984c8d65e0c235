"""A step that takes the actor system along."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from antistrophe import UNKNOWN, InDoubtError, RetryPolicy, SagaStep, StepContext
from tests.actors import effects


@dataclass(frozen=True)
class Poison(SagaStep):
    """Kills its supervisor in each ``deadly`` call, until ``cure`` is there."""

    log: str
    deadly: str
    cure: str

    def execute(self, ctx: StepContext) -> None:
        self._act("execute", ctx)
        if self.deadly == "verify":
            raise InDoubtError("who knows")

    def compensate(self, ctx: StepContext) -> None:
        self._act("compensate", ctx)

    def verify(self, ctx: StepContext) -> object:
        self._act("verify", ctx)
        return UNKNOWN

    def _act(self, call: str, ctx: StepContext) -> None:
        effects.write(self.log, call, ctx.saga_id, ctx.step_name, ctx.attempt)
        if call == self.deadly and not Path(self.cure).exists():
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()  # until the death of the parent has come here


@dataclass(frozen=True)
class Patient(Poison):
    """The same, tried again and again."""

    idempotent = True
    retry = RetryPolicy(max_attempts=50, initial_s=0.01)
