"""Orders of a shop, for the tests of the command line: what happens hangs on the item and on files in the folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antistrophe import RetryPolicy, SagaDefinition, SagaStatus, SagaStep

BOOK = "book.txt"


def note(text: str) -> None:
    """What the steps did, in order."""
    with Path(BOOK).open("a", encoding="utf-8") as book:
        book.write(text + "\n")


@dataclass(frozen=True)
class Reserve(SagaStep):
    """Goes well."""

    item: str

    def execute(self) -> None:
        note(f"reserve {self.item}")

    def compensate(self) -> None:
        note(f"unreserve {self.item}")


@dataclass(frozen=True)
class Charge(SagaStep):
    """Can only be undone while there is a file `open`, for the item `flute`."""

    item: str
    compensation_retry = RetryPolicy(max_attempts=2, initial_s=0.01)

    def execute(self) -> None:
        note(f"charge {self.item}")

    def compensate(self) -> None:
        if self.item == "flute" and not Path("open").exists():
            raise OSError("the bank is closed")
        note(f"refund {self.item}")


@dataclass(frozen=True)
class Ship(SagaStep):
    """Ships lyres; a `slow` item as soon as there is a file `go`; nothing else."""

    item: str
    idempotent = True
    retry = RetryPolicy(max_attempts=5, initial_s=0.01)

    def execute(self) -> None:
        while self.item == "slow" and not Path("go").exists():
            time.sleep(0.01)
        if self.item not in ("lyre", "slow"):
            raise ValueError(f"no {self.item} left")
        note(f"ship {self.item}")

    def compensate(self) -> None:
        note(f"fetch back {self.item}")


def order(line: dict[str, Any]) -> SagaDefinition:
    """The saga for one line."""
    print("an order is made")  # noqa: T201 - it must not get between the JSON
    item = line["item"]
    return SagaDefinition(line["id"], name="order").add_step(Reserve(item)).add_step(Charge(item)).add_step(Ship(item))


def not_a_saga(line: dict[str, Any]) -> str:
    """Returns the wrong thing."""
    return str(line)


class Counting:
    """A module with a hook, as `Counting.order`."""

    order = staticmethod(order)


def after_run(statuses: dict[str, SagaStatus]) -> dict[str, int]:
    """What `run` prints at the end; fails where it is told to."""
    if Path("raise").exists():
        raise RuntimeError("the books do not agree")
    return {"orders that were shipped": sum(status is SagaStatus.COMPLETED for status in statuses.values())}
