"""The locks of a database file: who holds that of writers, how long a process of the system waits for it, and whether
anybody has the file open."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from antistrophe.errors import JournalBusyError, JournalError
from antistrophe.linux.file_locks import command_of, is_locked, writer_of

T = TypeVar("T")

_WAL_WRITE_BYTE = 120
"""The byte of the -shm file that SQLite's writer locks (the first lock of walIndexLock, in SQLite's file format)."""

_WAL_OPEN_BYTE = 128
"""The byte of the -shm file that each process shares which has the database open (``UNIX_SHM_DMS`` of SQLite's
os_unix.c)."""

_SHARED_BYTE = 0x40000002
"""The first of the bytes of the database file that readers share. A connection with ``locking_mode = EXCLUSIVE``, which
needs no -shm, has them alone."""

_LOOK_S = 0.001
_GLANCE_S = 0.02


def is_busy(error: BaseException | None) -> bool:
    """Whether SQLite reports that somebody else holds a lock."""
    code = error.sqlite_errorcode if isinstance(error, sqlite3.OperationalError) else 0
    return code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def holder_in_words(path: Path) -> str:
    """Who holds the write lock of that database now, in words; empty where nobody can say."""
    pid = writer_of(f"{path}-shm", _WAL_WRITE_BYTE)
    if pid is None:
        pid = writer_of(path, _SHARED_BYTE)
    if pid is None:
        return ""
    if pid == 0:
        return "a process of another container holds it"
    if pid == os.getpid():
        return f"this process itself ({pid}) holds it, through another connection"
    return f"process {pid} ({command_of(pid) or 'no command'}) holds it"


def is_open(path: Path) -> bool:
    """Whether a process has that database open, this one included: it knows what of the log counts, and SQLite goes by
    that. If nobody has, all that stands in the log counts for whoever opens it first."""
    return is_locked(f"{path}-shm", _WAL_OPEN_BYTE)


class LockPatience:
    """How long a thread waits for the lock that must not be kept from its other work.

    It waits for ``wait_s`` the first time. When that was in vain it only has a glance at the lock from then on, at most
    every ``pause_s`` seconds, and refuses in between without a look, until it gets the lock again. SQLite itself looks
    ever less often; this looks every millisecond, so that it finds the short time between two commits of a busy writer.
    """

    def __init__(self, wait_s: float, pause_s: float = 0.25) -> None:
        self._wait_s = wait_s
        self._pause_s = pause_s
        self._refusal: str | None = None
        self._look_at = 0.0

    def take(self, call: Callable[[], T], refusal: Callable[[sqlite3.Error], JournalError]) -> T:
        """Make a call, again and again until it gets the lock. Raises JournalBusyError, made by ``refusal``, where it
        does not."""
        now = time.monotonic()
        if self._refusal is not None and now < self._look_at:
            raise JournalBusyError(self._refusal)
        until = now + (self._wait_s if self._refusal is None else _GLANCE_S)
        while True:
            try:
                result = call()
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                if time.monotonic() >= until:
                    refused = refusal(error)
                    self._refusal, self._look_at = str(refused), time.monotonic() + self._pause_s
                    raise refused from error
            else:
                self._refusal = None
                return result
            time.sleep(_LOOK_S)
