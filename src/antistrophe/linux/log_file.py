"""A log file that several processes append to, and that never grows beyond its size: then it is moved away.

Nobody waits and no line is lost: the file is opened for each write. Who finds it full moves it to NAME.1, in the place
of an earlier one. Who has opened it before that moment writes the last lines of NAME.1.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from pathlib import Path

from antistrophe.linux.private_files import open_private


def bounded_handler(path: str, max_bytes: int) -> logging.Handler:
    """A handler that writes to such a file; a configuration of logging can name this function."""
    return logging.StreamHandler(LogFile(Path(path), max_bytes))


class LogFile:
    """A text stream, for logging's handlers. It may be moved away by others at any time too, and a full disk costs log
    records and nothing else. The file and NAME.1 each have at most ``max_bytes`` and one write more."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes

    def write(self, text: str) -> None:
        """Append the text, with one write."""
        with contextlib.suppress(OSError):
            descriptor = open_private(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                if os.fstat(descriptor).st_size >= self._max_bytes and self._moved_away(descriptor):
                    os.close(descriptor)
                    descriptor = open_private(self._path, os.O_WRONLY | os.O_APPEND)
                os.write(descriptor, text.encode("utf-8", "replace"))
            finally:
                os.close(descriptor)

    def _moved_away(self, descriptor: int) -> bool:
        """Move the full file away; False where another process does it at this moment."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), self._path.lstat()):
                self._path.rename(f"{self._path}.1")
        return True
