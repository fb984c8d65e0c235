"""The bank of the demo, and the two steps of its transfers. One transfer hangs after the money has arrived."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from antistrophe.definition.context import StepContext
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.definition.step import SagaStep

ACCOUNTS = ("alice", "bob", "carol", "dave", "erin", "frank")
OPENING_BALANCE = 1_000
HANG_LIMIT_S = 1.5

_TABLES = """
CREATE TABLE accounts (name TEXT PRIMARY KEY, balance INTEGER NOT NULL);
CREATE TABLE moves (key TEXT PRIMARY KEY, account TEXT NOT NULL, amount INTEGER NOT NULL);
"""


@contextmanager
def bank(file: str) -> Iterator[sqlite3.Connection]:
    """The bank in one transaction."""
    with closing(sqlite3.connect(file, timeout=30.0)) as database, database:
        database.execute("BEGIN IMMEDIATE")
        yield database


def open_bank(file: str) -> None:
    """Make the accounts."""
    with closing(sqlite3.connect(file)) as database:
        database.executescript(_TABLES)
        database.executemany("INSERT INTO accounts VALUES (?, ?)", [(name, OPENING_BALANCE) for name in ACCOUNTS])
        database.commit()


def balances(file: str) -> dict[str, int]:
    """What is in each account."""
    with bank(file) as database:
        return dict(database.execute("SELECT name, balance FROM accounts ORDER BY name"))


def _move(file: str, key: str, account: str, amount: int) -> None:
    """Add the amount to the account, once for each key."""
    with bank(file) as database:
        if database.execute("INSERT OR IGNORE INTO moves VALUES (?, ?, ?)", (key, account, amount)).rowcount:
            database.execute("UPDATE accounts SET balance = balance + ? WHERE name = ?", (amount, account))


def _take_back(file: str, key: str) -> None:
    """Undo the move with that key, if there was one."""
    with bank(file) as database:
        moved = database.execute("DELETE FROM moves WHERE key = ? RETURNING account, amount", (key,)).fetchone()
        if moved is not None:
            database.execute("UPDATE accounts SET balance = balance - ? WHERE name = ?", (moved[1], moved[0]))


@dataclass(frozen=True)
class Debit(SagaStep):
    """Takes the money from one account."""

    file: str
    account: str
    amount: int
    pause_s: float

    def execute(self, ctx: StepContext) -> None:
        time.sleep(self.pause_s)
        _move(self.file, ctx.idempotency_key, self.account, -self.amount)

    def compensate(self, ctx: StepContext) -> None:
        time.sleep(self.pause_s)
        _take_back(self.file, ctx.forward_key)


@dataclass(frozen=True)
class Credit(SagaStep):
    """Brings it to the other. If ``hangs``, it then never returns, in code that nothing in its process could stop."""

    file: str
    account: str
    amount: int
    pause_s: float
    hangs: bool = False
    timeout_s = HANG_LIMIT_S
    kill_grace_s = 0.2

    def execute(self, ctx: StepContext) -> None:
        time.sleep(self.pause_s)
        _move(self.file, ctx.idempotency_key, self.account, self.amount)
        if self.hangs:
            time.sleep(3600)

    def compensate(self, ctx: StepContext) -> None:
        time.sleep(self.pause_s)
        _take_back(self.file, ctx.forward_key)


def transfer(file: str, number: int, *, pause_s: float, hangs: bool = False) -> SagaDefinition:
    """A transfer between two accounts, drawn by its number."""
    draw = random.Random(number)
    payer, payee = draw.sample(ACCOUNTS, 2)
    amount = draw.randint(1, 20) * 10
    saga = SagaDefinition(f"transfer-{number:02}", name="transfer").add_step(Debit(file, payer, amount, pause_s))
    return saga.add_step(Credit(file, payee, amount, pause_s, hangs))
