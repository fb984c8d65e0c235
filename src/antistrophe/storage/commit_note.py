"""The note beside a database file: how far its commits have come, kept outside the file and its log.

What was committed since the last checkpoint is in the write-ahead log alone. Where somebody removes the log of a file
that no process has open, the file is sound, and lacks the last commits. So each process notes the positions that it has
committed, in one unsynced write after the commit. A file that ends before what is noted has lost something.

The note is no truth of its own. It counts only for the very file that it was written for; only where that file was not
changed since by other hands (an older copy may have been put into it); and, where commits are not synced, only within
the same boot, because after a power loss the note may be newer than the file.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from antistrophe.errors import JournalError
from antistrophe.linux.private_files import open_private
from antistrophe.linux.process import boot_id

TABLES = ("journal", "events")
"""The tables whose last positions are noted, each in a slot of its own."""

_SLOT_BYTES = 64
_SLOT = struct.Struct(">4sQQ?36s")
_MAGIC = b"asn1"
_CHECKSUM = struct.Struct(">I")


def note_path(path: str | os.PathLike[str]) -> Path:
    """The note of that database file."""
    return Path(f"{os.fspath(path)}-note")


class CommitNote:
    """Writes the note of one file. ``durable``: commits are synced."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._path = note_path(path)
        self._durable = durable
        self._inode = os.stat(path).st_ino
        self._boot = boot_id().encode()
        self._file: int | None = None

    def write(self, reached: Mapping[str, int]) -> None:
        """Note the last committed positions, by table. Where the disk refuses, the note stays as it is."""
        with contextlib.suppress(OSError):
            if self._file is None:
                self._file = open_private(self._path, os.O_RDWR)
            for table, position in reached.items():
                slot = _SLOT.pack(_MAGIC, self._inode, position, self._durable, self._boot)
                data = slot + _CHECKSUM.pack(zlib.crc32(slot))
                os.pwrite(self._file, data, TABLES.index(table) * _SLOT_BYTES)

    def close(self) -> None:
        """Close the note."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                os.close(file)


def forget_note(path: Path) -> None:
    """Remove the note of a file that is new."""
    with contextlib.suppress(OSError):
        note_path(path).unlink()


def what_is_missing(path: Path, head_of: Callable[[str], int]) -> JournalError | None:
    """The error for a file that ends before what is noted, or None. ``head_of``: the last position in a table."""
    try:
        note, file = note_path(path), os.stat(path)
        with open(os.open(note, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as opened:
            data, noted_ns = opened.read(), os.fstat(opened.fileno()).st_mtime_ns
    except OSError:
        return None
    if file.st_mtime_ns > noted_ns:
        return None
    for number, table in enumerate(TABLES):
        noted = _position(data[number * _SLOT_BYTES :], file.st_ino)
        # First the note and then the file: a system that runs may commit meanwhile.
        if noted > (head := head_of(table)):
            return JournalError(
                f"{path} lacks its last commits: its table {table} ends at position {head}, but {noted} was committed."
                f" Its log {path}-wal was removed, replaced or cut off while nothing had it open. Put the log back."
                f" Only where that can't be done, or where the file is meant to be older, remove {note} and open it"
                " again: what is missing is forgotten then, although it has happened"
            )
    return None


def _position(slot: bytes, inode: int) -> int:
    """The position in a slot; 0 where the slot does not count."""
    if len(slot) < _SLOT.size + _CHECKSUM.size:
        return 0
    magic, noted_inode, position, durable, boot = _SLOT.unpack_from(slot)
    (checksum,) = _CHECKSUM.unpack_from(slot, _SLOT.size)
    if magic != _MAGIC or checksum != zlib.crc32(slot[: _SLOT.size]) or noted_inode != inode:
        return 0
    return int(position) if durable or boot == boot_id().encode() else 0
