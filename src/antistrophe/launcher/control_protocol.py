"""The control socket: how applications and the launcher of their home talk.

An application connects and says Hello; from then on the launcher tells it each change of state, the present one first.
An application that closes its side has left. The other way round, the end of a connection says that the launcher is
gone, or that it has nothing more to tell to an application that left. Each frame is four bytes of length and a record.
"""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from antistrophe.errors import UnreadableDataError
from antistrophe.serialization.payload import pack_fields, pack_record, unpack_fields, unpack_record
from antistrophe.settings import Settings

CONTROL_NAME = "control"
PROTOCOL = 6
"""Counts the forms that messages between applications and actors have had."""

MAX_FRAME_BYTES = 1 << 16
_MAX_BACKLOG_BYTES = 1 << 18
_BACKLOG = 512
_LENGTH = struct.Struct(">I")
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Hello:
    """An application introduces itself. Where ``attach``, it keeps the system up as long as it stays connected; else
    it only looks."""

    client_id: str
    attach: bool


@dataclass(frozen=True, slots=True)
class Starting:
    """The actor system is being started."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The actor system takes requests at the socket ``supervisor``, from applications that speak the same
    ``protocol``. ``generation`` counts the lives of the system under this launcher, from 1; ``settings`` are the
    system's, packed."""

    protocol: int
    generation: int
    supervisor: str
    launcher_pid: int
    admin_pid: int
    logger_pid: int
    supervisor_pid: int
    settings: bytes


@dataclass(frozen=True, slots=True)
class Restarting:
    """The actor system died, and is being started anew."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stopping:
    """The launcher stops: the next one can start as soon as this connection has ended."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The launcher gives up: the name of a class in antistrophe.errors, and its message."""

    error: str
    text: str


State: TypeAlias = Starting | Ready | Restarting | Stopping | Failed
Frame: TypeAlias = Hello | State

FROM_CLIENT: tuple[type, ...] = (Hello,)
FROM_LAUNCHER: tuple[type, ...] = (Starting, Ready, Restarting, Stopping, Failed)


def control_path(folder: Path) -> str:
    """Where the launcher listens, in the socket folder of its home."""
    return str(folder / CONTROL_NAME)


def pack_settings(settings: Settings) -> bytes:
    """Settings as they travel."""
    return pack_fields(settings, Settings)


def unpack_settings(data: bytes) -> Settings:
    """What ``pack_settings`` wrote. Raises UnreadableDataError on anything else."""
    return unpack_fields(data, Settings)


def encode(frame: Frame) -> bytes:
    """One frame as it goes over the wire."""
    payload = pack_record(frame)
    return _LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Puts frames together from whatever pieces arrive."""

    def __init__(self, types: tuple[type, ...]) -> None:
        self._types = types
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Raises UnreadableDataError on garbage: the connection is of no more use."""
        self._buffer += data
        frames: list[Frame] = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME_BYTES:
                raise UnreadableDataError(f"a control frame of {length} bytes")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            frames.append(unpack_record(bytes(self._buffer[_LENGTH.size : end]), self._types))
            del self._buffer[:end]
        return frames


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Pid and user of the process at the other end (who connected, or who began to listen)."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return pid, uid


def listen(path: str) -> socket.socket:
    """The launcher's listening socket, in place of one that a dead launcher left. Raises OSError."""
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.bind(path)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


class Peer:
    """The launcher's end of one connection. ``hello`` is what the application said, None before it did; ``left`` says
    that it has closed its side."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._reader = FrameReader(FROM_CLIENT)
        self._unsent = bytearray()
        self.hello: Hello | None = None
        self.left = False
        self.pid, uid = peer_of(connection)
        self.trusted = uid == os.geteuid()

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._connection.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether something is queued that the kernel did not take yet."""
        return bool(self._unsent)

    @property
    def attached(self) -> bool:
        """Whether it keeps the system up."""
        return self.hello is not None and self.hello.attach and not self.left

    def read(self) -> bool:
        """Take in what there is; True when it said Hello just now. Raises UnreadableDataError on garbage and OSError on
        a broken connection."""
        try:
            data = self._connection.recv(MAX_FRAME_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self.left = True
            return False
        introduced = False
        for frame in self._reader.feed(data):
            if self.hello is not None or not isinstance(frame, Hello):
                raise UnreadableDataError("a second introduction")
            self.hello, introduced = frame, True
        return introduced

    def send(self, state: State) -> None:
        """Tell it a state, or as much as it takes now. Raises OSError when it is gone, or does not read at all."""
        self._unsent += encode(state)
        self.flush()
        if len(self._unsent) > _MAX_BACKLOG_BYTES:
            raise BrokenPipeError("it does not read")

    def flush(self) -> None:
        """Write on. Raises OSError when it is gone."""
        while self._unsent:
            try:
                sent = self._connection.send(self._unsent, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            del self._unsent[:sent]

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
