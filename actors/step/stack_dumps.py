"""Stack dumps: where an attempt stood when it was ended. Its process writes its Python stacks just before it dies."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import os
import re
import resource
import signal
from collections.abc import Sequence
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from antistrophe.actors.step.attempt_file import open_in_home, stack_path
from antistrophe.linux.descriptor import file_and_size, file_behind, is_open
from antistrophe.linux.private_files import write_private
from antistrophe.linux.procfs import read
from antistrophe.messages import ProcessDead

if TYPE_CHECKING:  # the supervisor and the saga hosts read dumps, and need no asyncio
    import asyncio

STACK_SIGNAL = signal.SIGRTMAX - 3
"""The signal that asks a step process for its stacks. User code hardly needs it, and the answer comes even from within
native code."""

MAX_STACK_BYTES = 16_384
"""The bytes that are kept of a stack dump; the rest is cut off, and the text says so."""

_MOST_READ_BYTES = 1 << 20
_HIGHEST_NUMBER = 65_536
_ROOM_ABOVE = 16
_MOST_TASKS = 20
_MOST_FRAMES = 100
_STACK_BIT = 1 << (STACK_SIGNAL - 1)
_STATES_WITHOUT_ANSWER = {
    "T": "had been stopped (SIGSTOP), and a stopped process can't answer",
    "t": "was held by a debugger",
    "D": "was in uninterruptible sleep",
}
_CUT = "\n... (cut)"
_BLOCK = re.compile(r"^(?=Current thread 0x|Thread 0x|Task )", re.MULTILINE)
_OUR_FRAME = re.compile(
    r'^  File ".*/antistrophe/'
    r'(?:definition/\w+|actors/step/(?:call|step|async_step|event_loop))\.py", line ',
    re.MULTILINE,
)


class StackFile:
    """The file of a process's stacks, opened before anything goes wrong.

    Making it and ``begin`` raise OSError where the disk refuses.
    """

    def __init__(self, home: str | os.PathLike[str], lease_name: str) -> None:
        self._file = _out_of_the_way(open_in_home(stack_path(home, lease_name), os.O_WRONLY | os.O_APPEND))
        self._opened = file_behind(self._file)
        faulthandler.unregister(
            STACK_SIGNAL
        )  # else it would take its handlers for installed, whoever has replaced them
        faulthandler.disable()
        # These handlers are written in C: they write the file even while the interpreter is busy or in native code.
        faulthandler.register(STACK_SIGNAL, file=self._file, all_threads=True, chain=False)
        faulthandler.enable(self._file, all_threads=True)

    def close(self) -> None:
        """Close the file, which another one replaces."""
        if is_open(self._file, self._opened):
            os.close(self._file)

    def begin(self) -> bool:
        """Empty the file: another attempt begins. False where user code has closed the file: its number may belong to
        another file by now."""
        there = file_and_size(self._file)
        if there is None or there[0] != self._opened:
            return False
        if there[1] > 0:
            os.ftruncate(self._file, 0)
        return True

    def write_tasks(self, step: asyncio.Task[Any]) -> None:
        """Write where the tasks of a waiting loop stand; the stack of its thread shows only the loop."""
        import asyncio  # there already, as there is a task

        with contextlib.suppress(OSError):
            if is_open(self._file, self._opened):
                os.write(self._file, _tasks_text([step, *(asyncio.all_tasks(step.get_loop()) - {step})]))


def _out_of_the_way(file: int) -> int:
    """The same file under a high number. The handlers in C can't check what is open under their number when they write,
    and a file that user code opens gets the lowest number that is free."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        high = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, max(3, min(soft, _HIGHEST_NUMBER) - _ROOM_ABOVE))
    except OSError:  # no number is free up there
        return file
    os.close(file)
    return high


def write_tasks_to(home: str | os.PathLike[str], lease_name: str, tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Write where these tasks stand as the stack of the attempt with that lease. The first task is the step's own."""
    with contextlib.suppress(OSError):
        write_private(stack_path(home, lease_name), _tasks_text(tasks))


def read_stack(home: str | os.PathLike[str], lease_name: str) -> str | None:
    """Where the attempt with that lease stood, the step's own frames first; None where it wrote nothing."""
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


def why_no_answer(pid: int) -> str:
    """Why a live step process may not answer when it is asked for its stacks, as the end of `why_no_stack`'s text."""
    lines = (read(f"/proc/{pid}/status") or b"").decode("ascii", "replace").splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    state = _STATES_WITHOUT_ANSWER.get(status.get("State", "")[:1])
    if state is not None:
        return state
    if int(status.get("SigBlk", "0"), 16) & _STACK_BIT:
        return "held back all signals"
    if status and not int(status.get("SigCgt", "0"), 16) & _STACK_BIT:
        return "had lost its handler of that signal: something in the process has set another one"
    return "did not answer before it was killed"


def why_no_stack(home: str | os.PathLike[str], dead: ProcessDead) -> str:
    """Why a dead process, whose call had begun, has left no stack."""
    if not stack_path(home, dead.lease.name).exists():
        return "there was no file that its process could have written it to"
    if dead.asked is not None:
        return f"its process was asked, but {dead.asked}"
    if dead.signal is not None:
        return f"signal {dead.signal} ended its process before anybody could ask it"
    if dead.exit_code is not None:
        return "its process ended by itself and wrote nothing"
    return "its process died together with the system, and nobody was left to ask it"


def _rank(block: str) -> int:
    """The order in which blocks are shown: a fault's own words, the step's task, the main thread, then the others."""
    for rank, start in enumerate(("Fatal", "Task of the step", "Current thread", "Task ")):
        if block.startswith(start):
            return rank
    return 4


def _without_runtime(block: str) -> str:
    """The block without the frames of the runtime that called the step; the whole block if the step is not in it."""
    found = _OUR_FRAME.search(block)
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
    """The frames of a coroutine, and of what it awaits, down to the first that has no frame."""
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
