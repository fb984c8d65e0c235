"""Takes what sagas have said out of the step log, while other processes append to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from antistrophe.logs.step_log import step_log_before, step_log_path
from antistrophe.logs.stored_records import saga_ids_in

_LONGEST_LINE = 1 << 20


def forget(home: str | os.PathLike[str], is_gone: Callable[[str], bool]) -> int:
    """Overwrite, in the step log of a home, every line of the sagas that are gone, with spaces. Returns how many lines
    there were. Whole lines never change, so nobody who appends is in the way; a file that is moved away meanwhile is
    the same file. A file that can't be written is left as it is."""
    gone = cache(is_gone)
    return sum(_blank(path, gone) for path in (step_log_before(home), step_log_path(home)))


def _blank(path: Path, is_gone: Callable[[str], bool]) -> int:
    number = 0
    with suppress(OSError):
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if stat.S_ISREG(os.fstat(file).st_mode):
                for offset, line in _lines(file):
                    if any(map(is_gone, saga_ids_in(line))):
                        os.pwrite(file, b" " * len(line.rstrip(b"\n")), offset)
                        number += 1
        finally:
            os.close(file)
    return number


def _lines(descriptor: int) -> Iterator[tuple[int, bytes]]:
    offset = 0
    with open(descriptor, "rb", closefd=False) as file:
        while line := file.readline(_LONGEST_LINE):
            if line.endswith(b"\n"):  # else it may be just written
                yield offset, line
            offset += len(line)
