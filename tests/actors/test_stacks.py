"""Stack dumps: the timeline of a saga shows where an attempt stood when it was ended."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from antistrophe import SagaDefinition, SagaError, SagaOrchestrator, SagaStep, StepCrashedError, StepTimeoutError
from antistrophe.actors.step.attempt_file import attempt_path, remove_attempt_files, stack_path
from antistrophe.actors.step.stack_dumps import MAX_STACK_BYTES, STACK_SIGNAL, read_stack, why_no_answer, why_no_stack
from antistrophe.messages import ProcessDead
from antistrophe.saga.entries import Lease
from tests.actors.staging import outcome


def waits_deep_down() -> None:
    threading.Event().wait()


@dataclass(frozen=True)
class Stuck(SagaStep):
    how: str
    timeout_s = 1.0  # a busy machine must reach the hang within it
    kill_grace_s = 1.0  # and write its stacks within this

    def execute(self) -> None:
        match self.how:
            case "wait":
                waits_deep_down()
            case "ignores":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                waits_deep_down()
            case "native":
                pow(7, 3**200_000, 10**4_000 + 1)
            case "thread":
                threading.Thread(target=waits_deep_down, daemon=True).start()
                time.sleep(60)
            case "stopped":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "segfault":
                ctypes.string_at(0)
            case "masked":
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
                waits_deep_down()
            case "deaf":
                signal.signal(STACK_SIGNAL, signal.SIG_IGN)
                waits_deep_down()
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "left":
                os._exit(0)

    def compensate(self) -> None:
        pass


class StuckVerify(Stuck):
    def verify(self) -> None:
        waits_deep_down()


async def awaits_deep_down() -> None:
    await asyncio.get_running_loop().create_future()


@dataclass(frozen=True)
class StuckCoroutine(SagaStep):
    timeout_s = 1.0
    kill_grace_s = 1.0

    async def execute(self) -> None:
        await awaits_deep_down()

    async def compensate(self) -> None:
        pass


def failed(orchestrator: SagaOrchestrator, how: str) -> tuple[SagaError, dict[str, Any]]:
    saga = SagaDefinition(f"stuck-{how}").add_step(Stuck(how))
    error = outcome(orchestrator, saga)
    assert isinstance(error, SagaError)
    entry = next(each for each in orchestrator.get_timeline(saga.id) if each.kind == "AttemptFailed")
    return error, dict(entry.data)


@pytest.mark.parametrize(
    ("how", "frame"),
    [
        ("wait", "in waits_deep_down"),
        ("ignores", "in waits_deep_down"),
        ("native", "in execute"),
        ("thread", "in waits_deep_down"),
    ],
)
def test_where_a_hung_attempt_stood_is_in_the_timeline(system: SagaOrchestrator, how: str, frame: str) -> None:
    error, data = failed(system, how)
    assert isinstance(error, StepTimeoutError)
    assert "File" not in str(error)
    assert frame in data["stack"]
    assert "in execute" in data["stack"].split("\nThread ", maxsplit=1)[0]
    assert "thespian" not in data["stack"]
    assert "call_step" not in data["stack"]
    assert len(data["stack"].encode()) <= MAX_STACK_BYTES


def test_where_a_segfault_stood_is_in_the_timeline(system: SagaOrchestrator) -> None:
    error, data = failed(system, "segfault")
    assert isinstance(error, StepCrashedError)
    assert error.signal == signal.SIGSEGV
    assert data["stack"].startswith("Fatal Python error: Segmentation fault")
    assert "in execute" in data["stack"]


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("stopped", "its process was asked, but had been stopped"),
        ("masked", "its process was asked, but held back all signals"),
        ("deaf", "its process was asked, but had lost its handler of that signal"),
        ("killed", "signal 9 ended its process before anybody could ask it"),
        ("left", "its process ended by itself and wrote nothing"),
    ],
)
def test_where_no_stack_can_be_taken_the_timeline_says_why(system: SagaOrchestrator, how: str, why: str) -> None:
    error, data = failed(system, how)
    assert isinstance(error, StepCrashedError if how in ("killed", "left") else StepTimeoutError)
    assert data["stack"] is None
    assert data["no_stack"].startswith(why)


def test_where_a_hung_verify_stood_is_in_the_timeline(system: SagaOrchestrator) -> None:
    saga = SagaDefinition("stuck-verify").add_step(StuckVerify("left"))
    assert isinstance(outcome(system, saga), StepCrashedError)
    entry = next(each for each in system.get_timeline(saga.id) if each.kind == "VerdictGiven")
    assert entry.data["verdict"] == "unknown"
    assert "in waits_deep_down" in str(entry.data["stack"])
    assert "in verify" in str(entry.data["stack"])
    assert entry.data["no_stack"] is None


def test_the_fate_of_a_process_that_left_no_stack_is_told(tmp_path: Path) -> None:
    dead = ProcessDead("saga", Lease("p", 1, 1, "boot"), None, None, by_system=True)
    assert why_no_stack(tmp_path, dead).startswith("there was no file")
    stack_path(tmp_path, "p").parent.mkdir()
    stack_path(tmp_path, "p").touch()
    assert "died together with the system" in why_no_stack(tmp_path, dead)
    assert "did not answer" in why_no_stack(tmp_path, replace(dead, asked=why_no_answer(os.getpid() * 1_000)))


def test_a_coroutine_is_shown_where_it_awaits(system: SagaOrchestrator) -> None:
    saga = SagaDefinition("stuck-coroutine").add_step(StuckCoroutine())
    assert isinstance(outcome(system, saga), StepTimeoutError)
    entry = next(each for each in system.get_timeline(saga.id) if each.kind == "AttemptFailed")
    head, first, second, *_ = str(entry.data["stack"]).splitlines()
    assert head.startswith("Task of the step")
    assert first.endswith("in awaits_deep_down")
    assert second.endswith("in execute")
    assert "antistrophe/actors" not in str(entry.data["stack"])


def test_a_long_stack_is_cut_and_goes_with_the_attempt_file(tmp_path: Path) -> None:
    attempt_path(tmp_path, "p").parent.mkdir()
    frames = "".join(f'  File "/a.py", line {number} in deep\n' for number in range(2_000))
    stack_path(tmp_path, "p").write_text(f"Current thread 0x01 (most recent call first):\n{frames}")
    stack = read_stack(tmp_path, "p")
    assert stack is not None
    assert stack.endswith("(cut)")
    assert len(stack.encode()) <= MAX_STACK_BYTES
    remove_attempt_files(tmp_path, "p")
    assert read_stack(tmp_path, "p") is None
