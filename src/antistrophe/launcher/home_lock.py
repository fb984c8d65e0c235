"""The folder of a home: made, checked, and held by one launcher at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from antistrophe.errors import JournalError, SystemStateError
from antistrophe.linux.private_files import (
    make_private_folder,
    open_private,
    refuse_foreign,
    why_not_owners,
    why_not_private,
)

LOCK_NAME = "lock"
LOG_FOLDER = "log"
_NO_SYSTEM = b"no system\n"
_FOLDERS = (LOG_FOLDER, "attempts")


def prepare_home(home: Path) -> None:
    """Make the folder of a home (mode 0700, with its folders) where it is missing, and check that it can be used.

    Raises JournalError where the folder belongs to another user, can be changed by others, is not a folder, or can't be
    written to.
    """
    from tempfile import TemporaryFile  # whoever only attaches to a system needs none

    refuse_shared(home)
    try:
        make_private_folder(home, parents=True)
        refuse_shared(home)  # another user may have made it meanwhile
        for name in _FOLDERS:
            make_private_folder(home / name)
            if (why := why_not_owners(home / name) or _link_in(home / name)) is not None:
                raise JournalError(f"{home} can't be the home of an actor system: {why}")
        with TemporaryFile(dir=home):  # permissions are not enough: a file system may be read-only
            pass
    except OSError as error:
        reason = "there is a file of that name" if error.errno in (errno.EEXIST, errno.ENOTDIR) else error.strerror
        raise JournalError(
            f"{home} can't be the home of an actor system: {reason}; choose a folder that you can write to"
        ) from error


def _link_in(folder: Path) -> str | None:
    with os.scandir(folder) as entries:
        link = next((entry.path for entry in entries if entry.is_symlink()), None)
    return link and f"{link} is a link, and nothing is written through links; remove it"


def refuse_shared(home: Path) -> None:
    """Raise JournalError where the home belongs to another user, or others than its owner could change what is in it or
    put another folder in its place: they could have files of the owner deleted, or change the journal."""
    refuse_foreign(home)
    try:
        why = why_not_private(home) if home.is_dir() else None
    except OSError as error:
        raise JournalError(f"{home}: can't be used: {error.strerror}; choose a path that can") from error
    if why is not None:
        raise JournalError(f"{home} is no place for a home: {why}, or choose another home, in a folder of your own")


class HomeLock:
    """The lock that only one launcher of a home can hold. The kernel releases it when that process dies. What is
    written in it says that its holder has not ended as it should; ``after_death``: the last system had not."""

    def __init__(self, descriptor: int, *, after_death: bool) -> None:
        self._descriptor = descriptor
        self.after_death = after_death

    @classmethod
    def take(cls, home: Path, *, for_system: bool = True) -> HomeLock | None:
        """Take the lock without waiting; None when another launcher holds it. ``for_system``: the death of this holder
        is one of the home's system. Raises JournalError where the file system can't lock."""
        path = home / LOCK_NAME
        try:
            descriptor = open_private(path, os.O_RDWR)
        except OSError as error:
            raise JournalError(f"{path} can't be opened: {error.strerror}; check the permissions of {home}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            before = os.pread(descriptor, 100, 0)
            after_death = bool(before) and not before.endswith(_NO_SYSTEM)
            holder = b"%d\n" % os.getpid()  # for people: see `holder_of`
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder if for_system or after_death else holder + _NO_SYSTEM, 0)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            raise JournalError(
                f"{path} can't be locked: {error.strerror}; a home belongs on a local file system with free space"
            ) from error
        return cls(descriptor, after_death=after_death)

    def ends_well(self) -> None:
        """The holder has done everything that it had to do."""
        os.ftruncate(self._descriptor, 0)

    def release(self) -> None:
        """Release the lock for the next launcher."""
        os.close(self._descriptor)


@contextmanager
def without_system(home: Path, because: str) -> Iterator[None]:
    """Hold the home, so that no system starts there meanwhile. Raises SystemStateError where one runs: it has to be
    ended first, ``because`` of that. Raises JournalError where the file system can't lock."""
    lock = HomeLock.take(home, for_system=False)
    if lock is None:
        raise SystemStateError(f"the actor system of {home} runs ({holder_of(home)}): end it first, because {because}")
    try:
        yield
    finally:
        if not lock.after_death:  # else the next system has to know of the death that it comes after
            lock.ends_well()
        lock.release()


def holder_of(home: Path) -> str:
    """Who has taken the lock of the home last, in words."""
    try:
        pid = (home / LOCK_NAME).read_text("ascii").partition("\n")[0]
    except (OSError, ValueError):
        pid = ""
    return f"process {pid}" if pid.isdecimal() else "another process"
