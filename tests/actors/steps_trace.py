"""Steps that tell the span of their attempt, one that hangs until it is killed, and one that waits for a file."""

from __future__ import annotations

import time
from pathlib import Path

from antistrophe import StepContext, StepResult, step


@step
def tell(ctx: StepContext) -> StepResult[str]:
    return StepResult(output=ctx.traceparent)


@tell.compensation
def take_back(ctx: StepContext) -> None: ...


@step(timeout_s=0.3, kill_grace_s=0.1)
def hang(ctx: StepContext) -> None:
    while True:
        time.sleep(60.0)


@hang.compensation
def let_go(ctx: StepContext) -> None: ...


@step(idempotent=True)
def wait_for(ctx: StepContext, gate: str, told: str) -> None:
    with Path(told).open("a", encoding="utf-8") as file:
        file.write(f"{ctx.traceparent}\n")
    while not Path(gate).exists():
        time.sleep(0.01)


@wait_for.compensation
def wait_for_nothing(ctx: StepContext, gate: str, told: str) -> None: ...
