"""Files and folders for their owner only: how they are made whatever the umask, and who could change them."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from antistrophe.errors import JournalError

_OWNERS_FILE = 0o600
_OWNERS_FOLDER = 0o700
_MADE_PARENT = 0o755
_ACL = "system.posix_acl_access"


def open_private(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file, made with mode 0600 where it is missing, whatever the umask. A link of that name is not followed.
    Raises OSError."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _OWNERS_FILE)
    try:
        if os.fstat(descriptor).st_mode & _OWNERS_FILE != _OWNERS_FILE:  # the umask took some of it
            os.fchmod(descriptor, _OWNERS_FILE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_private(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file as `open_private` opens it. Raises OSError."""
    with open(open_private(path, os.O_WRONLY | os.O_TRUNC), "wb") as file:
        file.write(content)


def replace_private(path: str | os.PathLike[str], content: bytes, *, synced: bool = False) -> None:
    """Write a file as `write_private` does, all at once: whoever reads it finds what was there or what is there now,
    also after a kill; where it is ``synced``, also after a loss of power. Raises OSError."""
    new = Path(f"{os.fspath(path)}.new")
    write_private(new, content)
    if synced:
        with open(new, "rb") as written:
            os.fsync(written.fileno())
    new.replace(path)


def make_private_folder(folder: Path, *, parents: bool = False) -> None:
    """Make a folder with mode 0700, whatever the umask, where nothing has that name. ``parents``: make those that are
    missing too, such that nobody else can write to them. Raises OSError."""
    if parents:
        for parent in reversed(folder.parents):
            _make_folder(parent, _MADE_PARENT)
    _make_folder(folder, _OWNERS_FOLDER)


def _make_folder(folder: Path, mode: int) -> None:
    try:
        folder.mkdir(mode=mode)
    except FileExistsError:
        return
    except OSError:
        if not folder.is_dir():  # as /, or a folder in one that can't be written to
            raise
        return
    made = stat.S_IMODE(folder.lstat().st_mode)
    if made & _OWNERS_FOLDER != _OWNERS_FOLDER:
        folder.chmod(made | _OWNERS_FOLDER)


@contextlib.contextmanager
def opened_folder(folder: str | os.PathLike[str]) -> Iterator[int]:
    """A descriptor of the folder, for functions that take ``dir_fd``. A link of that name is not followed. Raises
    OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def why_not_private(folder: Path) -> str | None:
    """Why others could change what is in the folder, or put another one in its place, and what to do; None where nobody
    can but its owner and root. ``folder`` is absolute and exists. Raises OSError."""
    return why_not_owners(folder) or why_replaceable(folder)


def why_replaceable(folder: Path) -> str | None:
    """Why others could put something else in the place of the folder, which need not exist yet; None where nobody can.
    Raises OSError."""
    return next(filter(None, map(_writers_above, folder.resolve().parents)), None)


def why_not_owners(folder: Path) -> str | None:
    """Why others could change what is in the folder, whose place is safe; None where nobody can. Raises OSError."""
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode) or not stat.S_ISDIR(status.st_mode):
        return f"{folder} is not a folder (a link is not followed); remove it, or move it away"
    if status.st_uid != os.geteuid():
        return f"{folder} belongs to user {status.st_uid}; remove it, or chown it to user {os.geteuid()}"
    writers = _writers(folder, status)
    return writers and f"{folder} can be written to by {writers}; chmod go-w {folder}"


def _writers_above(parent: Path) -> str | None:
    status = parent.lstat()
    if status.st_mode & stat.S_ISVTX:
        return None
    if status.st_uid not in (0, os.geteuid()) and _is_mapped(status.st_uid):
        return f"the folder above it, {parent}, belongs to user {status.st_uid}, who could put another in its place"
    writers = _writers(parent, status)
    return writers and (
        f"the folder above it, {parent}, can be written to by {writers}, who could put another in its place; chmod go-w"
        f" {parent}"
    )


def _writers(folder: Path, status: os.stat_result) -> str | None:
    """Who else than its owner can write to the folder, or None."""
    mode = f"(mode {stat.S_IMODE(status.st_mode):o})"
    if status.st_mode & stat.S_IWOTH:
        return f"everybody {mode}"
    if status.st_mode & stat.S_IWGRP and not (_is_private(status.st_gid, status.st_uid) and not _has_acl(folder)):
        return f"group {_group_name(status.st_gid)} {mode}"
    return None


def _is_private(gid: int, uid: int) -> bool:
    """Whether the group is that user's own: it has the user's name or number, and no other member."""
    try:
        group, owner = grp.getgrgid(gid), pwd.getpwuid(uid)
    except KeyError:
        return False
    if group.gr_name != owner.pw_name and gid != uid:
        return False
    return set(group.gr_mem) <= {owner.pw_name} and all(
        user.pw_uid == uid or user.pw_gid != gid for user in pwd.getpwall()
    )


def _has_acl(folder: Path) -> bool:
    """Whether an access control list says more than the mode, whose bits of the group are its mask then."""
    try:
        return bool(os.getxattr(folder, _ACL))
    except OSError:
        return False


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _is_mapped(uid: int) -> bool:
    """Whether this user namespace knows the user. Where it does not, as with the root of the machine in a container
    without rights, the number stands for everybody outside."""
    ranges = [[int(number) for number in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(first <= uid < first + length for first, _, length in ranges)


def refuse_foreign(path: Path) -> None:
    """Raise JournalError if ``path`` (a file or a home) exists and belongs to another user."""
    try:
        owner = path.stat().st_uid
    except FileNotFoundError:
        return
    except OSError as error:
        raise JournalError(f"{path}: can't be used: {error.strerror}; choose a path that can") from error
    if owner != os.geteuid():
        raise JournalError(
            f"{path} belongs to user {owner}, not to user {os.geteuid()} who runs this: run it as user {owner}, or"
            " choose another path"
        )
