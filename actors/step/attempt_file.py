"""The attempt file: a step process writes there what others must know about its attempt after its death.

The file is laid down before its lease is lent, with a mark at its start: a random number. The number, the device and
the inode are the identity of the file, and the intent of an attempt names it. After the mark stand two records: the
call begins, and the call has ended. Each is one unsynced write. The write survives the death of the process but not of
the machine, so a record counts only within the same boot. The file holds the last attempt only: the next attempt begins
after the mark, and a record counts only for the attempt that it names.

That a call never began is known only where the very file that the intent names is there, and holds nothing, or a whole
record of another attempt. A file that is missing, is another one, can't be read or is torn says nothing.

User code may have replaced functions of `os`, so those that write after a call are bound here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import zlib
from collections.abc import Callable
from os import pwrite
from pathlib import Path
from typing import Any, TypeGuard

from antistrophe.errors import UnreadableDataError
from antistrophe.linux.descriptor import file_behind, is_open
from antistrophe.linux.private_files import make_private_folder, open_private, opened_folder
from antistrophe.saga.entries import Action
from antistrophe.saga.inputs import ANSWER_TYPES, Answer
from antistrophe.serialization.payload import pack_plain, pack_record, unpack_payload, unpack_record
from antistrophe.serialization.struct_dataclass import dataclass

# A record is this header (magic, length and CRC-32 of what follows) and a packed list: the attempt's id, and one item.
_HEADER = struct.Struct(">4sII")
_MAGIC = b"asm1"

# The mark: its magic, and a random number.
_MARK = struct.Struct(">4s8s")
_MARK_MAGIC = b"asl1"


@dataclass(frozen=True, slots=True)
class AttemptId:
    """The name of one attempt for ever: no two attempts have the same."""

    saga_id: str
    step: int
    action: Action
    attempt: int

    def as_list(self) -> list[Any]:
        """The id as it is packed."""
        return [self.saga_id, self.step, self.action.value, self.attempt]


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """What an attempt file says of one attempt: when its call began (seconds since the epoch), and how it ended.
    ``never_began``: the file proves that no call began, if the journal was not put back to an earlier state.
    ``other_at``: when the call of the other attempt began that it names. Where nothing is said, nobody knows."""

    began_at: float | None = None
    answer: Answer | None = None
    never_began: bool = False
    other_at: float | None = None


def attempt_path(home: str | os.PathLike[str], lease_name: str) -> Path:
    """The attempt file of the process, or slot, with that lease."""
    return Path(home) / "attempts" / lease_name


def stack_path(home: str | os.PathLike[str], lease_name: str) -> Path:
    """The file to which the process, or slot, with that lease writes its stacks."""
    return attempt_path(home, f"{lease_name}.stack")


def open_in_home(path: Path, flags: int) -> int:
    """Open an attempt file or a file of stacks, made with its folder where it is missing. Raises OSError."""
    try:
        return open_private(path, flags)
    except FileNotFoundError:
        make_private_folder(path.parent)
        return open_private(path, flags)


class AttemptFile:
    """The attempt file of one lease, open for writing in the step process; laid down now, where it is not there yet.
    ``identity`` is the file's. Every method raises OSError where the disk refuses."""

    def __init__(self, home: str | os.PathLike[str], lease_name: str) -> None:
        path = attempt_path(home, lease_name)
        self._path = path
        self._file = open_in_home(path, os.O_RDWR)
        self._opened = file_behind(self._file)
        try:
            mark = os.pread(self._file, _MARK.size, 0)
            if len(mark) < _MARK.size:
                mark = _MARK.pack(_MARK_MAGIC, os.urandom(8))
                self._write(mark, 0)
            self.identity = _identity(os.fstat(self._file), mark)
        except OSError:
            os.close(self._file)
            raise
        self._end = 0

    def begin(self, attempt_id: AttemptId, began_at: float) -> None:
        """Write that the call begins now; ``began_at`` is in seconds since the epoch."""
        record = _packed_record([*attempt_id.as_list(), began_at])
        self._write(record, _MARK.size)
        self._end = _MARK.size + len(record)

    def finish(self, attempt_id: AttemptId, answer: Answer) -> None:
        """Write how the call has ended."""
        self._write(_packed_record([*attempt_id.as_list(), pack_record(answer)]), self._end)

    def close(self) -> None:
        """Close the file: nothing more will be written."""
        if is_open(self._file, self._opened):
            os.close(self._file)

    def _write(self, record: bytes, offset: int) -> None:
        if not is_open(self._file, self._opened):
            self._open_again()
        written = pwrite(self._file, record, offset)
        if written != len(record):
            raise OSError(28, "the disk took only a part of the attempt file")

    def _open_again(self) -> None:
        """User code has closed the file. Its number may belong to a file of the user's by now, which must not be
        written and must stay open."""
        file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        if not is_open(file, self._opened):
            os.close(file)
            raise OSError(errno.ESTALE, "another file stands in the place of the attempt file", str(self._path))
        self._file = file


def lay_down_attempt_file(home: str | os.PathLike[str], lease_name: str) -> str:
    """Make the attempt file of a lease that is about to be lent. Returns its identity, or ``""`` where the disk
    refuses."""
    try:
        file = AttemptFile(home, lease_name)
    except OSError:
        return ""
    file.close()
    return file.identity


def read_attempt_file(
    home: str | os.PathLike[str], lease_name: str, attempt_id: AttemptId, identity: str = ""
) -> AttemptRecord:
    """What the attempt file of that lease says of that attempt. ``identity``: the file that the intent names; another
    file says nothing. Without one, as in intents of older versions, a file can't say that the call never began."""
    try:
        data, found = _content(attempt_path(home, lease_name))
    except OSError:
        return AttemptRecord()
    if identity and found != identity:
        return AttemptRecord()
    data = data[_MARK.size if data.startswith(_MARK_MAGIC) else 0 :]
    body, rest = _read_record(data)
    if not _is_of(body, attempt_id):
        other_at = None if body is None or not isinstance(body[-1], float) else body[-1]
        return AttemptRecord(never_began=bool(identity) and (not data or body is not None), other_at=other_at)
    began_at, (ending, _) = body[-1], _read_record(rest)
    if not isinstance(began_at, float):
        return AttemptRecord()
    if not _is_of(ending, attempt_id) or not isinstance(ending[-1], bytes):
        return AttemptRecord(began_at)
    try:
        answer: Answer = unpack_record(ending[-1], ANSWER_TYPES)
    except UnreadableDataError:
        return AttemptRecord(began_at)
    return AttemptRecord(began_at, answer)


def remove_attempt_files(home: str | os.PathLike[str], lease_name: str) -> None:
    """Remove the attempt file and the stacks of that lease, once its attempt is settled in the journal."""
    _remove(home, lambda _folder: [attempt_path(home, lease_name).name, stack_path(home, lease_name).name])


def remove_all_attempt_files(home: str | os.PathLike[str]) -> None:
    """Remove the attempt files and stacks of all leases, once every attempt is settled in the journal."""
    _remove(home, os.listdir)


def _remove(home: str | os.PathLike[str], names: Callable[[int], list[str]]) -> None:
    """Remove files of the folder itself: where a link has its name, nothing behind the link is touched."""
    # A file that stays does no harm: no other lease gets its name.
    with contextlib.suppress(OSError), opened_folder(attempt_path(home, "")) as folder:
        for name in names(folder):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)


def _packed_record(body: list[Any]) -> bytes:
    packed = pack_plain(body)
    return _HEADER.pack(_MAGIC, len(packed), zlib.crc32(packed)) + packed


def _content(path: Path) -> tuple[bytes, str]:
    """All bytes of the file, and its identity. Raises OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        data = file.read()
        return data, _identity(os.fstat(file.fileno()), data)


def _identity(status: os.stat_result, data: bytes) -> str:
    """The identity of the file that begins with ``data``."""
    number = data[_MARK.size - 8 : _MARK.size].hex() if data.startswith(_MARK_MAGIC) else ""
    return f"{status.st_dev:x}:{status.st_ino:x}:{number}"


def _is_of(body: list[Any] | None, attempt_id: AttemptId) -> TypeGuard[list[Any]]:
    return body is not None and body[:-1] == attempt_id.as_list()


def _read_record(data: bytes) -> tuple[list[Any] | None, bytes]:
    """The list in the record at the start of ``data``, and the bytes after it. None and no bytes where it is torn."""
    if len(data) < _HEADER.size:
        return None, b""
    magic, length, checksum = _HEADER.unpack_from(data)
    packed = data[_HEADER.size : _HEADER.size + length]
    if magic != _MAGIC or len(packed) != length or zlib.crc32(packed) != checksum:
        return None, b""
    try:
        body = unpack_payload(packed)
    except UnreadableDataError:
        return None, b""
    whole = isinstance(body, list) and len(body) == 5
    return body if whole else None, data[_HEADER.size + length :]
