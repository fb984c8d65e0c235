"""The folder of a home: made, checked, and held by one launcher at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from pathlib import Path

from antistrophe.errors import JournalError
from antistrophe.storage.opening import refuse_foreign

LOCK_NAME = "lock"
LOG_FOLDER = "log"


def prepare_home(home: Path) -> None:
    """Make the folder of a home (mode 0700, with its log folder) where it is missing, and check that it can be used.

    Raises JournalError where the folder belongs to another user, is not a folder, or can't be written to.
    """
    refuse_foreign(home)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / LOG_FOLDER).mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):  # permissions are not enough: a file system may be read-only
            pass
    except OSError as error:
        reason = "there is a file of that name" if error.errno in (errno.EEXIST, errno.ENOTDIR) else error.strerror
        raise JournalError(
            f"{home} can't be the home of an actor system: {reason}; choose a folder that you can write to"
        ) from error
    refuse_foreign(home)  # another user may have made it meanwhile


class HomeLock:
    """The lock that only one launcher of a home can hold. The kernel releases it when that process dies."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, home: Path) -> HomeLock | None:
        """Take the lock without waiting; None when another launcher holds it. Raises JournalError where the file system
        can't lock."""
        path = home / LOCK_NAME
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise JournalError(f"{path} can't be opened: {error.strerror}; check the permissions of {home}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)  # for people; no code reads it
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            raise JournalError(
                f"{path} can't be locked: {error.strerror}; a home belongs on a local file system with free space"
            ) from error
        return cls(descriptor)

    def release(self) -> None:
        """Release the lock for the next launcher."""
        os.close(self._descriptor)
