"""The folder for the sockets of a home: only its owner can enter it, and its path is short enough for the kernel."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
import stat
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from antistrophe.errors import SystemUnavailableError
from antistrophe.linux.private_files import make_private_folder, write_private

MAX_PATH_BYTES = 107
"""The longest path of a socket: the kernel's ``sun_path`` without the closing NUL."""

ADMIN_LINK = "admin"
"""The name of the symlink, in the socket folder, to the socket of the running system's Admin."""

_NAME_BYTES = len(uuid.uuid4().hex)
_POINTER = "sockets.path"
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

    It is ``<home>/sockets`` where the paths fit and the file system takes sockets, else a folder under
    ``$XDG_RUNTIME_DIR``, else one under the temporary folder (/tmp, where ``$TMPDIR`` is too deep as well). Raises
    SystemUnavailableError where none of them is fit.
    """
    home = Path(os.path.realpath(home))
    reasons: list[str] = []
    for folder in _candidates(home):
        reason = _too_long(folder) or _made_ready(folder)
        if reason is None:
            _write_pointer(home, folder)
            return folder
        reasons.append(reason)
    raise SystemUnavailableError(f"there is no place for the sockets of {home}: " + "; ".join(reasons))


def existing_socket_folder(home: Path) -> Path | None:
    """The socket folder whose path is written in the home; None where there is none. Creates nothing.

    Raises SystemUnavailableError where other users can enter the folder: they could give orders to the system.
    """
    try:
        folder = Path(os.fsdecode((home / _POINTER).read_bytes().rstrip(b"\n")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SystemUnavailableError(f"{home / _POINTER} can't be read: {error.strerror}") from error
    try:
        status = folder.lstat()
    except (OSError, ValueError):
        return None
    if not folder.is_absolute():
        return None
    objection = _objection(folder, status)
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


def _candidates(home: Path) -> Iterator[Path]:
    yield home / "sockets"
    name = f"antistrophe-{os.geteuid()}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if Path(runtime).is_absolute() and Path(runtime).is_dir():
        yield Path(runtime) / name
    yield Path(tempfile.gettempdir()) / name
    yield _SHORT_FOLDER / name


def _too_long(folder: Path) -> str | None:
    length = len(os.fsencode(folder)) + 1 + _NAME_BYTES
    return f"{folder} makes paths of {length} bytes, {MAX_PATH_BYTES} fit" if length > MAX_PATH_BYTES else None


def _made_ready(folder: Path) -> str | None:
    try:
        make_private_folder(folder, parents=folder.name == "sockets")
        status = folder.lstat()
        objection = _objection(folder, status)
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


def _write_pointer(home: Path, folder: Path) -> None:
    pointer = home / _POINTER
    fresh = home / f"{_POINTER}.{uuid.uuid4().hex}"
    try:
        write_private(fresh, os.fsencode(folder) + b"\n")
        fresh.replace(pointer)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise SystemUnavailableError(f"{pointer} can't be written: {error.strerror}") from error


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
