"""Steps whose outputs and events are large, and steps that read them."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from antistrophe import SagaStep, StepContext, StepResult, event


@event
@dataclass(frozen=True)
class Given:
    number: int
    filling: bytes


@dataclass(frozen=True)
class Give(SagaStep):
    """Returns an output of ``output_bytes`` and an event of ``event_bytes``; both tell the number. Its undo notes in
    ``folder`` what it gets."""

    number: int
    output_bytes: int
    event_bytes: int = 0
    folder: str = ""

    def execute(self) -> StepResult[bytes]:
        events = [Given(self.number, filling(self.number, self.event_bytes))] if self.event_bytes else []
        return StepResult(filling(self.number, self.output_bytes), events)

    def compensate(self, ctx: StepContext) -> None:
        right = ctx.output == filling(self.number, self.output_bytes)
        if self.folder:
            Path(self.folder, f"undone-{self.number}").write_text(f"{right} {len(ctx.outputs)}")


@dataclass(frozen=True)
class Take(SagaStep):
    """Returns, of the outputs of some steps, the numbers that they tell."""

    of: tuple[str, ...]
    fails: bool = False

    def execute(self, ctx: StepContext) -> StepResult[dict[str, object]]:
        found: dict[str, object] = {name: int.from_bytes(ctx.outputs[name][:4], "big") for name in self.of}
        if self.fails:
            raise ValueError(str(sorted(found)))
        found |= {"there": len(ctx.outputs), "first": next(iter(ctx.outputs)), "nowhere": "nowhere" in ctx.outputs}
        return StepResult(found)

    def compensate(self) -> None: ...


@dataclass(frozen=True)
class AsyncTake(Take):
    """The same, as a coroutine."""

    async def execute(self, ctx: StepContext) -> StepResult[dict[str, object]]:  # type: ignore[override]
        return Take.execute(self, ctx)


def filling(number: int, size: int) -> bytes:
    """So many bytes that tell a number."""
    return number.to_bytes(4, "big") + bytes(max(0, size - 4))


@dataclass(frozen=True)
class SpoilFirstResult(SagaStep):
    """Makes the entry with the result of the saga's first step unreadable."""

    journal: str

    def execute(self, ctx: StepContext) -> None:
        with contextlib.closing(sqlite3.connect(self.journal, isolation_level=None)) as connection:
            connection.execute("UPDATE journal SET entry = x'c1' WHERE saga_id = ? AND seq = 3", (ctx.saga_id,))

    def compensate(self) -> None: ...
