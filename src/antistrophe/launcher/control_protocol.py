"""The control protocol: what applications and the launcher of their home say to each other.

An application connects to the control socket and sends Hello. Then the launcher sends its present state, and each later
state as soon as it changes. An application leaves by closing its side of the connection. The launcher ends a connection
when it ends itself, or when it has nothing more to tell to an application that left. A frame is four bytes of length
and a record.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import TypeAlias

from antistrophe.errors import UnreadableDataError
from antistrophe.fast_dataclass import dataclass
from antistrophe.serialization.payload import (
    pack_fields,
    pack_payload,
    pack_record,
    unpack_fields,
    unpack_payload,
    unpack_record,
)
from antistrophe.settings import Settings
from antistrophe.transport.sockets import bind_private

CONTROL_NAME = "control"
PROTOCOL = 10
"""The version of the messages between applications and actors; it goes up when their form changes."""

MAX_FRAME_BYTES = 1 << 16
_BACKLOG = 512
_LENGTH = struct.Struct(">I")
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Hello:
    """An application introduces itself. With ``attach``, it keeps the system up as long as it stays connected; without,
    it only asks for the state."""

    client_id: str
    attach: bool


@dataclass(frozen=True, slots=True)
class Starting:
    """The actor system is being started."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The actor system takes requests at the socket ``supervisor``, from applications with the same ``protocol``.
    ``generation`` counts the incarnations of the system under this launcher, from 1. ``settings`` are the system's
    settings, packed."""

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
    """The actor system died, and is being started again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stopping:
    """The launcher stops, within so many seconds. The next launcher can start as soon as this connection has ended."""

    within_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Failed:
    """The launcher gives up. ``error`` is the name of a class in antistrophe.errors, ``text`` its message."""

    error: str
    text: str


State: TypeAlias = Starting | Ready | Restarting | Stopping | Failed
Frame: TypeAlias = Hello | State

FROM_CLIENT: tuple[type, ...] = (Hello,)
FROM_LAUNCHER: tuple[type, ...] = (Starting, Ready, Restarting, Stopping, Failed)


def control_path(folder: Path) -> str:
    """The path of the control socket in the socket folder of a home."""
    return str(folder / CONTROL_NAME)


def pack_settings(settings: Settings) -> bytes:
    """Settings as a frame carries them, with their origin."""
    return pack_payload([pack_fields(settings, Settings), settings.origin])


def unpack_settings(data: bytes) -> Settings:
    """The settings that ``pack_settings`` packed. Raises UnreadableDataError on anything else."""
    match unpack_payload(data):
        case [bytes(fields), str(origin)]:
            return unpack_fields(fields, Settings).with_origin(origin)
    raise UnreadableDataError("these are no settings")


def encode(frame: Frame) -> bytes:
    """The bytes of one frame."""
    payload = pack_record(frame)
    return _LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Puts frames together from the pieces in which they arrive."""

    def __init__(self, types: tuple[type, ...]) -> None:
        self._types = types
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. Raises UnreadableDataError on garbage; the connection is useless then."""
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


def peer_credentials(connection: socket.socket) -> tuple[int, int]:
    """Pid and user id of the process at the other end: of the one that connected, or that began to listen."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return pid, uid


def listen(path: str) -> socket.socket:
    """The launcher's listening socket. It replaces the socket that a dead launcher left. Raises OSError."""
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        bind_private(listener, path)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
