"""Where an attempt stood when it was ended: its Python stacks, written by its process just before it dies."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import re
import signal
from collections.abc import Sequence
from types import CodeType, FrameType
from typing import Any

from antistrophe.actors.step.attempt_file import stack_path
from antistrophe.linux.procfs import read
from antistrophe.messages import ProcessDead

STACK_SIGNAL = signal.SIGRTMAX - 3
"""Asks a step process for its stacks. Not one that user code is likely to want; answered in native code too."""

MAX_STACK_BYTES = 16_384
"""What is kept of them; the rest is cut off, with a mark."""

_MOST_READ_BYTES = 1 << 20
_MOST_TASKS = 20
_MOST_FRAMES = 100
_STACK_BIT = 1 << (STACK_SIGNAL - 1)
_DEAF_STATES = {
    "T": "had been stopped (SIGSTOP), and what is stopped can't answer",
    "t": "was held by a debugger",
    "D": "was in uninterruptible sleep",
}
_CUT = "\n... (cut)"
_BLOCK = re.compile(r"^(?=Current thread 0x|Thread 0x|Task )", re.MULTILINE)
_OURS = re.compile(r'^  File ".*/antistrophe/(?:definition/step|actors/step/(?:call|step))\.py", line ', re.MULTILINE)


class StackFile:
    """The writing side, held by a step process and open before anything goes wrong."""

    def __init__(self, home: str | os.PathLike[str], lease_name: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        path = stack_path(home, lease_name)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._file = os.open(path, flags, 0o600)
        # Written by the handlers themselves, in C: neither a busy interpreter nor native code keeps them from it.
        faulthandler.register(STACK_SIGNAL, file=self._file, all_threads=True, chain=False)
        faulthandler.enable(self._file, all_threads=True)

    def begin(self) -> None:
        """Another attempt begins: forget the last one's. Raises OSError where the disk refuses."""
        os.ftruncate(self._file, 0)

    def write_tasks(self, step: asyncio.Task[Any]) -> None:
        """What the tasks of a loop that waits are waiting for; a thread's stack shows only the loop."""
        with contextlib.suppress(OSError):
            os.write(self._file, _tasks_text([step, *(asyncio.all_tasks(step.get_loop()) - {step})]))


def write_tasks_to(home: str | os.PathLike[str], lease_name: str, tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Keep what these tasks wait for, the step's own first, as the stack of the attempt with that lease."""
    with contextlib.suppress(OSError):
        stack_path(home, lease_name).write_bytes(_tasks_text(tasks))


def read_stack(home: str | os.PathLike[str], lease_name: str) -> str | None:
    """Where that process stood, the step's own frames first; None where it left no word of it."""
    try:
        with stack_path(home, lease_name).open("rb") as file:
            text = file.read(_MOST_READ_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    blocks = [_without_runtime(block.rstrip()) for block in _BLOCK.split(text) if block.strip()]
    kept = "\n".join(sorted(blocks, key=_rank)).encode("utf-8", "replace")
    if len(kept) > MAX_STACK_BYTES:
        return kept[: MAX_STACK_BYTES - len(_CUT)].decode("utf-8", "ignore") + _CUT
    return kept.decode() or None


def how_found(pid: int) -> str:
    """What a live step process is about, as far as that keeps it from answering when it is asked for its stacks."""
    lines = (read(f"/proc/{pid}/status") or b"").decode("ascii", "replace").splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    state = _DEAF_STATES.get(status.get("State", "")[:1])
    if state is not None:
        return state
    if int(status.get("SigBlk", "0"), 16) & _STACK_BIT:
        return "held back all signals"
    if status and not int(status.get("SigCgt", "0"), 16) & _STACK_BIT:
        return "had no ear for that any more: something in it took the handler of the signal away"
    return "did not answer before it was killed"


def why_no_stack(home: str | os.PathLike[str], dead: ProcessDead) -> str:
    """Why that process, which had begun its call, left no word of where it stood."""
    if not stack_path(home, dead.lease.name).exists():
        return "there was no file that its process could have written it to"
    if dead.asked is not None:
        return f"its process was asked, but {dead.asked}"
    if dead.signal is not None:
        return f"signal {dead.signal} ended its process before anybody could ask it"
    if dead.exit_code is not None:
        return "its process left by itself, without a word"
    return "its process died together with the system, and nobody was left to ask it"


def _rank(block: str) -> int:
    """A fault's own words, the step's task, the main thread, then the others."""
    for rank, start in enumerate(("Fatal", "Task of the step", "Current thread", "Task ")):
        if block.startswith(start):
            return rank
    return 4


def _without_runtime(block: str) -> str:
    """Without the frames of the runtime that called the step; all of them where the step itself is not in it."""
    found = _OURS.search(block)
    head_end = block.find("\n") + 1
    return block[: found.start()].rstrip() if found is not None and found.start() > head_end else block


def _tasks_text(tasks: Sequence[asyncio.Task[Any]]) -> bytes:
    shown = tasks[:_MOST_TASKS]
    return "".join(_task_text(task, task is tasks[0]) for task in shown).encode("utf-8", "replace")


def _task_text(task: asyncio.Task[Any], of_step: bool) -> str:
    lines = [_frame_line(code, line) for code, line in _awaited(task.get_coro())]
    head = "Task of the step" if of_step else "Task beside it"
    return "\n".join([f"{head} (most recent call first):", *reversed(lines)]) + "\n"


def _awaited(coroutine: Any) -> list[tuple[CodeType, int]]:
    """The frames of a coroutine and of what it awaits, down to what can't be looked into."""
    frames: list[tuple[CodeType, int]] = []
    while coroutine is not None and len(frames) < _MOST_FRAMES:
        frame: FrameType | None = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            break
        frames.append((frame.f_code, frame.f_lineno or 0))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return frames


def _frame_line(code: CodeType, line: int) -> str:
    return f'  File "{code.co_filename}", line {line} in {code.co_name}'
