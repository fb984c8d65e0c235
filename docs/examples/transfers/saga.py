"""A transfer as a saga: the money leaves one account and reaches another, or both are as before.

Run it with `antistrophe run docs.examples.transfers.saga:transfer --input docs/examples/transfers/transfers.jsonl`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from antistrophe import FatalError, RetryPolicy, SagaDefinition, SagaStatus, SagaStep, StepContext, event
from docs.examples.transfers.bank import Audit, Bank, RefusedError, open_new_bank

ACCOUNTS = 40
OPENING_BALANCE = 1_000_000

# Amounts with which something goes wrong between the bank and us. They are accidents, not answers: nobody is told.
HANGS_BEFORE = 13_13  # never reaches the bank
HANGS_AFTER = 13_31  # is booked, but the bank's answer never comes
DIES_WITHIN = 66_66  # dies in the middle of the bank's transaction, each time
DIES_AFTER = 66_99  # is booked, then dies before it can say so; goes well the second time


def account_name(number: int) -> str:
    """The name of the bank's nth account, from 1."""
    return f"ACC-{number:02}"


def bank_path() -> Path:
    """The bank's file: `$TRANSFERS_BANK`, else `bank.db` beside this file."""
    return Path(os.environ.get("TRANSFERS_BANK") or Path(__file__).with_name("bank.db")).absolute()


@cache
def bank_at(path: str) -> Bank:
    """The counter of this process: a step process serves many transfers, and opens the bank once."""
    return Bank(Path(path))


@event("transfers.booked")
@dataclass(frozen=True)
class Booked:
    """The balance of an account changed by so many cents."""

    account: str
    amount: int


@dataclass(frozen=True)
class Debit(SagaStep):
    """Takes the money out of the payer's account."""

    bank: str
    account: str
    amount: int
    timeout_s = 10.0
    idempotent = True  # a second call under the same key books nothing
    retry = RetryPolicy(max_attempts=3, initial_s=0.05)

    def execute(self, ctx: StepContext) -> list[Booked]:
        try:
            with bank_at(self.bank).booking(ctx.idempotency_key, ctx.saga_id, self.account, -self.amount):
                pass
        except RefusedError as refusal:
            raise FatalError(str(refusal)) from refusal  # asking again is useless
        return [Booked(self.account, -self.amount)]

    def compensate(self, ctx: StepContext) -> list[Booked]:
        return take_back(self.bank, self.account, ctx)


@dataclass(frozen=True)
class Credit(SagaStep):
    """Puts the money into the receiver's account."""

    bank: str
    account: str
    amount: int
    timeout_s = 3.0
    kill_grace_s = 0.5
    idempotent = True
    retry = RetryPolicy(max_attempts=2, initial_s=0.05)

    def execute(self, ctx: StepContext) -> list[Booked]:
        if self.amount == HANGS_BEFORE:
            time.sleep(3600)
        try:
            with bank_at(self.bank).booking(ctx.idempotency_key, ctx.saga_id, self.account, self.amount) as is_new:
                if self.amount == DIES_WITHIN:
                    os.kill(os.getpid(), signal.SIGKILL)
        except RefusedError as refusal:
            raise FatalError(str(refusal)) from refusal
        if self.amount == HANGS_AFTER:
            time.sleep(3600)
        if self.amount == DIES_AFTER and is_new:
            os._exit(1)
        return [Booked(self.account, self.amount)]

    def compensate(self, ctx: StepContext) -> list[Booked]:
        return take_back(self.bank, self.account, ctx)


def take_back(bank: str, account: str, ctx: StepContext) -> list[Booked]:
    """Undo what the step booked under its key; the bank knows whether it did, so this is right in doubt as well."""
    amount = bank_at(bank).take_back(ctx.idempotency_key, undone_key=ctx.forward_key)
    return [Booked(account, amount)] if amount else []


def transfer(line: dict[str, Any]) -> SagaDefinition:
    """The saga for one line of the input: `{"id": …, "from": …, "to": …, "amount": …}`, the amount in cents."""
    payer, receiver, amount = str(line["from"]), str(line["to"]), line["amount"]
    if not isinstance(amount, int) or isinstance(amount, bool) or amount <= 0:
        raise ValueError(f"the amount must be a whole number of cents over 0, not {amount!r}")
    if payer == receiver:
        raise ValueError(f"{payer} can't pay itself")
    bank = str(bank_path())
    open_bank(bank)
    return (
        SagaDefinition(str(line["id"]), name="transfer")
        .add_step(Debit(bank, payer, amount))
        .add_step(Credit(bank, receiver, amount))
    )


@cache
def open_bank(path: str) -> None:
    """Make the bank where there is none yet."""
    open_new_bank(Path(path), {account_name(number): OPENING_BALANCE for number in range(1, ACCOUNTS + 1)})


def after_run(statuses: Mapping[str, SagaStatus]) -> dict[str, Any]:
    """`antistrophe run` calls this at the end with the status of every saga of the input, and prints what it returns.
    Everything here is read from the bank's own books. Raises where money was made or lost."""
    audit = Audit(bank_path())
    completed = [each for each, status in statuses.items() if status is SagaStatus.COMPLETED]
    compensated = [each for each, status in statuses.items() if status is SagaStatus.COMPENSATED]
    others = set(audit.bookings) - set(completed) - set(compensated)  # parked, or of another input
    problems = [f"completed, but not booked whole: {each}" for each in completed if not audit.is_whole(each)]
    problems += [f"compensated, but it left a trace: {each}" for each in compensated if not audit.is_nothing(each)]
    problems += [f"balance and bookings disagree: account {each}" for each in audit.wrong_accounts]
    if audit.opening != audit.balance + audit.in_transit(others):
        problems.append(f"the bank opened with {audit.opening} and has {audit.balance}")
    if problems:
        raise AssertionError("MONEY WAS MADE OR LOST: " + "; ".join(problems[:10]))
    return {
        "money in the bank at the opening": audit.opening,
        "money in the bank now": audit.balance,
        "money in transit": audit.in_transit(others),
        "completed: one debit and one credit": f"{len(completed)} of {len(completed)}",
        "compensated: no trace left": f"{len(compensated)} of {len(compensated)}",
        "verdict": "no money was made or lost",
    }
