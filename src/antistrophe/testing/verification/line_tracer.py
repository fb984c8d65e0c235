"""Follows a call of the user's code line by line, and kills its process before a given line.

A kill between two lines shows what happens when a call has done one effect, and not the next.
"""

from __future__ import annotations

import inspect
import linecache
import os
import signal
import sys
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType
from typing import Any, Self


class LineTracer:
    """While open, counts the lines that run in the file of ``method``, or none if ``method`` is None. Before the line
    that runs as number ``kill_at``, ``before_kill`` is called and the process is killed. The first line is 1."""

    def __init__(
        self,
        method: Callable[..., Any] | None,
        kill_at: int | None = None,
        before_kill: Callable[[], None] | None = None,
    ) -> None:
        self._file = None if method is None else _file_of(method)
        self._kill_at = kill_at
        self._before_kill = before_kill
        self._count = 0
        self._last = 0
        self._moves: dict[tuple[int, int], int] = {}
        self._others: Any = None  # of a debugger, or of what measures coverage

    def __enter__(self) -> Self:
        if self._file is not None:
            self._others = sys.gettrace()
            sys.settrace(self._on_call)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            sys.settrace(self._others)

    def seen(self, most: int) -> list[tuple[int, str]]:
        """The lines that were run, as number and source text: at most ``most``, spread evenly.

        A move from one line to another is listed once, however often it happened. The first line is left out, as
        nothing has happened before it.
        """
        if self._file is None:
            return []
        found = sorted((count, line) for (_, line), count in self._moves.items())[1:]
        chosen = found if len(found) <= most else [found[i * len(found) // most] for i in range(most)]
        return [(count, linecache.getline(self._file, line).strip()) for count, line in chosen]

    def _on_call(self, frame: FrameType, event: str, _argument: Any) -> Any:
        return self._on_line if event == "call" and frame.f_code.co_filename == self._file else None

    def _on_line(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            self._count += 1
            self._moves.setdefault((self._last, frame.f_lineno), self._count)
            self._last = frame.f_lineno
            if self._count == self._kill_at:
                if self._before_kill is not None:
                    self._before_kill()
                os.kill(os.getpid(), signal.SIGKILL)
        return self._on_line


def _file_of(method: Callable[..., Any]) -> str | None:
    """The file of a function or method, below its decorators; None if it is not written in Python."""
    code = getattr(inspect.unwrap(method), "__code__", None)
    return code.co_filename if isinstance(code, CodeType) else None
