"""Steps that tell the span of their attempt, and one that hangs until it is killed."""

from __future__ import annotations

import time

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
