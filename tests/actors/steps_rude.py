"""Steps that spoil the process in which they run, or leave something behind there."""

from __future__ import annotations

import _thread
import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from antistrophe import ResourceLimits, RetryableError, RetryPolicy, SagaStep, StepContext, StepResult

FILES = 40


@dataclass(frozen=True)
class CloseAll(SagaStep):
    """Closes every descriptor, as code that makes a daemon does, and opens files of its own under the numbers."""

    folder: str
    name: str = "CloseAll"
    fails: bool = False
    requires_compensation = False

    def execute(self) -> list[object]:
        os.closerange(3, 4096)
        for number in range(FILES):
            os.open(Path(self.folder, f"own-{number}"), os.O_RDWR | os.O_CREAT, 0o600)
        Path(self.folder, "pid").write_text(str(os.getpid()))
        if self.fails:
            raise LookupError("no such account")
        return []


@dataclass(frozen=True)
class StopTheLoop(SagaStep):
    """Closes every descriptor in a process that it shares with others."""

    folder: str
    requires_compensation = False

    async def execute(self) -> None:
        os.closerange(3, 4096)
        for number in range(FILES):
            os.open(Path(self.folder, f"own-{number}"), os.O_RDWR | os.O_CREAT, 0o600)


@dataclass(frozen=True)
class Pid(SagaStep):
    """Tells in which process it runs."""

    folder: str
    name: str = "Pid"

    def execute(self) -> None:
        Path(self.folder, self.name).write_text(str(os.getpid()))

    def compensate(self) -> None:
        Path(self.folder, f"undo-{self.name}").write_text(str(os.getpid()))


BEAT_S = 0.002


def beat(path: Path) -> None:
    """Write a line again and again, until the process ends."""
    while True:
        with path.open("a") as file:
            file.write(f"{time.monotonic()}\n")
        time.sleep(BEAT_S)


def wait_for_beat(path: Path) -> None:
    while not path.exists() or not path.stat().st_size:
        time.sleep(BEAT_S)


def start_daemon(path: Path) -> None:
    """A fork, a session of its own, another fork, and the parent ends at once."""
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            beat(path)
        os._exit(0)
    os.waitpid(child, 0)


def start_native_thread(path: Path) -> None:
    """A thread that Python's own list does not show."""
    _thread.start_new_thread(beat, (path,))


LEAVES: dict[str, Callable[[Path], object]] = {
    "thread": lambda path: threading.Thread(target=beat, args=(path,), daemon=True).start(),
    "native": start_native_thread,
    "executor": lambda path: ThreadPoolExecutor(1).submit(beat, path),
    "daemon": start_daemon,
    "child": lambda path: multiprocessing.get_context("fork").Process(target=beat, args=(path,)).start(),
}


@dataclass(frozen=True)
class Leave(SagaStep):
    """Leaves something that writes on, and returns, or raises in its first attempt."""

    folder: str
    what: str
    fails: bool = False
    isolation: str = "process"
    idempotent = True
    retry = RetryPolicy(max_attempts=2, initial_s=0.01, jitter=False)

    def execute(self, ctx: StepContext) -> None:
        left = Path(self.folder, f"beats-{ctx.attempt}")
        note_begin(self.folder, f"begin-{ctx.attempt}")
        LEAVES[self.what](left)
        wait_for_beat(left)
        if self.fails and ctx.attempt == 1:
            raise RetryableError("again")

    def compensate(self) -> None:
        note_begin(self.folder, "undo")
        time.sleep(0.05)


def note_begin(folder: str, what: str) -> None:
    """Write when this begins."""
    Path(folder, what).write_text(str(time.monotonic()))


@dataclass(frozen=True)
class LeaveAJob(SagaStep):
    """Leaves a job in the executor of its loop, which the saga waits for."""

    folder: str
    limits: ResourceLimits | None = None
    requires_compensation = False

    async def execute(self) -> None:
        loop, began = asyncio.get_running_loop(), asyncio.Event()
        loop.run_in_executor(None, self._job, lambda: loop.call_soon_threadsafe(began.set))
        await began.wait()

    def _job(self, tell: Callable[[], object]) -> None:
        tell()
        time.sleep(0.2)
        note_begin(self.folder, "job-over")


@dataclass(frozen=True)
class HangWithThread(SagaStep):
    """Starts a native thread in a process that it shares with others, and does not come to an end."""

    folder: str
    timeout_s = 1.0
    kill_grace_s = 0.3

    async def execute(self) -> None:
        start_native_thread(Path(self.folder, "beats-1"))
        await asyncio.sleep(3600)

    def compensate(self) -> None:
        note_begin(self.folder, "undo")
        time.sleep(0.05)


@dataclass(frozen=True)
class Tidy(SagaStep):
    """Starts threads and a process, and waits for them."""

    folder: str
    name: str
    requires_compensation = False

    def execute(self) -> None:
        thread = threading.Thread(target=time.sleep, args=(0.001,))
        thread.start()
        with ThreadPoolExecutor(2) as jobs:
            jobs.submit(time.sleep, 0.001)
        subprocess.run(["true"], check=True)
        thread.join()
        Path(self.folder, self.name).write_text(str(os.getpid()))


@dataclass(frozen=True)
class NoteBegin(SagaStep):
    """Tells when it begins."""

    folder: str
    name: str
    requires_compensation = False

    def execute(self) -> None:
        note_begin(self.folder, self.name)


@dataclass(frozen=True)
class OpenFiles(SagaStep):
    """Tells which files are open in its process."""

    name: str
    requires_compensation = False

    def execute(self) -> StepResult[list[str]]:
        return StepResult(open_files())


@dataclass(frozen=True)
class AsyncOpenFiles(SagaStep):
    """Tells which files are open in an async worker."""

    name: str
    requires_compensation = False

    async def execute(self) -> StepResult[list[str]]:
        return StepResult(open_files())


def open_files() -> list[str]:
    """What the descriptors of this process stand for."""
    links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return [str(link.readlink()) for link in links if link.is_symlink()]


def fork_on(path: Path) -> None:
    """A chain of forks in a session of its own: each process writes a line, forks another one, and ends."""
    os.setsid()
    while True:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, f"{time.monotonic()}\n".encode())
        os.close(file)
        if os.fork():
            os._exit(0)


@dataclass(frozen=True)
class ForkOn(SagaStep):
    """Starts chains of forks; hangs, or returns."""

    folder: str
    hangs: bool = True
    timeout_s = 3.0
    kill_grace_s = 0.1

    def execute(self) -> None:
        for number in range(1, 4):
            path = Path(self.folder, f"beats-{number}")
            if os.fork() == 0:
                fork_on(path)
            wait_for_beat(path)
        if self.hangs:
            time.sleep(3600)

    def compensate(self) -> None:
        note_begin(self.folder, "undo")
        time.sleep(0.3)


def give_to_the_loop(path: Path, loop: asyncio.AbstractEventLoop) -> None:
    """A thread that has the loop write again and again."""

    def write() -> None:
        with path.open("a") as file:
            file.write(f"{time.monotonic()}\n")

    while True:
        loop.call_soon_threadsafe(write)
        time.sleep(BEAT_S)


def start_one_that_gives(path: Path) -> None:
    threading.Thread(target=give_to_the_loop, args=(path, asyncio.get_running_loop()), daemon=True).start()


LEAVES_SHARED = {**LEAVES, "callbacks": start_one_that_gives}


def tell_pid(folder: str, name: str) -> None:
    Path(folder, name).write_text(str(os.getpid()))


def is_written(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


async def async_wait_for(path: Path) -> None:
    while not is_written(path):  # noqa: ASYNC110 - no event tells of a file
        await asyncio.sleep(BEAT_S)


@dataclass(frozen=True)
class LeaveShared(SagaStep):
    """Leaves something that writes on in a process that it shares with others, and returns."""

    folder: str
    what: str

    async def execute(self) -> None:
        left = Path(self.folder, "beats-1")
        LEAVES_SHARED[self.what](left)
        await async_wait_for(left)

    async def compensate(self) -> None:
        note_begin(self.folder, "undo")
        await asyncio.sleep(0.05)


@dataclass(frozen=True)
class TidyShared(SagaStep):
    """Starts threads and a process, and waits for them; and lets a file say when it is done."""

    folder: str
    name: str
    gate: str | None = None
    requires_compensation = False

    async def execute(self) -> None:
        tell_pid(self.folder, f"{self.name}-began")
        await asyncio.to_thread(time.sleep, 0.001)
        with ThreadPoolExecutor(2) as jobs:
            jobs.submit(time.sleep, 0.001)
        thread = threading.Thread(target=time.sleep, args=(0.001,))
        thread.start()
        process = await asyncio.create_subprocess_exec("true")
        await process.wait()
        thread.join()
        if self.gate is not None:
            await async_wait_for(Path(self.folder, self.gate))
        tell_pid(self.folder, self.name)


@dataclass(frozen=True)
class LeaveAndHang(SagaStep):
    """Starts a daemon that writes, without any environment, and hangs."""

    folder: str

    def execute(self) -> None:
        path = Path(self.folder, "beats-1")
        code = f"from pathlib import Path; from tests.actors.steps_rude import beat; beat(Path({str(path)!r}))"
        path_of_code = os.pathsep.join(sys.path)
        daemon = subprocess.Popen(
            [sys.executable, "-c", code], env={"PYTHONPATH": path_of_code}, start_new_session=True
        )
        wait_for_beat(path)
        Path(self.folder, "daemon").write_text(str(daemon.pid))
        Path(self.folder, "pid").write_text(str(os.getpid()))
        time.sleep(3600)

    def compensate(self) -> None:
        note_begin(self.folder, "undo")
        time.sleep(0.1)


SYSTEM_WITHIN = """
import sys
from antistrophe import SagaDefinition, SagaOrchestrator
from tests.actors.steps_rude import LeaveAndHang

if __name__ == "__main__":
    with SagaOrchestrator(sys.argv[1]) as orchestrator:
        orchestrator.execute(SagaDefinition("within").add_step(LeaveAndHang(sys.argv[2])))
"""


@dataclass(frozen=True)
class RunSystem(SagaStep):
    """Runs a program that has an actor system of its own, which does not come to an end."""

    folder: str
    timeout_s = 60.0

    def execute(self) -> None:
        home = str(Path(self.folder, "within"))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", SYSTEM_WITHIN, home, self.folder], env=environment, check=True)

    def compensate(self) -> None:
        note_begin(self.folder, "undo")
        time.sleep(0.3)


@dataclass(frozen=True)
class NameAHome(SagaStep):
    """Starts a program whose environment names another home, and waits for it."""

    folder: str
    home: str
    requires_compensation = False

    def execute(self) -> None:
        code = "import time; print(1, flush=True); time.sleep(3600)"
        environment = {**os.environ, "ANTISTROPHE_HOME": self.home}
        with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            Path(self.folder, "child").write_text(str(child.pid))
            while not Path(self.folder, "go").exists() and child.poll() is None:
                time.sleep(BEAT_S)
            assert child.poll() is None, "it was killed"
            child.kill()
