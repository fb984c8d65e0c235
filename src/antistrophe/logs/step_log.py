"""The file of step logs: many processes append whole lines to it, and it never grows beyond its size.

A file that is full is moved to NAME.1, in the place of the one before, so at least half of what may be kept is there.
A process opens the file at its first line and keeps it open: a step that has used up its descriptors can still be
heard. User code may close any descriptor, so each write looks first at what is open under its number; and the number is
never closed here, only opened anew, so that no thread writes to a file of the user's that has just got this number.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from os import close, dup2, fstat, lstat, rename, write
from pathlib import Path

from antistrophe.linux.private_files import make_private_folder, open_private

LOG_FOLDER = "log"
STEP_LOG = "steps.log"
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK
_NONE = (-1, -1)


def step_log_path(home: str | os.PathLike[str]) -> Path:
    """The file that is appended to; the one before it stands beside, with `.1`."""
    return Path(home) / LOG_FOLDER / STEP_LOG


def step_log_before(home: str | os.PathLike[str]) -> Path:
    """The file before the one that is appended to."""
    path = step_log_path(home)
    return path.with_name(f"{path.name}.1")


class StepLog:
    """The step log of a home, as one process appends to it. Both files together have at most ``max_bytes``, and one
    line more for each process that writes. Nothing is opened before the first line."""

    def __init__(self, home: str | os.PathLike[str], max_bytes: int) -> None:
        self._path = step_log_path(home)
        self._before = step_log_before(home)
        self._file_bytes = max_bytes // 2
        self._descriptor = -1
        self._opened = _NONE
        self._torn = False

    def append(self, line: bytes) -> bool:
        """Append a line, with one write. False where the disk, or a limit of this process, refuses it."""
        try:
            self._look()
            data = b"\n" + line if self._torn else line
            written = write(self._descriptor, data)
        except OSError:
            return False
        self._torn = written != len(data)
        return not self._torn

    def _look(self) -> None:
        """Have the file open that is to be appended to. Raises OSError."""
        there = self._status()
        if there is None:
            self._descriptor = self._open()
        elif there.st_nlink == 0:  # somebody has removed it
            self._open_again()
        elif there.st_size >= self._file_bytes:
            self._move_away()
            self._open_again()
        else:
            return
        there = fstat(self._descriptor)
        self._opened = there.st_dev, there.st_ino

    def _status(self) -> os.stat_result | None:
        """What is known of our file; None where something else is open under its number, or nothing."""
        if self._descriptor < 0:
            return None
        try:
            there = fstat(self._descriptor)
        except OSError:
            return None
        return there if (there.st_dev, there.st_ino) == self._opened else None

    def _open(self) -> int:
        try:
            file = open_private(self._path, _FLAGS)
        except FileNotFoundError:
            make_private_folder(self._path.parent)
            file = open_private(self._path, _FLAGS)
        if not stat.S_ISREG(fstat(file).st_mode):
            close(file)
            raise FileExistsError(f"{self._path} is not a file")
        return file

    def _open_again(self) -> None:
        file = self._open()
        dup2(file, self._descriptor, inheritable=False)
        close(file)

    def _move_away(self) -> None:
        """Move the full file away, unless another process has done it, or does it at this moment."""
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                there = lstat(self._path)
                if (there.st_dev, there.st_ino) == self._opened:
                    rename(self._path, self._before)  # noqa: PTH104 - bound when this module was imported
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
