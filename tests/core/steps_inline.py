"""Steps for running sagas inline: what they did is in ``CALLS``, for they run in the test's own process."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal, getcontext
from typing import Any

from antistrophe import (
    NOT_APPLIED,
    UNKNOWN,
    FatalError,
    InDoubtError,
    RetryableError,
    RetryPolicy,
    SagaStep,
    StepContext,
    StepResult,
    event,
    step,
)

ONCE = RetryPolicy(max_attempts=1)
THRICE = RetryPolicy(max_attempts=3, initial_s=600.0, jitter=False)

CALLS: list[tuple[str, str, int]] = []
CONTEXTS: list[StepContext] = []
PIDS: set[int] = set()
_recorded = False  # and so in the processes of a system


@contextmanager
def recording() -> Iterator[list[tuple[str, str, int]]]:
    """An empty record of what the steps do."""
    global _recorded
    for each in (CALLS, CONTEXTS, PIDS):
        each.clear()
    _recorded = True
    try:
        yield CALLS
    finally:
        _recorded = False


@event
@dataclass(frozen=True)
class InlineDone:
    what: str
    amount: Decimal


def _note(what: str, ctx: StepContext) -> None:
    CALLS.append((what, ctx.step_name, ctx.attempt))
    CONTEXTS.append(ctx)
    PIDS.add(os.getpid())


@dataclass(frozen=True)
class Work(SagaStep):
    """Does what its fields say."""

    name: str
    amount: Decimal = Decimal("1.5")
    output: Any = None

    def execute(self, ctx: StepContext) -> StepResult[Any]:
        _note("execute", ctx)
        return StepResult(self.output, [InlineDone(self.name, self.amount)])

    def compensate(self, ctx: StepContext) -> None:
        _note("compensate", ctx)


@dataclass(frozen=True)
class AsyncWork(Work):
    async def execute(self, ctx: StepContext) -> StepResult[Any]:  # type: ignore[override]
        await asyncio.sleep(0)
        return Work.execute(self, ctx)

    async def compensate(self, ctx: StepContext) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        Work.compensate(self, ctx)


@dataclass(frozen=True)
class Fail(SagaStep):
    """Fails until its attempt ``until``, in the way that ``how`` names."""

    how: str
    name: str = "Fail"
    until: int = 10**6
    retry: RetryPolicy = ONCE

    def execute(self, ctx: StepContext) -> Any:
        _note("execute", ctx)
        if ctx.attempt >= self.until:
            return None
        return _FAILURES[self.how]()

    def compensate(self, ctx: StepContext) -> None:
        _note("compensate", ctx)


def _raise(error: BaseException) -> Any:
    raise error


def _done(number: int) -> InlineDone:
    """The event of that number. Number 2 has none, and asking for it raises."""
    if number == 2:
        raise ValueError("no event")
    return InlineDone(str(number), Decimal(number))


async def _done_later(numbers: Iterable[int]) -> AsyncIterator[InlineDone]:
    for number in numbers:
        await asyncio.sleep(0)
        yield _done(number)


async def _done_together(numbers: Iterable[int]) -> Iterator[InlineDone]:
    await asyncio.sleep(0)
    return map(_done, numbers)


async def _stop_the_loop() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(3600)


async def _together(*errors: BaseException) -> None:
    async with asyncio.TaskGroup() as group:
        for error in errors:
            group.create_task(_fail_later(error))


async def _fail_later(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


def _group(*errors: BaseException, depth: int = 1) -> BaseException:
    group = BaseExceptionGroup("several", errors)
    for _ in range(depth):
        group = BaseExceptionGroup("deeper", [ValueError("beside"), group])
    return group


def _raise_from(error: BaseException, cause: BaseException) -> Any:
    raise error from cause


_FAILURES: dict[str, Any] = {
    "doubt in a task group": lambda: _together(ValueError("no"), InDoubtError("perhaps paid")),
    "fatal in a group": lambda: _raise(_group(RetryableError("busy"), FatalError("the account is closed"))),
    "exit in a group": lambda: _raise(_group(SystemExit(3))),
    "cause": lambda: _raise_from(FatalError("no booking"), InDoubtError("the answer was lost")),
    "lazy": lambda: (_done(number) for number in range(2)),
    "lazy fails": lambda: (_done(number) for number in range(3)),
    "lazy later": lambda: _done_later(range(2)),
    "lazy later fails": lambda: _done_later(range(3)),
    "lazy together": lambda: _done_together(range(2)),
    "lazy together fails": lambda: _done_together(range(3)),
    "lazy wrong": lambda: iter(range(3)),
    "lazy within": lambda: StepResult("output", map(_done, range(2))),  # type: ignore[arg-type]
    "wrong result": lambda: StepResult("output", 5),  # type: ignore[arg-type]
    "stop the loop": _stop_the_loop,
    "raise": lambda: _raise(ValueError("no")),
    "retryable": lambda: _raise(RetryableError("later", after_s=3600.0)),
    "fatal": lambda: _raise(FatalError("never")),
    "doubt": lambda: _raise(InDoubtError("who knows")),
    "exit": lambda: sys.exit(7),
    "exit with words": lambda: sys.exit("licence expired"),
    "exit with an object": lambda: sys.exit(["licence", "expired"]),  # type: ignore[arg-type]
    "exit without words": sys.exit,
    "late": lambda: time.sleep(0.1 if _recorded else 60.0),  # inline it has to come back, and a system ends it
    "garbage": lambda: StepResult(object()),
    "large": lambda: StepResult("x" * (1 << 21)),
    "no result": lambda: "text",
    "cancelled": lambda: _raise(asyncio.CancelledError()),
    "interrupt": lambda: _raise(KeyboardInterrupt()),
}


@dataclass(frozen=True)
class Late(Fail):
    how: str = "late"
    timeout_s = 0.02


@dataclass(frozen=True)
class BadUndo(SagaStep):
    """Its undo fails until the attempt ``until``."""

    until: int
    name: str = "BadUndo"
    compensation_retry: RetryPolicy = THRICE

    def execute(self, ctx: StepContext) -> None:
        _note("execute", ctx)

    def compensate(self, ctx: StepContext) -> None:
        _note("compensate", ctx)
        if ctx.attempt < self.until:
            raise OSError("the bank is closed")


@dataclass(frozen=True)
class AsyncLazy(AsyncWork):
    """Its coroutine returns a generator of so many events."""

    events: int = 2

    async def execute(self, ctx: StepContext) -> Any:  # type: ignore[override]
        await AsyncWork.execute(self, ctx)
        return (_done(number) for number in range(self.events))


TENANT: ContextVar[str] = ContextVar("tenant", default="nobody")
TENANT.set("of the module")


@event("inline.seen")
@dataclass(frozen=True)
class Seen:
    """What a call found when it began: its process, a context variable, and the precision of decimals."""

    pid: int
    tenant: str
    built_for: str
    precision: int


# By the name of a step: what its latest ``__post_init__`` in this process has found. An attribute would travel.
FOUND: dict[str, str] = {}


@dataclass(frozen=True)
class SetsContext(SagaStep):
    """Sets what other calls must not see, in its ``__post_init__`` and in its call."""

    name: str

    def __post_init__(self) -> None:
        FOUND[self.name] = TENANT.get()
        TENANT.set(f"built for {self.name}")

    def execute(self, ctx: StepContext) -> Any:
        seen = Seen(os.getpid(), TENANT.get(), FOUND[self.name], getcontext().prec)
        TENANT.set(f"called for {self.name}")
        getcontext().prec = 3
        return [seen]

    def compensate(self, ctx: StepContext) -> None: ...


class AsyncSetsContext(SetsContext):
    async def execute(self, ctx: StepContext) -> Any:
        await asyncio.sleep(0)
        return SetsContext.execute(self, ctx)

    async def compensate(self, ctx: StepContext) -> None: ...  # type: ignore[override]


@dataclass(frozen=True)
class LazyUndo(Work):
    """Its first undo returns events that can't be read."""

    compensation_retry = RetryPolicy(max_attempts=3, initial_s=0.0)

    def compensate(self, ctx: StepContext) -> Any:
        _note("compensate", ctx)
        return map(_done, range(4 - ctx.attempt))


@dataclass(frozen=True)
class Verified(Fail):
    how: str = "doubt"
    name: str = "Verified"
    answer: str = "applied"

    def verify(self, ctx: StepContext) -> Any:
        _note("verify", ctx)
        if self.answer == "exit":
            sys.exit("no licence")
        return {"applied": StepResult("found", [InlineDone("found", Decimal(2))]), "not": NOT_APPLIED}.get(
            self.answer, UNKNOWN
        )


@step
def greet(ctx: StepContext, name: str, times: tuple[int, ...] = (1, 2)) -> StepResult[Any]:
    _note("execute", ctx)
    return StepResult((name, times))


@greet.compensation  # type: ignore[arg-type]  # one of its parameters
def ungreet(ctx: StepContext, name: str) -> None:
    _note("compensate", ctx)
