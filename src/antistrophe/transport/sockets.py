"""The folder for the sockets of a home: only its owner can enter it, and its path is short enough for the kernel."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

from antistrophe.errors import SystemUnavailableError
from antistrophe.linux.private_files import make_private_folder, why_replaceable, write_private

MAX_PATH_BYTES = 107
"""The longest path of a socket: the kernel's ``sun_path`` without the closing NUL."""

ADMIN_LINK = "admin"
"""The name of the symlink, in the socket folder, to the socket of the running system's Admin."""

_NAME_BYTES = len(uuid.uuid4().hex)
_FOLDER = "sockets"
_POINTER = "sockets.path"
_PATH_AND_IDENTITY = re.compile(rb"(.*?)(?:\n(\d+:\d+))?\n?", re.DOTALL)  # a path may have line breaks itself
_PID_SUFFIX = ".pid"

_SHORT_FOLDER = Path("/tmp")


def new_socket_path(folder: Path) -> str:
    """A path in ``folder`` that no socket has had before, or will have again."""
    return str(folder / uuid.uuid4().hex)


def bind_private(listener: socket.socket, path: str) -> None:
    """Bind a socket to a path, with mode 0600 whatever the umask. Raises OSError."""
    listener.bind(path)
    Path(path).chmod(0o600)


def socket_folder(home: Path) -> Path:
    """Make the socket folder of a home ready (0700, owned by this user), and write its path into the home.

    It is ``<home>/sockets`` where the paths fit and the file system takes sockets, else the folder that the home had
    before, else a new one under ``$XDG_RUNTIME_DIR``, else one under the temporary folder (/tmp, where ``$TMPDIR`` is
    too deep as well). Nobody can guess the name of a new one, and make it first. A folder that the home has had before,
    and does not use any more, is removed. Only for who holds the lock of the home. Raises SystemUnavailableError where
    none of them is fit.
    """
    home = Path(os.path.realpath(home))
    before = _folder_before(home)
    reasons: list[str] = []
    for folder in _candidates(home, before):
        reason = _too_long(folder) or _made_ready(folder, outside=folder.parent != home)
        if reason is None:
            write_pointer(home, folder)
            if before not in (None, folder):
                remove_leftover_sockets(before)
                leave_socket_folder(home, before)
            return folder
        reasons.append(reason)
    raise SystemUnavailableError(f"there is no place for the sockets of {home}: " + "; ".join(reasons))


def write_pointer(home: Path, folder: Path) -> None:
    """Write into the home where its socket folder is. Raises SystemUnavailableError."""
    pointer = home / _POINTER
    fresh = home / f"{_POINTER}.{uuid.uuid4().hex}"
    try:
        write_private(fresh, os.fsencode(folder) + b"\n" + _identity(home) + b"\n")
        fresh.replace(pointer)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise SystemUnavailableError(f"{pointer} can't be written: {error.strerror}") from error


def existing_socket_folder(home: Path) -> Path | None:
    """The socket folder whose path is written in the home; None where there is none. Creates nothing.

    Raises SystemUnavailableError where other users can enter the folder: they could give orders to the system.
    """
    try:
        folder = _pointed_to(home)
    except OSError as error:
        raise SystemUnavailableError(f"{home / _POINTER} can't be read: {error.strerror}") from error
    try:
        status = None if folder is None else folder.lstat()
    except (OSError, ValueError):
        return None
    if folder is None or status is None:
        return None
    objection = _objection(folder, status)
    if objection is not None and folder.parent != Path(os.path.realpath(home)):
        return None  # the folder has gone, and somebody has made another of its name
    if objection is None and stat.S_IMODE(status.st_mode) & 0o077:
        objection = f"{folder} is open to other users (mode {stat.S_IMODE(status.st_mode):o}); chmod it to 700"
    if objection is not None:
        raise SystemUnavailableError(objection)
    return folder


def remove_leftover_sockets(folder: Path) -> int:
    """Remove the files that a dead system left in its socket folder; return their number. No system may run there."""
    removed = 0
    for entry in _entries(folder):
        link = entry.name == ADMIN_LINK and entry.is_symlink()
        if link or entry.name.endswith(_PID_SUFFIX) or _is_socket(entry):
            Path(entry.path).unlink(missing_ok=True)
            removed += 1
    return removed


def remove_dead_sockets(folder: Path) -> int:
    """Remove the sockets of dead processes of a system that runs; return their number. A socket on which a process
    listens stays."""
    candidates = [entry.path for entry in _entries(folder) if len(entry.name) == _NAME_BYTES and _is_socket(entry)]
    alive = _bound_sockets() if candidates else set()
    dead = [path for path in candidates if path not in alive and _refuses(path)]
    for path in dead:
        Path(path).unlink(missing_ok=True)
    return len(dead)


def leave_socket_folder(home: Path, folder: Path) -> None:
    """Remove an empty socket folder that is outside its home. No system may run there."""
    if folder.parent != Path(os.path.realpath(home)):
        with contextlib.suppress(OSError):
            folder.rmdir()


def remove_socket(path: str) -> None:
    """Remove the socket of a dead process, if it exists. Nothing but a socket is removed."""
    with contextlib.suppress(OSError, ValueError):
        if stat.S_ISSOCK(Path(path).lstat().st_mode):
            Path(path).unlink()


def pid_file(folder: Path, role: str) -> Path:
    """The file in which the process with this role writes its identity."""
    return folder / f"{role}{_PID_SUFFIX}"


def _candidates(home: Path, before: Path | None) -> Iterator[Path]:
    yield home / _FOLDER
    if before is not None:
        yield before
    name = f"antistrophe-{os.geteuid()}-{os.urandom(8).hex()}"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if Path(runtime).is_absolute() and Path(runtime).is_dir():
        yield Path(runtime) / name
    from tempfile import gettempdir  # sockets are seldom outside of the home

    yield Path(gettempdir()) / name
    yield _SHORT_FOLDER / name


def _pointed_to(home: Path) -> Path | None:
    """The path that is written in the home, unless a copy of the home has it from the other. Raises OSError where it
    can't be read."""
    try:
        found = _PATH_AND_IDENTITY.fullmatch((home / _POINTER).read_bytes())
        assert found is not None, "any bytes match"
        path, identity = found.groups()
        if identity is not None and identity != _identity(home):
            return None
    except (FileNotFoundError, NotADirectoryError):
        return None
    folder = Path(os.fsdecode(path))
    return folder if folder.is_absolute() else None


def _identity(home: Path) -> bytes:
    """What the home keeps when it is moved, and a copy does not have."""
    status = home.stat()
    return b"%d:%d" % (status.st_dev, status.st_ino)


def _folder_before(home: Path) -> Path | None:
    """The folder outside that is the home's from an earlier time, if it is still there."""
    try:
        folder = _pointed_to(home)
        if folder is None or folder.parent == home or _objection(folder, folder.lstat()) is not None:
            return None
    except (OSError, ValueError):
        return None
    return folder


def _too_long(folder: Path) -> str | None:
    length = len(os.fsencode(folder)) + 1 + _NAME_BYTES
    return f"{folder} makes paths of {length} bytes, {MAX_PATH_BYTES} fit" if length > MAX_PATH_BYTES else None


def _made_ready(folder: Path, *, outside: bool) -> str | None:
    try:
        if outside and (why := why_replaceable(folder)) is not None:
            return f"{folder}: {why}"
        make_private_folder(folder, parents=not outside)
        objection = _objection(folder, folder.lstat())
        if objection is None:
            folder.chmod(0o700)
            _try_a_socket(folder)
    except OSError as error:
        return f"{folder}: {error.strerror or error}"
    return objection


def _objection(folder: Path, status: os.stat_result) -> str | None:
    if stat.S_ISLNK(status.st_mode) or not stat.S_ISDIR(status.st_mode):
        return f"{folder} is not a folder: remove it"
    if status.st_uid != os.geteuid():
        return f"{folder} belongs to another user (uid {status.st_uid}): remove it"
    return None


def _try_a_socket(folder: Path) -> None:
    # Some file systems (shares of a virtual machine, for instance) refuse sockets.
    path = Path(new_socket_path(folder))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.bind(str(path))
    path.unlink()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return []
        raise


def _bound_sockets() -> set[str]:
    """The paths of the sockets that live processes of this network namespace listen on, as the kernel lists them."""
    lines = Path("/proc/net/unix").read_bytes().splitlines()[1:]
    return {os.fsdecode(fields[7]) for fields in (line.split(maxsplit=7) for line in lines) if len(fields) > 7}


def _refuses(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        return probe.connect_ex(path) == errno.ECONNREFUSED


def _is_socket(entry: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False
