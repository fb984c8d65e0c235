"""The steps of the demo: a trip whose payment hangs after the money has left."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from antistrophe.definition.context import StepContext
from antistrophe.definition.events import event
from antistrophe.definition.step import SagaStep

PAUSE_S = 0.35
"""How long each call takes, so that a person can watch."""

HANG_LIMIT_S = 1.2


@event("antistrophe.demo.noted")
@dataclass(frozen=True)
class Noted:
    """Something happened in the world."""

    text: str


def note(world: str, text: str) -> list[Noted]:
    """Write a line into the world: a file that only the steps write to."""
    with Path(world).open("a", encoding="utf-8") as file:
        file.write(text + "\n")
    return [Noted(text)]


@dataclass(frozen=True)
class BookFlight(SagaStep):
    """Books the flight."""

    world: str

    def execute(self) -> list[Noted]:
        time.sleep(PAUSE_S)
        return note(self.world, "flight to Athens booked")

    def compensate(self) -> list[Noted]:
        time.sleep(PAUSE_S)
        return note(self.world, "flight to Athens given back")


@dataclass(frozen=True)
class BookHotel(SagaStep):
    """Books the hotel."""

    world: str

    def execute(self) -> list[Noted]:
        time.sleep(PAUSE_S)
        return note(self.world, "hotel in Athens booked")

    def compensate(self) -> list[Noted]:
        time.sleep(PAUSE_S)
        return note(self.world, "hotel in Athens given back")


@dataclass(frozen=True)
class Pay(SagaStep):
    """Pays, and then hangs in synchronous code: nobody in its process could stop it."""

    world: str
    timeout_s = HANG_LIMIT_S
    kill_grace_s = 0.2

    def execute(self) -> list[Noted]:
        time.sleep(PAUSE_S)
        note(self.world, "800 euros paid")
        time.sleep(3600)
        return []

    def compensate(self, ctx: StepContext) -> list[Noted]:
        time.sleep(PAUSE_S)
        # The step is in doubt, so it has no output: look into the world whether the money has left.
        paid = "800 euros paid" in Path(self.world).read_text("utf-8").splitlines()
        ctx.log.info("paid before it was killed: %s", paid)
        return note(self.world, "800 euros paid back" if paid else "nothing was paid")
