"""The steps that the benchmarks run: trivial ones, one that waits for a retry, and neighbours that misbehave."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from dataclasses import dataclass

from antistrophe import ResourceLimits, RetryableError, RetryPolicy, SagaDefinition, SagaStep

AT_ONCE_OF_A_NEIGHBOUR = 2


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


@dataclass(frozen=True)
class Hanging(SagaStep):
    """Hangs until it is killed: it does not heed SIGTERM."""

    timeout_s = 0.3
    kill_grace_s = 0.1
    requires_compensation = False
    max_concurrent = AT_ONCE_OF_A_NEIGHBOUR

    def execute(self) -> None:
        """Hang."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)


@dataclass(frozen=True)
class Crashing(SagaStep):
    """Dies at once, of SIGKILL."""

    requires_compensation = False
    max_concurrent = AT_ONCE_OF_A_NEIGHBOUR

    def execute(self) -> None:
        """Die."""
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Eating(SagaStep):
    """Takes memory until its limit refuses more."""

    requires_compensation = False
    max_concurrent = AT_ONCE_OF_A_NEIGHBOUR
    limits = ResourceLimits(memory_bytes=400 << 20)

    def execute(self) -> None:
        """Take 8 MiB after 8 MiB."""
        taken = []
        while True:
            taken.append(b"x" * (8 << 20))


@dataclass(frozen=True)
class Flooding(SagaStep):
    """Does nothing; there are as many of it as can be started."""

    requires_compensation = False
    max_concurrent = AT_ONCE_OF_A_NEIGHBOUR

    def execute(self) -> None:
        """Do nothing."""


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
