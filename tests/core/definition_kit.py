"""A step for the tests of definitions, and variants of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from antistrophe.definition.context import StepContext
from antistrophe.definition.step import SagaStep


@dataclass(frozen=True)
class Debit(SagaStep):
    account: str
    amount: int

    def execute(self, ctx: StepContext) -> Any:
        return ("execute", self.amount, ctx)

    def compensate(self, ctx: StepContext) -> Any:
        return ("compensate", self.amount, ctx)


def variant(base: type[SagaStep] = Debit, **attributes: Any) -> SagaStep:
    """Debit("A", 1) with these attributes on the instance; they count like attributes of the class."""
    made: Any = base("A", 1)  # type: ignore[call-arg]
    for name, value in attributes.items():
        object.__setattr__(made, name, value)
    return made  # type: ignore[no-any-return]
