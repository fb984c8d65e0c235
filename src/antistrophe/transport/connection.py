"""Connections between processes: each carries frames one way, from the process that connected to the one that listens.

A connection opens with a preamble that names its sender. After the preamble come frames: four bytes of length, then
msgpack. Both sides ask the kernel for the user of the other: a process of another user is neither heard nor spoken to.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import deque

from antistrophe.errors import PayloadTooLargeError
from antistrophe.transport.authentication import authentication_code
from antistrophe.transport.outgoing_message import OutgoingMessage

PREAMBLE_MAGIC = b"ASM2"
MAX_FRAME_BYTES = 256 * 1024 * 1024
MAX_QUEUED_MESSAGES = 10_000
MAX_QUEUED_BYTES = 64 * 1024 * 1024

_LENGTH = struct.Struct(">I")
_HEADER_BYTES = _LENGTH.size
_CREDENTIALS = struct.Struct("3i")
_READ_BYTES = 64 * 1024
_LARGE_READ_BYTES = 1024 * 1024
_READ_BUDGET_BYTES = 4 * 1024 * 1024
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.5
_MAX_RECONNECTS = 3

# A full backlog of the listener (EAGAIN) and a lack of descriptors pass, so connecting is tried again.
_PASSING = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class BrokenStreamError(Exception):
    """The bytes that came in are no stream of frames."""


class OtherUserError(OSError):
    """The process at the other end runs for another user."""


def framed(payload: bytes) -> bytes:
    """A payload with its length before it. Raises PayloadTooLargeError."""
    if len(payload) > MAX_FRAME_BYTES:
        raise PayloadTooLargeError(f"a message of {len(payload)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(payload)) + payload


def preamble(sender: str, receiver: str = "") -> bytes:
    """The bytes that open a connection: the path of the sender, and its authentication code where it has one."""
    return PREAMBLE_MAGIC + framed(os.fsencode(sender) + b"\0" + authentication_code(sender, receiver))


def check_peer(sock: socket.socket) -> None:
    """Raise OtherUserError where the process at the other end runs for another user."""
    pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if uid != os.geteuid():
        raise OtherUserError(errno.EPERM, f"process {pid} is of another user (uid {uid})")


def somebody_listens(path: str) -> bool:
    """Whether a process accepts connections on this socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except BlockingIOError:
            return True  # the backlog of the listener is full
        except OSError:
            return False
    return True


class OutgoingConnection:
    """The connection to one peer, made when it is needed, and the queue of messages that the kernel does not take
    yet."""

    __slots__ = (
        "_bytes",
        "_offset",
        "_pause_s",
        "_preamble",
        "_reconnects",
        "armed",
        "path",
        "queue",
        "retry_at",
        "sock",
    )

    def __init__(self, path: str, own_preamble: bytes) -> None:
        self.path = path
        self.sock: socket.socket | None = None
        self.queue: deque[OutgoingMessage] = deque()
        self.retry_at = 0.0
        self.armed: int | None = None
        self._preamble = own_preamble
        self._offset = 0
        self._bytes = 0
        self._pause_s = _FIRST_PAUSE_S
        self._reconnects = 0

    @property
    def full(self) -> bool:
        """Whether messages that are sent again anyway should be refused."""
        return len(self.queue) >= MAX_QUEUED_MESSAGES or self._bytes >= MAX_QUEUED_BYTES

    def connect(self, now: float) -> bool:
        """Try to connect. False: try again at ``retry_at``. Raises OSError where the peer is gone or runs for another
        user."""
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                sock.connect(self.path)
                check_peer(sock)
                if sock.send(self._preamble) != len(self._preamble):
                    raise BlockingIOError(errno.EAGAIN, "a fresh connection is full")
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            self.retry_at = now + self._pause_s
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
            return False
        self.sock = sock
        self._pause_s = _FIRST_PAUSE_S
        return True

    def write(self, frame: bytes) -> bool:
        """Write a frame, if nothing else waits; True when the kernel has all of it. Otherwise the caller has to enqueue
        the message next. Raises OSError where the connection is broken."""
        if self.sock is None or self.queue:
            return False
        try:
            sent = self.sock.send(frame)
        except BlockingIOError:
            return False
        if sent == len(frame):
            return True
        self._offset = sent
        return False

    def enqueue(self, outgoing: OutgoingMessage) -> None:
        """Add a message to the queue."""
        self.queue.append(outgoing)
        self._bytes += len(outgoing.frame)

    def flush(self) -> list[OutgoingMessage]:
        """Write as much as the kernel takes; return the messages that are written whole. Raises OSError where the
        connection is broken."""
        written: list[OutgoingMessage] = []
        while self.queue and self.sock is not None:
            data = self.queue[0].frame
            try:
                self._offset += self.sock.send(memoryview(data)[self._offset :])
            except BlockingIOError:
                break
            if self._offset == len(data):
                self._offset = 0
                self._bytes -= len(data)
                self._reconnects = 0
                written.append(self.queue.popleft())
        return written

    def lost(self) -> bool:
        """The connection broke: the first queued message starts over. False where that happened too often in a row."""
        self.close()
        self._reconnects += 1
        return self._reconnects <= _MAX_RECONNECTS

    def take_expired(self, now: float) -> list[OutgoingMessage]:
        """Remove and return the messages that have waited too long; close the connection where one is half written."""
        expired = [outgoing for outgoing in self.queue if outgoing.quit_at is not None and outgoing.quit_at <= now]
        if expired:
            if self._offset and self.queue[0] in expired:
                self.close()
            self.queue = deque(outgoing for outgoing in self.queue if outgoing not in expired)
            self._bytes = sum(len(outgoing.frame) for outgoing in self.queue)
        return expired

    def take_all(self) -> list[OutgoingMessage]:
        """Remove and return all queued messages, and close the connection."""
        taken = list(self.queue)
        self.queue.clear()
        self._bytes = 0
        self.close()
        return taken

    def close(self) -> None:
        """Close the connection; what the kernel has taken still arrives."""
        self._offset = 0
        if self.sock is not None:
            self.sock.close()
            self.sock = None


class IncomingConnection:
    """One connection from a peer."""

    __slots__ = ("_buffer", "_magic_seen", "_missing", "authentication", "sender", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sender: str | None = None
        self.authentication = b""
        self._buffer = bytearray()
        self._missing = 0  # how many bytes of the last frame are still to come
        self._magic_seen = False

    def receive(self) -> tuple[list[bytes], bool]:
        """Read what has arrived: return the complete payloads, and whether the stream goes on.

        The preamble is no payload: it sets ``sender`` and ``authentication``. Raises BrokenStreamError for bytes that
        are no stream of frames.
        """
        payloads: list[bytes] = []
        budget = _READ_BUDGET_BYTES
        while budget > 0:
            try:
                data = self.sock.recv(_LARGE_READ_BYTES if self._missing > _READ_BYTES else _READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                return payloads, False
            if not data:
                return payloads, False
            budget -= len(data)
            if self._take(data, payloads):
                break  # most often nothing more has arrived, and if it has, the next wait says so
        return payloads, True

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def _take(self, data: bytes, payloads: list[bytes]) -> bool:
        """Add what was read; True where no frame is incomplete."""
        if self._magic_seen and not self._buffer:
            start = self._take_frames(data, payloads)
            if start < len(data):
                self._buffer += memoryview(data)[start:]
            return not self._buffer
        self._buffer += data
        self._missing -= len(data)
        if self._missing > 0 or not self._take_magic():
            return False
        start = self._take_frames(self._buffer, payloads)
        del self._buffer[:start]
        return not self._buffer

    def _take_magic(self) -> bool:
        if self._magic_seen:
            return True
        if not PREAMBLE_MAGIC.startswith(self._buffer[: len(PREAMBLE_MAGIC)]):
            raise BrokenStreamError("no preamble of ours")
        if len(self._buffer) < len(PREAMBLE_MAGIC):
            return False
        self._magic_seen = True
        del self._buffer[: len(PREAMBLE_MAGIC)]
        return True

    def _take_frames(self, buffer: bytes | bytearray, payloads: list[bytes]) -> int:
        """Cut off the whole frames; return the offset of the rest."""
        start, size = 0, len(buffer)
        while size >= start + _HEADER_BYTES:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > MAX_FRAME_BYTES:
                raise BrokenStreamError(f"a frame of {length} bytes")
            end = start + _HEADER_BYTES + length
            if size < end:
                self._missing = end - size
                return start
            begin, start = start + _HEADER_BYTES, end
            payload = buffer[begin:end] if type(buffer) is bytes else bytes(memoryview(buffer)[begin:end])
            if self.sender is None:
                path, _, self.authentication = payload.partition(b"\0")
                self.sender = os.fsdecode(path)
            else:
                payloads.append(payload)
        self._missing = 0
        return start
