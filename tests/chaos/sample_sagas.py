"""The sagas that are under fire: those that complete, turn back, hang, or can't be undone."""

from __future__ import annotations

import random
from typing import Any

from antistrophe import RetryPolicy, SagaDefinition
from tests.actors.staging import Stage

KINDS = ("completes", "compensates", "hangs", "parks", "retries")
ONCE = RetryPolicy(max_attempts=1)
UNDO = RetryPolicy(max_attempts=50, initial_s=0.02, multiplier=1.0, jitter=False)


def saga_of(
    stage: Stage,
    kind: str,
    saga_id: str,
    pause_s: float = 0.01,
    *,
    retry: RetryPolicy | None = None,
    coroutines: bool = False,
) -> SagaDefinition:
    """A saga of three steps of that kind; each step takes ``pause_s``, and has that policy forward. ``coroutines``: the
    steps are such, which share a process; those that hang block its loop."""
    act, pause = (stage.async_act, f"nap:{pause_s}") if coroutines else (stage.act, f"pause:{pause_s}")
    undo: dict[str, Any] = {"back": (pause,), "compensation_retry": UNDO, "retry": retry}
    first, second = act("a", pause, **undo), act("b", pause, **undo)
    last = act("c", pause, **undo)
    if kind == "compensates":
        last = act("c", "raise", **undo)
    elif kind == "hangs":
        last = act("c", "hang", timeout_s=0.4, kill_grace_s=0.2, **undo)
    elif kind == "parks":
        first = act("a", pause, back=("fatal",), retry=retry)
        last = act("c", "raise", **undo)
    elif kind == "retries":
        second = act("b", "retryable:0.02", "retryable:0.02", pause, **(undo | {"retry": RetryPolicy(3)}))
    elif kind == "awaits":
        last = act("c", "await", timeout_s=0.4, kill_grace_s=0.2, **undo)
    elif kind == "again":
        second = act("b", pause, idempotent=True, **(undo | {"retry": RetryPolicy(9, 0.01)}))
    elif kind == "verifies":
        last = stage.verified("c", "kill-after", **undo)
    return stage.saga(first, second, last, saga_id=saga_id)


def sagas_of(stage: Stage, number: int, draw: random.Random, prefix: str = "saga") -> list[SagaDefinition]:
    """That many sagas of all kinds, in an order of their own."""
    kinds = [KINDS[each % len(KINDS)] for each in range(number)]
    draw.shuffle(kinds)
    return [saga_of(stage, kind, f"{prefix}-{kind}-{index}") for index, kind in enumerate(kinds)]
