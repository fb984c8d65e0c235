"""Steps that use what functions under ``@on_worker_start`` have made."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antistrophe import SagaStep, StepContext, StepResult, on_worker_start
from tests.waiting import until


def note(line: str) -> None:
    with Path("notes").open("a") as notes:
        notes.write(f"{line} {os.getpid()}\n")


class Client:
    """An async client with a background task: it answers only while the task lives."""

    def __init__(self) -> None:
        self.questions: asyncio.Queue[asyncio.Future[int]] = asyncio.Queue()
        self.answered = 0
        self.task = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        while True:
            question = await self.questions.get()
            self.answered += 1
            question.set_result(self.answered)

    async def ask(self) -> int:
        question = asyncio.get_running_loop().create_future()
        self.questions.put_nowait(question)
        answer: int = await question
        return answer

    async def aclose(self) -> None:
        self.task.cancel()
        note("closed client")


class Thread:
    """A sync client with a thread."""

    def __init__(self) -> None:
        self.wanted = threading.Event()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._run, name="client", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while self.wanted.wait():
            self.wanted.clear()
            self.done.set()

    def ask(self) -> bool:
        self.wanted.set()
        answered = self.done.wait(5.0)
        self.done.clear()
        return answered


@on_worker_start
async def client() -> Client:
    note("started client")
    return Client()


@on_worker_start("thread")
def make_thread() -> Iterator[Thread]:
    note("started thread")
    yield Thread()
    note("closed thread")


@on_worker_start
async def group() -> AsyncIterator[asyncio.TaskGroup]:
    async with asyncio.TaskGroup() as tasks:
        yield tasks
    note("closed group")


@on_worker_start
@contextlib.contextmanager
def child() -> Iterator[int]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


@on_worker_start
def lock() -> Any:
    return threading.Lock()


class _Told(SagaStep):
    def told(self, ctx: StepContext, answer: object) -> StepResult[Any]:
        pids = [os.getpid(), ctx.worker["child"]]
        os.kill(pids[1], 0)
        return StepResult({"answer": answer, "pids": pids, "locked": ctx.worker["lock"].locked()})


@dataclass(frozen=True)
class Ask(_Told):
    """One of many in an async worker."""

    timeout_s = 10.0
    name: str = "Ask"

    async def execute(self, ctx: StepContext) -> Any:
        return self.told(ctx, await ctx.worker["client"].ask())

    async def compensate(self, ctx: StepContext) -> None: ...


@dataclass(frozen=True)
class AskAlone(_Told):
    """A coroutine in a process of its own, because it can be undone without one."""

    timeout_s = 10.0
    name: str = "AskAlone"

    async def execute(self, ctx: StepContext) -> Any:
        return self.told(ctx, await ctx.worker["client"].ask())

    def compensate(self, ctx: StepContext) -> None: ...


@dataclass(frozen=True)
class AskThread(_Told):
    timeout_s = 10.0
    name: str = "AskThread"

    def execute(self, ctx: StepContext) -> Any:
        return self.told(ctx, ctx.worker["thread"].ask())

    def compensate(self, ctx: StepContext) -> None: ...


@dataclass(frozen=True)
class AskThreadFresh(AskThread):
    isolation = "fresh"
    name: str = "AskThreadFresh"


@dataclass(frozen=True)
class Lazy(SagaStep):
    """Makes its client in the first call, on whose end the client's task is ended."""

    timeout_s = 10.0
    name: str = "Lazy"

    async def execute(self, ctx: StepContext) -> Any:
        global lazy
        first = lazy is None
        if lazy is None:
            lazy = Client()
        if first:
            return StepResult(await lazy.ask())
        await lazy.task
        return None

    async def compensate(self, ctx: StepContext) -> None: ...


lazy: Client | None = None


@dataclass(frozen=True)
class AskForNothing(SagaStep):
    def execute(self, ctx: StepContext) -> Any:
        return ctx.worker["nothing"]

    def compensate(self, ctx: StepContext) -> None: ...


def wait_for_notes(folder: Path, line: str, count: int) -> list[str]:
    def found() -> list[str]:
        text = (folder / "notes").read_text() if (folder / "notes").exists() else ""
        return [each.split()[-1] for each in text.splitlines() if each.startswith(line)]

    until(lambda: len(found()) >= count, f"{count} x {line!r}, not {found()}")
    return found()
