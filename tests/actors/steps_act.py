"""The steps of these tests: each attempt plays the part that its fields give it, and writes what it does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from antistrophe import (
    NOT_APPLIED,
    UNKNOWN,
    ResourceLimits,
    RetryPolicy,
    SagaStep,
    StepContext,
    StepResult,
    event,
)
from tests.actors import effects
from tests.actors.steps_parts import AFTER, BEAT_S, PARTS

QUICK = RetryPolicy(max_attempts=3, initial_s=0.02, multiplier=1.0, jitter=False)


@event("test.played")
@dataclass(frozen=True)
class Played:
    """The event of an attempt that came to its end."""

    step: str
    attempt: int


@dataclass(frozen=True)
class Act(SagaStep):
    """Plays parts. ``forward`` and ``back`` name the part of each attempt (``"ok"``, ``"exit:3"``, ...); later attempts
    play the last one again."""

    log: str
    name: str
    forward: tuple[str, ...] = ("ok",)
    back: tuple[str, ...] = ("ok",)
    timeout_s: float = 30.0
    kill_grace_s: float = 5.0
    retry: RetryPolicy | None = None
    compensation_timeout_s: float = 30.0
    compensation_retry: RetryPolicy = QUICK
    idempotent: bool = False
    atomic: bool = True
    requires_compensation: bool = True
    isolation: str = "process"
    limits: ResourceLimits | None = None
    max_concurrent: int | None = None
    max_per_second: float | None = None

    def execute(self, ctx: StepContext) -> Any:
        return self.play(ctx, "begin", "done", self.forward)

    def compensate(self, ctx: StepContext) -> Any:
        return self.play(ctx, "undo", "undone", self.back)

    def play(self, ctx: StepContext, begins: str, ends: str, parts: tuple[str, ...]) -> Any:
        self.say(begins, ctx)
        part, _, argument = parts[min(ctx.attempt, len(parts)) - 1].partition(":")
        result = PARTS[part](self, ctx, argument, ends)
        if part not in AFTER:
            self.say(ends, ctx)
        return StepResult(f"{self.name}-{ctx.attempt}", [Played(self.name, ctx.attempt)]) if result is None else result

    def say(self, what: str, ctx: StepContext, note: str = "", *, sync: bool = True) -> None:
        back = ctx.idempotency_key != ctx.forward_key
        effects.write(self.log, what, ctx.saga_id, ctx.step_name, ctx.attempt, note=note, back=back, sync=sync)


@dataclass(frozen=True)
class Verified(Act):
    """An Act that can say whether it took effect: ``verdict`` is the part that ``verify`` plays."""

    verdict: str = "applied"

    def verify(self, ctx: StepContext) -> Any:
        self.say("verify", ctx, note=ctx.idempotency_key)
        part, _, argument = self.verdict.partition(":")
        if part == "applied":
            return StepResult("verified", [Played(self.name, 0)])
        if part == "not-applied":
            return NOT_APPLIED
        if part == "unknown":
            return UNKNOWN
        return PARTS[part](self, ctx, argument, "verified")


@dataclass(frozen=True)
class AsyncAct(Act):
    """An Act whose methods are ``async def``."""

    async def execute(self, ctx: StepContext) -> Any:
        await asyncio.sleep(0)
        return await self._play_async(ctx, "begin", "done", self.forward)

    async def compensate(self, ctx: StepContext) -> Any:
        return await self._play_async(ctx, "undo", "undone", self.back)

    async def _play_async(self, ctx: StepContext, begins: str, ends: str, parts: tuple[str, ...]) -> Any:
        part = parts[min(ctx.attempt, len(parts)) - 1]
        if part == "await":
            try:
                self.say(begins, ctx)
                await asyncio.sleep(3600)
            finally:
                self.say("cancelled", ctx)
        if part.startswith("nap:"):
            self.say(begins, ctx)
            await asyncio.sleep(float(part.partition(":")[2]))
            self.say(ends, ctx)
            return StepResult(f"{self.name}-{ctx.attempt}", [Played(self.name, ctx.attempt)])
        if part == "leave-task":
            self.say(begins, ctx)
            _left.add(asyncio.get_running_loop().create_task(self._go_on(ctx)))
            await asyncio.sleep(0)
            self.say(ends, ctx)
            return None
        return self.play(ctx, begins, ends, parts)

    async def _go_on(self, ctx: StepContext) -> None:
        try:
            while True:
                self.say("beat", ctx, sync=False)
                await asyncio.sleep(BEAT_S)
        finally:
            self.say("cancelled", ctx)


_left: set[asyncio.Task[None]] = set()
