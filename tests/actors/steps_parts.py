"""The parts that an attempt can play: it fails, hangs, leaves something behind or dies; and how it shows its life."""

from __future__ import annotations

import collections
import ctypes
import itertools
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antistrophe import (
    AttemptCancelled,
    FatalError,
    InDoubtError,
    RetryableError,
    StepContext,
    StepResult,
)
from tests.actors import effects

if TYPE_CHECKING:
    from tests.actors.steps_act import Act

BEAT_S = 0.01
AFTER = ("raise-after", "doubt", "exit-after", "kill-after", "unencodable", "late", "shy", "swallow")
"""Parts that write themselves when their effect is there."""


def _fail(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    raise ValueError(argument or "no")


def _fail_after(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    step.say(ends, ctx)
    raise ValueError("after the effect")


def _retryable(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    raise RetryableError("busy", after_s=float(argument) if argument else None)


def _fatal(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    raise FatalError("never")


def _doubt(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    step.say(ends, ctx)
    raise InDoubtError("perhaps")


def _exit_after(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    step.say(ends, ctx)
    os._exit(int(argument))


def _kill_after(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    step.say(ends, ctx)
    os.kill(os.getpid(), signal.SIGKILL)


def _segv(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    ctypes.string_at(0)


class _Awkward:
    """A value that can't travel; packing it raises an error of its own."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("do not look at me")


def _unencodable(step: Act, ctx: StepContext, argument: str, ends: str) -> Any:
    step.say(ends, ctx)
    loop: list[Any] = []
    loop.append(loop)
    wrong: dict[str, Any] = {
        "object": StepResult(object()),
        "large": StepResult(b"x" * (2 << 20)),
        "loop": StepResult(loop),
        "awkward": StepResult(_Awkward()),
        "no-event": ["text"],
        "number": 5,
        "events": StepResult(None, [object()]),
    }
    return wrong[argument]


def _hang(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    with _beating(step, ctx):
        time.sleep(3600)


def _spin(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    """Hang in C code. ``deque`` keeps the GIL and never looks at signals, so that no Python code runs any more."""
    with _beating(step, ctx):
        if argument == "deque":
            collections.deque(itertools.repeat(0), maxlen=0)
        elif argument == "pow":
            pow(7, 7**11)
        else:
            re.match(r"(a+)+$", "a" * 64 + "b")


def _stubborn(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    """Does not end when told to, not even while it still starts what beats."""
    while True:
        try:
            with _beating(step, ctx):
                time.sleep(3600)
        except AttemptCancelled:
            step.say("cancelled", ctx)


def _late(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    """Has its effect, is told to end, and returns within its grace."""
    try:
        step.say(ends, ctx)  # who reads it may tell it to end at once
        time.sleep(3600)
    except AttemptCancelled:
        step.say("cancelled", ctx)


def _shy(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    """Told to end, it raises something of its own."""
    try:
        time.sleep(3600)
    except AttemptCancelled as error:
        raise ValueError("I was interrupted") from error


def _tidy(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    """Told to end, it cleans up."""
    try:
        time.sleep(3600)
    finally:
        step.say("cancelled", ctx)


def _stop(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(3600)


def _deaf(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    """Removes the handler of SIGTERM; the process may be used again."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _crowd(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    """Starts two processes that beat: an ordinary one, and one with an environment of its own."""
    for environment in (None, {"PATH": os.environ.get("PATH", "")}):
        _start_beat(step, ctx, environment)
    if argument == "hang":
        time.sleep(3600)
    if argument == "exit":
        os._exit(9)


def _stray(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    """Starts a process in a group and an environment of its own, so that only the inherited mark shows whose it is."""
    _start_beat(step, ctx, {"PATH": os.environ.get("PATH", "")}, leaves=True)
    if argument == "hang":
        time.sleep(3600)
    if argument == "exit":
        os._exit(9)


def _daemon(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    """Starts a daemon as textbooks do: a fork, a session of its own, another fork, and its parent ends at once."""
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            _start_beat(step, ctx, {"PATH": os.environ.get("PATH", "")}, leaves=True)
        os._exit(0)
    os.waitpid(child, 0)
    while not any(each.what == "beat" for each in effects.EffectLog(Path(step.log)).read(ctx.saga_id)):
        time.sleep(BEAT_S)
    if argument == "exit":
        os._exit(9)
    time.sleep(3600)


def _gate(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    """Waits until the test opens the gate."""
    gate = Path(f"{step.log}.{argument}.gate")
    while not gate.exists():
        time.sleep(0.002)


def _pause(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    time.sleep(float(argument))


def _memory(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    hoard = []
    while True:
        hoard.append(bytearray(8 << 20))


def _burn(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    while True:
        pass


def _files(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    while True:
        os.open("/dev/null", os.O_RDONLY)


def _fork(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    """Forks, and lets the child return from the step as if it were the attempt."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)


def _context(step: Act, ctx: StepContext, argument: str, ends: str) -> Any:
    """Returns what it sees of its context."""
    seen = {
        "saga_id": ctx.saga_id,
        "step_name": ctx.step_name,
        "step_index": ctx.step_index,
        "attempt": ctx.attempt,
        "idempotency_key": ctx.idempotency_key,
        "forward_key": ctx.forward_key,
        "outputs": dict(ctx.outputs),
        "output": ctx.output,
        "in_doubt": ctx.in_doubt,
        "left_s": ctx.deadline.timestamp() - time.time(),
        "pid": os.getpid(),
        "thread": threading.current_thread() is threading.main_thread(),
    }
    step.say("context", ctx, note=repr(seen))
    ctx.log.warning("seen by %s", ctx.step_name)
    return StepResult({"of": step.name, "attempt": ctx.attempt})


def _logging(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    """Logs as libraries do, and configures logging as programs do."""
    logging.getLogger("some.library").warning("a warning of the library")
    handler = logging.FileHandler(Path(step.log).with_name("own.log"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("own").error("its own way")
    logging.getLogger().removeHandler(handler)


def _ok(step: Act, ctx: StepContext, argument: str, ends: str) -> None:
    return


PARTS: dict[str, Callable[[Act, StepContext, str, str], Any]] = {
    "ok": _ok,
    "raise": _fail,
    "raise-after": _fail_after,
    "retryable": _retryable,
    "fatal": _fatal,
    "doubt": _doubt,
    "exit": lambda step, ctx, argument, ends: os._exit(int(argument)),
    "exit-after": _exit_after,
    "sysexit": lambda step, ctx, argument, ends: sys.exit(int(argument)),
    "kill": lambda step, ctx, argument, ends: os.kill(os.getpid(), signal.SIGKILL),
    "kill-after": _kill_after,
    "abort": lambda step, ctx, argument, ends: os.abort(),
    "segv": _segv,
    "unencodable": _unencodable,
    "hang": _hang,
    "spin": _spin,
    "stubborn": _stubborn,
    "late": _late,
    "shy": _shy,
    "tidy": _tidy,
    "stop": _stop,
    "deaf": _deaf,
    "crowd": _crowd,
    "stray": _stray,
    "daemon": _daemon,
    "gate": _gate,
    "pause": _pause,
    "memory": _memory,
    "burn": _burn,
    "files": _files,
    "fork": _fork,
    "context": _context,
    "logging": _logging,
}


# --- signs of life ------------------------------------------------------------------------------------------------


class _beating:  # noqa: N801 - reads as a statement
    """Writes beats while the block runs, from a thread of this process and from a child process."""

    def __init__(self, step: Act, ctx: StepContext) -> None:
        self._step, self._ctx = step, ctx

    def __enter__(self) -> None:
        threading.Thread(target=self._beat, daemon=True).start()
        _start_beat(self._step, self._ctx, None)

    def __exit__(self, *_error: object) -> None:
        return

    def _beat(self) -> None:
        while True:
            self._step.say("beat", self._ctx, "thread", sync=False)
            time.sleep(BEAT_S)


def _start_beat(step: Act, ctx: StepContext, environment: dict[str, str] | None, *, leaves: bool = False) -> None:
    """A child that beats until it is killed, and that has begun when this returns."""
    arguments = [sys.executable, "-I", str(Path(__file__).with_name("steps_beat.py")), step.log]
    arguments += [ctx.saga_id, ctx.step_name, str(ctx.attempt), "own" if environment else "child"]
    arguments += ["back"] if ctx.idempotency_key != ctx.forward_key else []
    child = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, start_new_session=leaves)
    assert child.stdout is not None
    child.stdout.read(1)
