"""An order: reserve its items, take the money, ship. Nobody carries to the moon, so the second order is undone."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass

from antistrophe import FatalError, SagaDefinition, SagaOrchestrator, SagaStep, StepContext, StepFailedError, event


def shop(sql: str, *rows: tuple[object, ...]) -> list[tuple[object, ...]]:
    """Read, or write the rows in one transaction: if this process dies, nothing of it has happened."""
    with closing(sqlite3.connect("shop.db", timeout=30)) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS reserved (item TEXT PRIMARY KEY, order_id TEXT)")
        db.execute("CREATE TABLE IF NOT EXISTS paid (order_id TEXT PRIMARY KEY, cents INTEGER)")
        return db.executemany(sql, rows).fetchall() if rows else db.execute(sql).fetchall()


@event("order.reserved")
@dataclass(frozen=True)
class Reserved:
    items: tuple[str, ...]


@event("order.paid")
@dataclass(frozen=True)
class Paid:
    cents: int


@dataclass(frozen=True)
class ReserveInventory(SagaStep):
    items: tuple[str, ...]

    def execute(self, ctx: StepContext) -> list[Reserved]:
        shop("INSERT INTO reserved VALUES (?, ?)", *((item, ctx.saga_id) for item in self.items))
        return [Reserved(self.items)]

    def compensate(self, ctx: StepContext) -> None:
        shop("DELETE FROM reserved WHERE order_id = ?", (ctx.saga_id,))  # nothing, where nothing was reserved


@dataclass(frozen=True)
class ProcessPayment(SagaStep):
    cents: int
    timeout_s = 10.0

    def execute(self, ctx: StepContext) -> list[Paid]:
        shop("INSERT INTO paid VALUES (?, ?)", (ctx.saga_id, self.cents))
        return [Paid(self.cents)]

    def compensate(self, ctx: StepContext) -> None:
        shop("DELETE FROM paid WHERE order_id = ?", (ctx.saga_id,))


@dataclass(frozen=True)
class Ship(SagaStep):
    address: str
    requires_compensation = False  # nothing comes after it, and a refusal leaves nothing to undo

    def execute(self) -> None:
        if self.address == "the moon":
            raise FatalError(f"nobody carries to {self.address}")


def order(number: int, items: tuple[str, ...], cents: int, address: str) -> SagaDefinition:
    saga = SagaDefinition(f"order-{number}", name="order").add_step(ReserveInventory(items))
    return saga.add_step(ProcessPayment(cents)).add_step(Ship(address))


if __name__ == "__main__":
    with SagaOrchestrator() as orchestrator:
        print(*orchestrator.execute(order(1, ("harp", "lyre"), 4900, "Delphi")), sep="\n")
        try:
            orchestrator.execute(order(2, ("drum",), 900, "the moon"))
        except StepFailedError as error:
            print(error)
        for saga in reversed(orchestrator.list_sagas(name="order").sagas):  # the last one comes first
            print(saga.id, saga.status.value, "after", saga.steps_executed, "of", saga.total_steps, "steps")
    print("reserved:", shop("SELECT * FROM reserved ORDER BY item"))
    print("paid:", shop("SELECT * FROM paid"))
