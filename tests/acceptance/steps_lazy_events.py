"""A step of the bank that makes its events as they are read.

The module of the other steps is copied under another name, and an event may have one class only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from antistrophe import StepContext, event
from tests.acceptance.steps_to_undo import Debit


@event("bank.moved")
@dataclass(frozen=True)
class Moved:
    amount: int


class LazyDebit(Debit):
    """Makes its events as they are read."""

    def execute(self, ctx: StepContext) -> Any:
        super().execute(ctx)
        return map(Moved, [self.amount])
