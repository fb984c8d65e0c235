"""The steps that the benchmarks run: trivial ones, and those that wait for a retry or for an answer."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass

from antistrophe import RetryableError, RetryPolicy, SagaDefinition, SagaStep


@dataclass(frozen=True)
class Trivial(SagaStep):
    """Does nothing."""

    name: str

    def execute(self) -> None:
        """Do nothing."""

    def compensate(self) -> None:
        """Undo nothing."""


@dataclass(frozen=True)
class Fresh(SagaStep):
    """Does nothing, in a process of its own."""

    isolation = "fresh"
    requires_compensation = False

    def execute(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class NotBefore(SagaStep):
    """Asks for a retry at that moment (seconds since 1970), and succeeds from then on."""

    due: float
    requires_compensation = False
    retry = RetryPolicy(max_attempts=10, jitter=False)

    def execute(self) -> None:
        """Succeed, if it is time."""
        left = self.due - time.time()
        if left > 0:
            raise RetryableError(after_s=left)


@dataclass(frozen=True)
class AnsweredAt(SagaStep):
    """Waits, as a coroutine, for an answer that comes at that moment (seconds since 1970)."""

    due: float
    requires_compensation = False
    timeout_s = 600.0

    async def execute(self) -> None:
        """Wait for it."""
        await asyncio.sleep(max(0.0, self.due - time.time()))


def saga_of_three() -> SagaDefinition:
    """Three trivial steps under a new id."""
    saga = SagaDefinition(uuid.uuid4().hex, name="trivial")
    for name in ("first", "second", "third"):
        saga = saga.add_step(Trivial(name))
    return saga


def saga_of(step: SagaStep, max_concurrent: int | None = None) -> SagaDefinition:
    """That step alone under a new id; the saga's name is that of the step's class."""
    saga = SagaDefinition(uuid.uuid4().hex, name=type(step).__name__.lower(), max_concurrent=max_concurrent)
    return saga.add_step(step)
