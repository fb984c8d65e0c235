"""Sagas for the dashboard to show: what a step does hangs on its item, and on files in its folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from antistrophe import RetryPolicy, SagaDefinition, SagaStep, StepContext, StepResult


@dataclass(frozen=True)
class Reserve(SagaStep):
    """Goes well, and says so."""

    item: str
    folder: str

    def execute(self, ctx: StepContext) -> StepResult[dict[str, str]]:
        ctx.log.info("reserving %s", self.item)
        return StepResult(output={"shelf": f"of {self.item}"})

    def compensate(self) -> None:
        pass


@dataclass(frozen=True)
class Charge(SagaStep):
    """Can't be undone for a `flute` while there is no file `open`."""

    item: str
    folder: str
    compensation_retry = RetryPolicy(max_attempts=1)

    def execute(self) -> None:
        pass

    def compensate(self) -> None:
        if self.item == "flute" and not (Path(self.folder) / "open").exists():
            raise OSError("<b>the bank</b> is closed " + "x" * 300)


@dataclass(frozen=True)
class Ship(SagaStep):
    """Hangs for a `harp`, waits for a file `go` for a `slow` item, fails for a `flute`."""

    item: str
    folder: str
    kill_grace_s = 5.0  # the end takes it out of its sleep at once, and its stack is written before that

    @property
    def timeout_s(self) -> float:
        return 0.3 if self.item == "harp" else 600.0

    def execute(self) -> None:
        while self.item == "harp" or (self.item == "slow" and not (Path(self.folder) / "go").exists()):
            time.sleep(0.01)
        if self.item == "flute":
            raise ValueError("no flute is left")

    def compensate(self) -> None:
        pass


def order(saga_id: str, item: str, folder: Path) -> SagaDefinition:
    """An order of one item."""
    made = SagaDefinition(saga_id, name="order")
    for step in (Reserve(item, str(folder)), Charge(item, str(folder)), Ship(item, str(folder))):
        made = made.add_step(step)
    return made
