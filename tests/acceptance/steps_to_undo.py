"""A bank in a SQLite file, and steps on it: some can be undone whatever happens, the others have one planted fault."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from antistrophe import NOT_APPLIED, RetryableError, RetryPolicy, SagaStep, StepContext, StepResult, step
from antistrophe.testing.verification.run import TURN_NAME

TABLES = """
CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, balance INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS moves (key TEXT PRIMARY KEY, account TEXT NOT NULL, amount INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS receipts (number TEXT PRIMARY KEY, key TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS closings (key TEXT PRIMARY KEY);
"""


@contextlib.contextmanager
def opened(bank: str) -> Iterator[sqlite3.Connection]:
    """A connection, in one transaction."""
    db = sqlite3.connect(bank, timeout=30.0, isolation_level=None)
    try:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")
    finally:
        db.close()


def make_bank(bank: str) -> None:
    db = sqlite3.connect(bank)
    db.executescript(TABLES)
    db.executemany("INSERT INTO accounts VALUES (?, ?)", [("A", 100), ("B", 100)])
    db.commit()
    db.close()


def moved_by(bank: str, saga_id: str) -> list[tuple[str, str, int]]:
    """The part of the world that one saga touches."""
    with opened(bank) as db:
        moves = db.execute("SELECT * FROM moves WHERE key LIKE ? ORDER BY key", (f"{saga_id}:%",)).fetchall()
    return [(str(key), str(account), int(amount)) for key, account, amount in moves]


def snapshot(bank: str) -> dict[str, Any]:
    """The world: what the customers of the bank see."""
    with opened(bank) as db:
        return {
            "accounts": dict(db.execute("SELECT name, balance FROM accounts").fetchall()),
            "moves": db.execute("SELECT count(*) FROM moves").fetchone()[0],
            "receipts": db.execute("SELECT count(*) FROM receipts").fetchone()[0],
        }


def add(db: sqlite3.Connection, account: str, amount: int) -> None:
    db.execute("UPDATE accounts SET balance = balance + ? WHERE name = ?", (amount, account))


def move(db: sqlite3.Connection, key: str, account: str, amount: int) -> None:
    """Once for each key."""
    if db.execute("INSERT OR IGNORE INTO moves VALUES (?, ?, ?)", (key, account, amount)).rowcount:
        add(db, account, amount)


def move_back(db: sqlite3.Connection, key: str) -> bool:
    """Once for each key that was moved."""
    row = db.execute("DELETE FROM moves WHERE key = ? RETURNING account, amount", (key,)).fetchone()
    if row is not None:
        add(db, row[0], -row[1])
    return row is not None


# --- correct ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Debit(SagaStep):
    bank: str
    amount: int = 10
    retry = RetryPolicy(max_attempts=2)

    def execute(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            move(db, ctx.idempotency_key, "A", -self.amount)
        return StepResult(output=self.amount)

    def compensate(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            move_back(db, ctx.forward_key)


class NamedAsTheVerifiers(Debit):
    """Has the name of the step that the verifier adds."""

    name = TURN_NAME


@dataclass(frozen=True)
class OneChance(Debit):
    """One failure of its undo parks the saga, which then waits for an operator."""

    compensation_retry = RetryPolicy(max_attempts=1)


@dataclass(frozen=True)
class Credit(SagaStep):
    """Idempotent, asynchronous, and able to verify whether it was applied."""

    bank: str
    amount: int = 10
    idempotent = True

    async def execute(self, ctx: StepContext) -> Any:
        assert ctx.outputs["Debit"] == self.amount
        with opened(self.bank) as db:
            move(db, ctx.idempotency_key, "B", self.amount)

    async def compensate(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            move_back(db, ctx.forward_key)

    async def verify(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            found = db.execute("SELECT 1 FROM moves WHERE key = ?", (ctx.forward_key,)).fetchone()
        return StepResult() if found else NOT_APPLIED


@step(requires_compensation=False)
def look(ctx: StepContext, bank: str) -> StepResult[Any]:
    return StepResult(output=snapshot(bank))


# --- with a fault -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeepsAFee(Debit):
    """residue: it gives back less than it took."""

    def compensate(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            if move_back(db, ctx.forward_key):
                add(db, "A", -1)


@dataclass(frozen=True)
class UndoesNothing(Debit):
    """residue in doubt: its undo gives back what was never taken."""

    def compensate(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            if db.execute("INSERT OR IGNORE INTO closings VALUES (?)", (ctx.idempotency_key,)).rowcount:
                db.execute("DELETE FROM moves WHERE key = ?", (ctx.forward_key,))
                add(db, "A", self.amount)


@dataclass(frozen=True)
class HalfDone(Debit):
    """residue in doubt: the undo does not know of the money that was moved by the first of its two transactions."""

    def execute(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            add(db, "A", -self.amount)
        with opened(self.bank) as db:
            db.execute("INSERT INTO moves VALUES (?, 'A', ?)", (ctx.idempotency_key, -self.amount))


@dataclass(frozen=True)
class GivesTwice(Debit):
    """undo not idempotent: it checks whether there was something to undo, but not whether it was undone before."""

    def compensate(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            moved = db.execute("DELETE FROM moves WHERE key = ?", (ctx.forward_key,)).rowcount
            known = db.execute("SELECT 1 FROM closings WHERE key = ?", (ctx.forward_key,)).fetchone()
            if moved or known:
                db.execute("INSERT OR IGNORE INTO closings VALUES (?)", (ctx.forward_key,))
                add(db, "A", self.amount)


@dataclass(frozen=True)
class ByOutput(SagaStep):
    """undo needs an output: only the output of execute holds the number of the receipt."""

    bank: str

    def execute(self, ctx: StepContext) -> Any:
        number = uuid.uuid4().hex
        with opened(self.bank) as db:
            db.execute("INSERT INTO receipts VALUES (?, ?)", (number, ctx.idempotency_key))
        return StepResult(output=number)

    def compensate(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            db.execute("DELETE FROM receipts WHERE number = ?", (ctx.output,))


@dataclass(frozen=True)
class FailsInDoubt(Debit):
    """undo fails in doubt: it raises if it finds nothing to undo."""

    def compensate(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            found = move_back(db, ctx.forward_key)
        if ctx.in_doubt and not found:
            raise LookupError("there is nothing to undo")


@dataclass(frozen=True)
class Receipt(SagaStep):
    bank: str

    def execute(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            db.execute("INSERT OR IGNORE INTO receipts VALUES (?, ?)", (ctx.idempotency_key, ctx.idempotency_key))

    def compensate(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            db.execute("DELETE FROM receipts WHERE number = ?", (ctx.forward_key,))


@dataclass(frozen=True)
class NeedsTheReceipt(Debit):
    """wrong order: its undo needs the receipt of a later step, but the later step is undone first."""

    def compensate(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            if not db.execute("SELECT 1 FROM receipts").fetchone():
                raise LookupError("no refund without a receipt")
            move_back(db, ctx.forward_key)


@dataclass(frozen=True)
class ReadsALaterOutput(Debit):
    """wrong order: its undo asks for the output of a later step."""

    def compensate(self, ctx: StepContext) -> Any:
        ctx.outputs["Receipt"]


@dataclass(frozen=True)
class Close(SagaStep):
    """Closes the books. Its undo does nothing, and no snapshot shows the books."""

    bank: str

    def execute(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            db.execute("INSERT OR IGNORE INTO closings VALUES ('books')")

    def compensate(self, ctx: StepContext) -> Any:
        pass


@dataclass(frozen=True)
class NeedsOpenBooks(Debit):
    """a pair that can't be undone: its undo works only before the books are closed."""

    def compensate(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            if db.execute("SELECT 1 FROM closings WHERE key = 'books'").fetchone():
                raise PermissionError("the books are closed")
            move_back(db, ctx.forward_key)


@dataclass(frozen=True)
class TakesTwice(SagaStep):
    """execute not idempotent, although it says so; its undo gives back what one execute takes."""

    bank: str
    idempotent = True

    def execute(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            db.execute("INSERT OR IGNORE INTO moves VALUES (?, 'A', -10)", (ctx.idempotency_key,))
            add(db, "A", -10)

    def compensate(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            move_back(db, ctx.forward_key)


@dataclass(frozen=True)
class NeverUndone(Debit):
    """parked: its undo can't succeed."""

    def compensate(self, ctx: StepContext) -> Any:
        raise NotImplementedError("somebody should write this")


@dataclass(frozen=True)
class WaitsForHours(Debit):
    """stuck: its undo asks for a wait of an hour."""

    def compensate(self, ctx: StepContext) -> Any:
        raise RetryableError(after_s=3600.0)


@dataclass(frozen=True)
class Lies(SagaStep):
    """Says that it is atomic, and raises after its effect. (``verify_compensable`` has to be told not to trust it.)"""

    bank: str

    def execute(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            move(db, ctx.idempotency_key, "A", -10)

    def compensate(self, ctx: StepContext) -> Any:
        with opened(self.bank) as db:
            move_back(db, ctx.forward_key)


@dataclass(frozen=True)
class Refuses(Debit):
    """Fails by itself."""

    def execute(self, ctx: StepContext) -> Any:
        raise ValueError("too little money")
