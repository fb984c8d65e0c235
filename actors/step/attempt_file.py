"""What a step process leaves behind of its attempt: a start marker and the outcome, in a file of its own.

Each is one unsynced write, which survives the death of the process but not of the machine; so they count only within
the same boot. The file holds the last attempt only: the next one's marker is written over it, and an outcome counts
only for the attempt that it names.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antistrophe.errors import UnreadableDataError
from antistrophe.saga.entries import Action
from antistrophe.saga.inputs import ANSWER_TYPES, Answer
from antistrophe.serialization.payload import pack_payload, pack_record, unpack_payload, unpack_record

_HEADER = struct.Struct(">4sII")
_MAGIC = b"asm1"


@dataclass(frozen=True, slots=True)
class Token:
    """One attempt, unmistakably."""

    saga_id: str
    step: int
    action: Action
    attempt: int

    def plain(self) -> list[Any]:
        return [self.saga_id, self.step, self.action.value, self.attempt]


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """What was found of one attempt: when its call began (seconds since the epoch), and how it ended."""

    began_at: float | None = None
    answer: Answer | None = None


def attempt_path(home: str | os.PathLike[str], lease_name: str) -> Path:
    """Where the process of that lease leaves its marks."""
    return Path(home) / "attempts" / lease_name


def stack_path(home: str | os.PathLike[str], lease_name: str) -> Path:
    """Where the process of that lease writes where it stands when it is ended or crashes."""
    return attempt_path(home, f"{lease_name}.stack")


class AttemptFile:
    """The writing side, held by a step process. Raises OSError where the disk refuses."""

    def __init__(self, home: str | os.PathLike[str], lease_name: str) -> None:
        path = attempt_path(home, lease_name)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = 0

    def begin(self, token: Token, began_at: float) -> None:
        """The call is about to be made."""
        record = _record([*token.plain(), began_at])
        self._write(record, 0)
        self._end = len(record)

    def finish(self, token: Token, answer: Answer) -> None:
        """The call has ended, like this."""
        self._write(_record([*token.plain(), pack_record(answer)]), self._end)

    def close(self) -> None:
        """Nothing more will be written."""
        os.close(self._file)

    def _write(self, record: bytes, offset: int) -> None:
        written = os.pwrite(self._file, record, offset)
        if written != len(record):
            raise OSError(28, "the disk took only a part of an attempt's mark")


def read_attempt_file(home: str | os.PathLike[str], lease_name: str, token: Token) -> AttemptRecord:
    """What that process left of that attempt; nothing of another attempt, and nothing that was torn, counts."""
    try:
        data = attempt_path(home, lease_name).read_bytes()
    except OSError:
        return AttemptRecord()
    began, rest = _read(data, token)
    if not isinstance(began, float):
        return AttemptRecord()
    packed, _ = _read(rest, token)
    if not isinstance(packed, bytes):
        return AttemptRecord(began)
    try:
        answer: Answer = unpack_record(packed, ANSWER_TYPES)
    except UnreadableDataError:
        return AttemptRecord(began)
    return AttemptRecord(began, answer)


def remove_attempt_files(home: str | os.PathLike[str], lease_name: str) -> None:
    """Forget what that process left; its attempt is settled in the journal."""
    with contextlib.suppress(OSError):  # a file that stays harms nobody: no other lease has its name
        attempt_path(home, lease_name).unlink()
    with contextlib.suppress(OSError):
        stack_path(home, lease_name).unlink()


def remove_all_attempt_files(home: str | os.PathLike[str]) -> None:
    """Forget what all processes left; every attempt is settled in the journal."""
    with contextlib.suppress(OSError):
        for name in os.listdir(attempt_path(home, "")):
            remove_attempt_files(home, name)


def _record(body: list[Any]) -> bytes:
    packed = pack_payload(body)
    return _HEADER.pack(_MAGIC, len(packed), zlib.crc32(packed)) + packed


def _read(data: bytes, token: Token) -> tuple[Any, bytes]:
    """The last item of the record at the start of ``data`` where it is about that attempt, and what follows it."""
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
    if not isinstance(body, list) or body[:-1] != token.plain():
        return None, b""
    return body[-1], data[_HEADER.size + length :]
