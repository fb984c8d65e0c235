"""``@on_worker_start``: what it takes, how ``ctx.worker`` finds what was made, and what is closed at the end."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any, Self

import pytest

from antistrophe import InvalidStepError, ResourceNotFoundError, on_worker_start
from antistrophe.actors.step.call_loop import CallLoop
from antistrophe.actors.step.worker_resources import WorkerResources
from antistrophe.definition import worker_start
from antistrophe.definition.code_loading import CodeNotLoadableError
from antistrophe.definition.step import step
from antistrophe.definition.worker_start import Worker, worker_starts, worker_starts_reached

NOTHING = step(lambda: None)


@pytest.fixture(autouse=True)
def nothing_else_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_start, "_registered", {})


@pytest.fixture
def loop() -> Iterator[CallLoop]:
    loop = CallLoop()
    yield loop
    loop.close()


@pytest.fixture
def made(loop: CallLoop) -> Iterator[Callable[..., Any]]:
    """Registers a function, has it called, and gives what a step would get; closed at the end of the test."""
    resources = WorkerResources()

    @step
    def probe(ctx: Any) -> None: ...

    def make(function: Any) -> Any:
        on_worker_start("made")(function)
        resources.start(loop.run_apart)
        return resources.seen_from(probe)["made"]

    yield make
    resources.close(loop.run_apart)


def named(module: str, name: str = "client") -> Any:
    """A function of that module."""

    def function() -> str:
        return module

    function.__module__, function.__name__, function.__qualname__ = module, name, name
    return function


# --- what it takes ------------------------------------------------------------------------------------------------


def test_it_returns_the_function_and_keeps_its_name() -> None:
    one, other, third = named("m", "one"), named("m", "other"), named("m", "third")
    assert on_worker_start(one) is one
    assert on_worker_start("db")(other) is other
    assert on_worker_start(name="cache")(third) is third
    assert [each.name for each in worker_starts()] == ["one", "db", "cache"]


@pytest.mark.parametrize("wrong", [3, object, "text".upper, None.__class__])
def test_it_stands_above_functions_only(wrong: Any) -> None:
    with pytest.raises(InvalidStepError, match="above a function"):
        on_worker_start()(wrong)


def test_it_takes_no_function_with_parameters() -> None:
    def needs(dsn: str, *, size: int, other: int = 1, **more: int) -> None: ...

    with pytest.raises(InvalidStepError, match="the parameters dsn, size"):
        on_worker_start(needs)


@pytest.mark.parametrize("name", ["", 3])
def test_a_name_is_a_text(name: Any) -> None:
    with pytest.raises(InvalidStepError, match="a name that is a text"):
        on_worker_start(name=name)(named("m"))


def test_a_name_is_taken_once_in_a_module_but_a_module_may_be_loaded_again() -> None:
    on_worker_start(named("m"))
    on_worker_start(named("m"))
    on_worker_start(named("other"))
    with pytest.raises(InvalidStepError, match="two functions"):
        on_worker_start("client")(named("m", "second"))


# --- how it is found ----------------------------------------------------------------------------------------------


def test_a_step_gets_what_its_own_module_has_made() -> None:
    made = {("shop", "client"): 1, ("bank", "client"): 2, ("bank", "pool"): 3}
    assert Worker(made, "shop")["client"] == 1
    assert Worker(made, "bank")["client"] == 2
    assert Worker(made, "shop")["pool"] == 3
    assert dict(Worker(made, "shop")) == {"client": 1, "pool": 3}
    assert len(Worker(made)) == 2
    assert Worker(made).get("nothing") is None
    with pytest.raises(ResourceNotFoundError, match="shop and bank, and none in other"):
        Worker(made, "other")["client"]
    with pytest.raises(ResourceNotFoundError, match=r"There is: 'client', 'pool'"):
        Worker(made, "shop")["nothing"]
    with pytest.raises(KeyError, match="There is: none"):
        Worker()["client"]


def test_inline_the_modules_count_whose_names_stand_in_those_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, package, deep, apart = ModuleType("s"), ModuleType("p"), ModuleType("p.deep"), ModuleType("p.apart")
    package.__dict__["apart"] = apart  # somebody else has imported it
    for module in (steps, package, deep, apart):
        monkeypatch.setitem(sys.modules, module.__name__, module)
        on_worker_start(named(module.__name__))
    steps.__dict__["deep"] = deep
    assert {each.module for each in worker_starts_reached(["s"])} == {"s", "p", "p.deep"}
    assert worker_starts_reached(["json", "no such module"]) == []


# --- what it makes, and what is closed ----------------------------------------------------------------------------


class Closes:
    """Has one of the methods, and notes its calls."""

    def __init__(self) -> None:
        self.said: list[str] = []


class WithClose(Closes):
    def close(self) -> None:
        self.said.append("close")

    def __enter__(self) -> str:
        raise AssertionError("what can be closed is not entered")

    def __exit__(self, *_: object) -> None: ...


class WithAclose(Closes):
    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self.said.append("aclose")

    def close(self) -> None:
        self.said.append("close")


class WithCoroutineClose(Closes):
    async def close(self) -> None:
        await asyncio.sleep(0)
        self.said.append("close")


class Manager(Closes):
    def __enter__(self) -> Self:
        self.said.append("enter")
        return self

    def __exit__(self, *error: object) -> None:
        self.said.append(f"exit {error[0]}")


class AsyncManager(Closes):
    async def __aenter__(self) -> Self:
        self.said.append("enter")
        self.task = asyncio.current_task()
        return self

    async def __aexit__(self, *error: object) -> None:
        assert asyncio.current_task() is self.task
        self.said.append(f"exit {error[0]}")


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (WithClose, ["close"]),
        (WithAclose, ["aclose"]),
        (WithCoroutineClose, ["close"]),
        (Manager, ["enter", "exit None"]),
        (AsyncManager, ["enter", "exit None"]),
        (Closes, []),
    ],
)
@pytest.mark.parametrize("how", ["function", "coroutine", "generator", "async generator", "manager"])
def test_what_it_made_is_closed(loop: CallLoop, cls: type[Closes], expected: list[str], how: str) -> None:
    held = cls()

    def function() -> Closes:
        return held

    async def coroutine() -> Closes:
        return held

    def generator() -> Iterator[Closes]:
        yield held
        held.said.append("after")

    async def agenerator() -> AsyncIterator[Closes]:
        yield held
        held.said.append("after")

    made = {
        "function": function,
        "coroutine": coroutine,
        "generator": generator,
        "async generator": agenerator,
        "manager": contextlib.contextmanager(generator),
    }
    resources = WorkerResources()
    on_worker_start("made")(made[how])
    resources.start(loop.run_apart)
    assert resources.seen_from(NOTHING)["made"] is held
    assert resources.missing() == []
    resources.close(loop.run_apart)
    assert held.said == (["after"] if "ator" in how or how == "manager" else expected)
    resources.close(loop.run_apart)
    assert not resources.to_close


def test_what_is_not_to_be_closed_is_left_alone(made: Callable[..., Any]) -> None:
    assert made(lambda: os) is os


@pytest.mark.parametrize("value", [threading.Lock(), io.StringIO, None, {"a": 1}, asyncio.Lock()])
def test_a_value_is_given_as_it_is(made: Callable[..., Any], value: Any) -> None:
    assert made(lambda: value) is value


def test_a_task_is_cancelled_at_the_end(loop: CallLoop) -> None:
    async def beat() -> asyncio.Task[bool]:
        return asyncio.create_task(asyncio.Event().wait())

    resources = WorkerResources()
    on_worker_start(beat)
    resources.start(loop.run_apart)
    task = resources.seen_from(NOTHING)["beat"]
    loop.run(asyncio.sleep(0))
    assert not task.done(), "it outlives the calls"
    resources.close(loop.run_apart)
    assert task.cancelled()


def test_one_that_can_not_be_closed_does_not_keep_the_others(loop: CallLoop) -> None:
    first = WithClose()

    def fails() -> Iterator[None]:
        yield
        raise OSError("gone")

    def twice() -> Iterator[int]:
        yield 1
        yield 2

    on_worker_start("first")(lambda: first)
    on_worker_start(fails)
    on_worker_start(twice)
    resources = WorkerResources()
    resources.start(loop.run_apart)
    resources.close(loop.run_apart)
    assert first.said == ["close"]


@pytest.mark.parametrize(
    "error", [ValueError("no broker"), SystemExit("no broker"), asyncio.CancelledError("no broker")]
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_fails_is_told_with_its_name(loop: CallLoop, error: BaseException, asynchronous: bool) -> None:
    def client() -> None:
        raise error

    async def async_client() -> None:
        raise error

    on_worker_start(async_client if asynchronous else client)
    resources = WorkerResources()
    with pytest.raises(CodeNotLoadableError, match=r"client of .*test_on_worker_start.*@on_worker_start.*no broker"):
        resources.start(loop.run_apart)
    assert len(resources.missing()) == 1


def test_a_generator_has_to_yield(loop: CallLoop) -> None:
    def client() -> Iterator[int]:
        if os.getpid() < 0:
            yield 1

    on_worker_start(client)
    with pytest.raises(CodeNotLoadableError, match="didn't yield"):
        WorkerResources().start(loop.run_apart)
