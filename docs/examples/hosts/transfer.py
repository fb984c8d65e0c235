"""A transfer between two accounts of a bank, which is one SQLite file, as if it were a service that all hosts reach."""

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass

from antistrophe import SagaDefinition, SagaStep, StepContext


def ask_bank(path: str, sql: str, *values: object) -> list[tuple[int, int]]:
    with closing(sqlite3.connect(path, timeout=30)) as bank, bank:
        return bank.execute(sql, values).fetchall()


@dataclass(frozen=True)
class Book(SagaStep):
    bank: str
    account: str
    amount: int

    def execute(self, ctx: StepContext) -> None:
        ask_bank(self.bank, "INSERT INTO bookings VALUES (?, ?, ?)", ctx.idempotency_key, self.account, self.amount)
        time.sleep(0.25)  # a host that is killed now leaves a booking that it told nobody of

    def compensate(self, ctx: StepContext) -> None:  # there may be nothing to undo, and nothing comes later
        ask_bank(self.bank, "DELETE FROM bookings WHERE key = ?", ctx.forward_key)


def transfer(saga_id: str, bank: str) -> SagaDefinition:
    saga = SagaDefinition(saga_id, name="transfer").add_step(Book(bank, "alice", -10), name="debit")
    return saga.add_step(Book(bank, "bob", 10), name="credit")
