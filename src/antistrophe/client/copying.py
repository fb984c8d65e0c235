"""Copies the journal of a home, or an event store in a file of its own, into a database of PostgreSQL. No system of the
home may run. What needs psycopg is imported with the first call."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from antistrophe.client.stored_home import existing_home
from antistrophe.errors import JournalBusyError, JournalError
from antistrophe.journal import journal_path
from antistrophe.launcher.home_lock import refuse_shared, without_system
from antistrophe.launcher.leftovers import end_earlier_life
from antistrophe.linux.late_imports import late_import
from antistrophe.settings import Settings

if TYPE_CHECKING:
    from antistrophe.moving.copying import CopyReport, FileCopy


@dataclass(frozen=True, slots=True)
class Copying:
    """What is copied, and to where. ``events``: the file of an event store; None: the journal of ``home``."""

    home: Path
    url: str
    events: Path | None = None

    def look(self) -> CopyReport:
        """Say what would be copied, and change nothing. Raises JournalError where it can't be."""
        with self._held():
            return self._file().look()

    def make(self, settings: Settings, tell: Callable[[str], None], progress: Callable[[str, int], None]) -> CopyReport:
        """Copy all of it, or go on where an earlier call was killed. ``settings``: those of the home's host. ``tell``
        and ``progress``: see ``FileCopy.make``. Raises SystemStateError where the home's system runs, RequestError
        where another database is named than at first, and JournalError where it can't be copied."""
        with self._held():
            if self.events is None:
                end_earlier_life(self.home)  # attempts that a killed system has left
            file = self._file()
            with late_import():
                from antistrophe.moving.owning import owner_of
            return file.make(owner_of(settings), tell, progress)

    def call_off(self) -> None:
        """Let the file be what it was before. Raises RequestError where all of it is copied, or nothing."""
        with self._held():
            self._file().call_off()

    def _file(self) -> FileCopy:
        with late_import():
            from antistrophe.moving.copying import FileCopy
        if self.events is not None:
            return FileCopy(self.events.absolute(), self.url, None)
        return FileCopy(journal_path(self.home), self.url, self.home)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the home, so that no system starts there; or the folder of the event store. So a copy and a call that
        calls it off exclude each other."""
        if self.events is not None:
            with _alone_in(self.events.absolute().parent):
                yield
            return
        refuse_shared(existing_home(self.home))
        with without_system(self.home, "what is journaled while the journal is copied would be lost"):
            yield


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder, where no other call copies an event store meanwhile. The kernel lets go of it when this process
    dies. Raises JournalError, and JournalBusyError where another call holds it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise JournalError(f"{folder} can't be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalBusyError(
                f"another call copies an event store in {folder}: wait until it has ended"
            ) from error
        except OSError as error:
            raise JournalError(f"{folder} can't be locked: {error.strerror}") from error
        yield
    finally:
        os.close(descriptor)
