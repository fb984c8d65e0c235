"""Steps of coroutines that wait for the test, or get in the way of others."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from dataclasses import dataclass

from antistrophe import ResourceLimits, RetryPolicy, SagaStep, StepContext, StepResult
from tests.actors.effects import write


@dataclass(frozen=True)
class Waiter(SagaStep):
    """Waits for its gate, and in its undo for the gate ``undo``. ``how`` says what its first attempt does instead."""

    log: str
    name: str
    gate: str = ""
    how: str = ""
    undo: str = ""
    timeout_s: float = 60.0
    kill_grace_s: float = 0.4
    idempotent: bool = False
    retry: RetryPolicy | None = None

    async def execute(self, ctx: StepContext) -> StepResult[str]:
        self._say("begin", ctx)
        await self._do(ctx, self.how if ctx.attempt == 1 else "", self.gate)
        self._say("done", ctx)
        return StepResult(self.name)

    async def compensate(self, ctx: StepContext) -> None:
        self._say("undo", ctx)
        await self._do(ctx, "", self.undo)
        self._say("undone", ctx)

    def _say(self, what: str, ctx: StepContext) -> None:
        write(self.log, what, ctx.saga_id, self.name, ctx.attempt, sync=False)

    async def _do(self, ctx: StepContext, how: str, gate: str) -> None:
        if how == "block":
            while True:
                self._say("beat", ctx)
                time.sleep(0.01)  # noqa: ASYNC251 - that is the point
        if how == "timer":
            asyncio.get_running_loop().call_later(1.0, self._say, "beat", ctx)
        if how == "slow":
            for _ in range(15):
                time.sleep(0.1)  # noqa: ASYNC251 - much of the loop's time, and never long
                await asyncio.sleep(0)
        if how == "thread":
            await asyncio.to_thread(self._beat, ctx)
        if how == "own thread":
            threading.Thread(target=self._beat, args=(ctx,), daemon=True).start()
            await asyncio.sleep(3600)
        if how == "exit":
            sys.exit(3)
        while gate and not os.path.exists(f"{self.log}.{gate}"):  # noqa: ASYNC110, ASYNC240, PTH110
            await asyncio.sleep(0.02)

    def _beat(self, ctx: StepContext) -> None:
        while True:
            self._say("beat", ctx)
            time.sleep(0.01)


@dataclass(frozen=True)
class Alone(Waiter):
    isolation = "fresh"


@dataclass(frozen=True)
class Limited(Waiter):
    limits = ResourceLimits(open_files=200)
