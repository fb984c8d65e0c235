"""Uses that both type checkers let through, with no error at all: see `tests/house/test_typing.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, assert_type

from antistrophe import (
    NOT_APPLIED,
    AsyncSagaOrchestrator,
    ResourceLimits,
    RetryPolicy,
    SagaDefinition,
    SagaExistsError,
    SagaOrchestrator,
    SagaStatus,
    SagaStep,
    StepContext,
    StepOptions,
    StepResult,
    Verified,
    event,
    step,
)


@event
@dataclass(frozen=True)
class Paid:
    amount: int


@event("paid.late", version=2)
@dataclass(frozen=True)
class PaidLate:
    amount: int


@step
def pay(ctx: StepContext, account: str, amount: int = 1) -> list[Paid]:
    return [Paid(amount)]


@pay.compensation
def pay_back(ctx: StepContext, account: str, amount: int = 1) -> None:
    assert_type(ctx.output, Any)


@pay.verify
def was_paid(ctx: StepContext) -> Verified:
    return NOT_APPLIED if ctx.outputs["x"] else StepResult(events=[Paid(1)])


@step(
    name="send",
    timeout_s=5,
    kill_grace_s=1.0,
    retry=RetryPolicy(max_attempts=3),
    compensation_timeout_s=60,
    compensation_retry=RetryPolicy(),
    idempotent=True,
    atomic=False,
    requires_compensation=True,
    isolation="fresh",
    limits=ResourceLimits(cpu_s=1),
    max_concurrent=3,
    max_per_second=0.5,
    runs_on={"gpu"},
)
async def send(text: str, *more: str, urgent: bool = False, **headers: str) -> StepResult[int]:
    return StepResult(output=3)


@send.compensation
async def take_back(text: str, *more: str, urgent: bool = False, **headers: str) -> None: ...


@step(requires_compensation=False)
def several(ctx: StepContext) -> Iterator[Paid]:
    return iter([Paid(1)])


@step
def many(ctx: StepContext) -> AsyncIterator[Paid]:
    raise NotImplementedError


@many.compensation
def none_of_them() -> None: ...


@dataclass(frozen=True)
class Debit(SagaStep):
    name: str
    limits: dict[str, int]
    options = StepOptions(timeout_s=5, max_concurrent=2)

    def execute(self, ctx: StepContext) -> StepResult[str]:
        return StepResult(output="receipt", events=[Paid(1)])

    def compensate(self) -> StepResult:
        return StepResult()


def run() -> None:
    saga = SagaDefinition("1").add_step(pay("a")).add_step(pay("a", amount=2), name="again")
    saga = saga.add_step(send("hello", "you", urgent=True, sender="me")).add_step(several()).add_step(many())
    saga = saga.add_step(Debit("a", {}))
    with SagaOrchestrator() as orchestrator:
        assert_type(orchestrator.execute(saga), list[object])
        handle = orchestrator.start(saga, if_live="join")
        assert_type(handle.outputs(timeout_s=1), dict[str, Any])
        assert_type(handle.result(), list[object])
        try:
            orchestrator.execute(saga)
        except SagaExistsError as error:
            assert_type(error.status, SagaStatus | None)


async def run_async() -> None:
    async with AsyncSagaOrchestrator() as orchestrator:
        handle = await orchestrator.start(SagaDefinition("1").add_step(pay("a")))
        assert_type(await handle.outputs(), dict[str, Any])
        async for change in orchestrator.subscribe():
            assert_type(change.saga.id, str)
