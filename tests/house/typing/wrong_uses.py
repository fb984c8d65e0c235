"""Uses that both type checkers refuse, at each line marked `# wrong` and nowhere else (`tests/house/test_typing.py`).

None of it is ever run.
"""

from __future__ import annotations

from dataclasses import dataclass

from antistrophe import (
    RetryPolicy,
    SagaDefinition,
    SagaOrchestrator,
    SagaStep,
    StepContext,
    StepOptions,
    StepResult,
    event,
    step,
)


@event
@dataclass(frozen=True)
class Paid:
    amount: int


@step
def pay(ctx: StepContext, account: str, amount: int) -> list[Paid]:
    return [Paid(amount)]


@step(timeout_s=5)
def send(text: str) -> StepResult[int]:
    return StepResult(output=3)


# --- the arguments of a step --------------------------------------------------------------------------------------

pay("a")  # wrong
pay("a", "b")  # wrong
pay("a", 1, 2)  # wrong
pay("a", 1, amount=2)  # wrong
pay("a", 1, currency="EUR")  # wrong
pay(1, 1)  # wrong
send()  # wrong
send(b"hello")  # wrong
SagaDefinition("1").add_step(pay)  # wrong
SagaDefinition(1)  # wrong
SagaDefinition("1").add_step("pay")  # wrong


# --- the functions beside it --------------------------------------------------------------------------------------


@pay.compensation  # wrong
def other_type(ctx: StepContext, account: int, amount: int) -> None: ...


@pay.compensation  # wrong
def other_name(ctx: StepContext, owner: str, amount: int) -> None: ...


@pay.compensation  # wrong
def one_more(ctx: StepContext, account: str, amount: int, currency: str) -> None: ...


@pay.compensation  # wrong
def not_all(ctx: StepContext, account: str) -> None: ...


@pay.compensation  # wrong
def gives_a_number(ctx: StepContext, account: str, amount: int) -> int:
    return 1


@send.verify  # wrong
def says_yes(text: str) -> bool:
    return True


@step  # wrong
def gives_an_event(ctx: StepContext, amount: int) -> Paid:
    return Paid(amount)


@step(timeout_s=5)  # wrong
async def gives_a_number_later(ctx: StepContext) -> int:
    return 1


# --- options --------------------------------------------------------------------------------------------------------

step(timeout=5)  # wrong
step(timeout_s="five")  # wrong
step(retry=3)  # wrong
step(retries=3)  # wrong
step(isolation="thread")  # wrong
step(max_concurrent=1.5)  # wrong
step(limits={"cpu_s": 1})  # wrong
step("pay")  # wrong
StepOptions(timeout_s="five")  # wrong
StepOptions(retries=3)  # wrong
RetryPolicy(attempts=3)  # wrong
StepResult(result=3)  # wrong
StepResult(events=3)  # wrong


@dataclass(frozen=True)
class Debit(SagaStep):
    account: str


Debit()  # wrong
Debit("a", 1)  # wrong


def run() -> None:
    with SagaOrchestrator(settings=5) as orchestrator:  # wrong
        orchestrator.execute(pay("a", 1))  # wrong
        orchestrator.start(SagaDefinition("1"), if_live="wait")  # wrong
        orchestrator.start(SagaDefinition("1")).result("a minute")  # wrong
        events: list[Paid] = orchestrator.execute(SagaDefinition("1"))  # wrong
        events.append(orchestrator.get_saga("1").steps)  # wrong
