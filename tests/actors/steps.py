"""Steps for the tests of what applications hold: they note something, wait for a file, fail, or can't be undone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from antistrophe import RetryPolicy, SagaDefinition, SagaOrchestrator, SagaStep, StepContext, StepResult, event


@event("test.noted")
@dataclass(frozen=True)
class Noted:
    """What was noted."""

    text: str


@dataclass(frozen=True)
class Note(SagaStep):
    """Notes a text."""

    text: str
    name: str = "Note"

    def execute(self) -> list[object]:
        return [Noted(self.text)]

    def compensate(self) -> None:
        return None


@dataclass(frozen=True)
class Return(SagaStep):
    """Returns its value as its output."""

    value: object
    name: str = "Return"

    def execute(self) -> StepResult[object]:
        return StepResult(output=self.value)

    def compensate(self) -> None:
        return None


@dataclass(frozen=True)
class WaitFor(SagaStep):
    """Waits until a file is there."""

    path: str
    idempotent = True
    kill_grace_s = 0.5

    def execute(self, ctx: StepContext) -> list[object]:
        while not Path(self.path).exists():
            time.sleep(0.005)
        return [Noted(f"attempt {ctx.attempt}")]

    def compensate(self) -> None:
        return None


@dataclass(frozen=True)
class Fail(SagaStep):
    """Never does what it should."""

    def execute(self) -> None:
        raise LookupError("no such account")

    def compensate(self) -> None:
        return None


@dataclass(frozen=True)
class Stay(SagaStep):
    """Can't be undone until a file is there."""

    path: str
    compensation_retry = RetryPolicy(max_attempts=1)

    def execute(self) -> None:
        return None

    def compensate(self) -> None:
        if not Path(self.path).exists():
            raise RuntimeError("it stays")


@dataclass(frozen=True)
class OpenAnOrchestrator(SagaStep):
    """Does what a step must not do."""

    home: str

    def execute(self) -> None:
        SagaOrchestrator(self.home).close()

    def compensate(self) -> None:
        return None


def notes(saga_id: str, *texts: str) -> SagaDefinition:
    """A saga called "notes" of one step for each text."""
    saga = SagaDefinition(saga_id, name="notes")
    for number, text in enumerate(texts):
        saga = saga.add_step(Note(text, f"note-{number}"))
    return saga


def one(saga_id: str, step: SagaStep) -> SagaDefinition:
    """A saga of one step."""
    return SagaDefinition(saga_id).add_step(step)
