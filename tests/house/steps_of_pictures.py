"""The shop of the dashboard's pictures: orders that go well, hang, are tried again, or can't be undone,
and sagas that wait for a limit."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from antistrophe import RetryableError, RetryPolicy, SagaDefinition, SagaStep, StepContext, StepResult


@dataclass(frozen=True)
class Reserve(SagaStep):
    """Takes a moment, and goes well."""

    item: str

    def execute(self, ctx: StepContext) -> StepResult[dict[str, str]]:
        ctx.log.info("reserving a %s", self.item)
        time.sleep(0.12)
        return StepResult(output={"shelf": "B4", "item": self.item})

    def compensate(self) -> None:
        time.sleep(0.08)


@dataclass(frozen=True)
class Charge(SagaStep):
    """The bank is busy twice for a `drum`, and takes nothing back for a `flute`."""

    item: str
    amount: int
    idempotent = True
    retry = RetryPolicy(max_attempts=3, initial_s=0.2, jitter=False)
    compensation_retry = RetryPolicy(max_attempts=3, initial_s=0.15, jitter=False)

    def execute(self, ctx: StepContext) -> StepResult[dict[str, str]]:
        time.sleep(0.15)
        if self.item == "drum" and ctx.attempt < 3:
            raise RetryableError("the bank is busy")
        return StepResult(output={"receipt": f"R-{ctx.saga_id}"})

    def compensate(self) -> None:
        time.sleep(0.06)
        if self.item == "flute":
            raise ConnectionError("the bank does not answer: refund by hand")


@dataclass(frozen=True)
class Ship(SagaStep):
    """Hangs for a `harp`, fails for a `flute`, and for an `organ` waits until there is a file `go`."""

    item: str
    address: str
    kill_grace_s = 0.1

    @property
    def timeout_s(self) -> float:
        return 600.0 if self.item == "organ" else 1.0

    def execute(self) -> None:
        time.sleep(0.2)
        while self.item == "harp" or (self.item == "organ" and not Path("go").exists()):
            time.sleep(0.01)
        if self.item == "flute":
            raise ValueError("no flute is left")

    def compensate(self) -> None:
        time.sleep(0.1)


@dataclass(frozen=True)
class Load(SagaStep):
    """Waits until there is a file `go`."""

    timeout_s = 600.0

    def execute(self) -> None:
        while not Path("go").exists():
            time.sleep(0.01)

    def compensate(self) -> None:
        pass


@dataclass(frozen=True)
class Ask(SagaStep):
    """Somebody else is asked, who takes few questions."""

    max_per_second = 0.05

    def execute(self) -> None:
        pass

    def compensate(self) -> None:
        pass


def stock(saga_id: str) -> SagaDefinition:
    """The stock is loaded by one saga at a time."""
    return SagaDefinition(saga_id, name="stock", max_concurrent=1).add_step(Load())


def report(saga_id: str) -> SagaDefinition:
    """A report, which needs an answer."""
    return SagaDefinition(saga_id, name="report").add_step(Ask())


def order(saga_id: str, item: str) -> SagaDefinition:
    """An order of one item."""
    made = SagaDefinition(saga_id, name="order").add_step(Reserve(item)).add_step(Charge(item, 120))
    return made.add_step(Ship(item, "5 Harbour Street"))
