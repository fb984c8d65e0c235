"""A transfer: the command, the steps of its saga, and the handler that turns the one into the other."""

from dataclasses import dataclass
from pathlib import Path

from bank_events import Credited, Debited, TakenBack
from vault import RefusedError, book, take_back

from antistrophe import FatalError, SagaDefinition, SagaOrchestrator, SagaStep, StepContext
from antistrophe.cqrs import CommandBus, FieldError


@dataclass(frozen=True)
class Transfer:
    id: str
    payer: str
    receiver: str
    cents: int


@dataclass(frozen=True)
class Debit(SagaStep):
    vault: str
    account: str
    cents: int
    idempotent = True  # the vault books a key once: an attempt that was lost is repeated

    def execute(self, ctx: StepContext) -> list[Debited]:
        book_or_refuse(self.vault, ctx.idempotency_key, self.account, -self.cents)
        return [Debited(self.account, self.cents)]

    def compensate(self, ctx: StepContext) -> list[TakenBack]:
        take_back(self.vault, ctx.forward_key)
        return [] if ctx.in_doubt else [TakenBack(self.account, self.cents)]  # in doubt no Debited was stored


@dataclass(frozen=True)
class Credit(SagaStep):
    vault: str
    account: str
    cents: int
    idempotent = True

    def execute(self, ctx: StepContext) -> list[Credited]:
        book_or_refuse(self.vault, ctx.idempotency_key, self.account, self.cents)
        return [Credited(self.account, self.cents)]

    def compensate(self, ctx: StepContext) -> list[TakenBack]:
        take_back(self.vault, ctx.forward_key)
        return [] if ctx.in_doubt else [TakenBack(self.account, -self.cents)]


def book_or_refuse(vault: str, key: str, account: str, cents: int) -> None:
    try:
        book(vault, key, account, cents)
    except RefusedError as refusal:
        raise FatalError(str(refusal)) from refusal  # an answer: asking again is useless


def bus_of(orchestrator: SagaOrchestrator, vault: Path) -> CommandBus:
    """The bus of the bank's commands."""
    bus = CommandBus(orchestrator.event_store, sagas=orchestrator)

    @bus.validates(Transfer)
    def check(command: Transfer) -> list[FieldError]:
        return [] if command.cents > 0 else [FieldError("cents", "must be over 0", "too_small")]

    @bus.handles(Transfer)
    def transfer(command: Transfer) -> SagaDefinition:
        return (
            SagaDefinition(f"transfer-{command.id}", name="transfer")
            .add_step(Debit(str(vault), command.payer, command.cents))
            .add_step(Credit(str(vault), command.receiver, command.cents))
        )

    return bus
