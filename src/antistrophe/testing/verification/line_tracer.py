"""Follows a call of user code line by line, and kills its process before a given one: between any two effects."""

from __future__ import annotations

import inspect
import linecache
import os
import signal
import sys
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType
from typing import Any, Self


class Lines:
    """While open, counts the lines that are run of the file that ``method`` stands in (of None, nothing). Before line
    number ``kill_at``, ``strike`` is called and the process killed. The first line is 1."""

    def __init__(
        self, method: Callable[..., Any] | None, kill_at: int | None = None, strike: Callable[[], None] | None = None
    ) -> None:
        self._file = None if method is None else _file_of(method)
        self._kill_at = kill_at
        self._strike = strike
        self._count = 0
        self._last = 0
        self._steps: dict[tuple[int, int], int] = {}

    def __enter__(self) -> Self:
        if self._file is not None:
            sys.settrace(self._on_call)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            sys.settrace(None)

    def seen(self, most: int) -> list[tuple[int, str]]:
        """The lines that were run, as number and source text, each way from one line to the next once; without the
        first, before which nothing has happened. At most so many of them, spread evenly."""
        if self._file is None:
            return []
        found = sorted((count, line) for (_, line), count in self._steps.items())[1:]
        chosen = found if len(found) <= most else [found[i * len(found) // most] for i in range(most)]
        return [(count, linecache.getline(self._file, line).strip()) for count, line in chosen]

    def _on_call(self, frame: FrameType, event: str, _argument: Any) -> Any:
        return self._on_line if event == "call" and frame.f_code.co_filename == self._file else None

    def _on_line(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            self._count += 1
            self._steps.setdefault((self._last, frame.f_lineno), self._count)
            self._last = frame.f_lineno
            if self._count == self._kill_at:
                if self._strike is not None:
                    self._strike()
                os.kill(os.getpid(), signal.SIGKILL)
        return self._on_line


def _file_of(method: Callable[..., Any]) -> str | None:
    """The file of a function or method, below its decorators; None for what is not written in Python."""
    code = getattr(inspect.unwrap(method), "__code__", None)
    return code.co_filename if isinstance(code, CodeType) else None
