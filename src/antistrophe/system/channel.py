"""Connections between actors: each carries frames one way, from the process that connected to the one that listens.

A connection opens with a preamble that names its sender; after it come frames: four bytes of length, then a pickle.
Only the owner of the socket folder can connect, so what arrives is from the same user.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque

from thespian.system.transport import TransmitIntent

PREAMBLE_MAGIC = b"ASM1"
MAX_FRAME_BYTES = 256 * 1024 * 1024
MAX_QUEUED_MESSAGES = 10_000
MAX_QUEUED_BYTES = 256 * 1024 * 1024

_LENGTH = struct.Struct(">I")
_READ_BYTES = 64 * 1024
_READ_BUDGET_BYTES = 4 * 1024 * 1024
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.5
_MAX_RECONNECTS = 3

# A full backlog of the listener (EAGAIN) and a lack of descriptors pass; both are tried again.
_PASSING = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class BrokenStreamError(Exception):
    """What came in is no stream of ours."""


def framed(payload: bytes) -> bytes:
    """One frame; ValueError when it is too large to travel."""
    if len(payload) > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {len(payload)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(payload)) + payload


def preamble(sender: str) -> bytes:
    """What opens a connection: who sends on it."""
    return PREAMBLE_MAGIC + framed(sender.encode("utf-8", "surrogateescape"))


def somebody_listens(path: str) -> bool:
    """Whether a connection to this socket would be taken in."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except BlockingIOError:
            return True  # so many want to connect that we'd have to wait
        except OSError:
            return False
    return True


class Outgoing:
    """What goes to one peer: a connection made when it is needed, and a queue for what the kernel does not take yet."""

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
        self.queue: deque[TransmitIntent] = deque()
        self.retry_at = 0.0
        self.armed: int | None = None
        self._preamble = own_preamble
        self._offset = 0
        self._bytes = 0
        self._pause_s = _FIRST_PAUSE_S
        self._reconnects = 0

    @property
    def full(self) -> bool:
        """Whether nothing more should be queued."""
        return len(self.queue) >= MAX_QUEUED_MESSAGES or self._bytes >= MAX_QUEUED_BYTES

    def connect(self, now: float) -> bool:
        """Try to connect. False: not now, try again at ``retry_at``. Raises OSError when the peer is gone."""
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                sock.connect(self.path)
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

    def push(self, intent: TransmitIntent) -> bool:
        """Hand one message to the kernel, or queue it; True when the kernel has all of it. Raises OSError: broken."""
        if self.sock is not None and not self.queue:
            data = intent.serMsg
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._enqueue(intent)
                raise
            if sent == len(data):
                return True
            self._offset = sent
        self._enqueue(intent)
        return False

    def flush(self) -> list[TransmitIntent]:
        """Write what the kernel takes; answers with the messages of which it has all. Raises OSError: broken."""
        written: list[TransmitIntent] = []
        while self.queue and self.sock is not None:
            data = self.queue[0].serMsg
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
        """The connection broke: what is queued starts over. False when that has happened too often in a row."""
        self.close()
        self._reconnects += 1
        return self._reconnects <= _MAX_RECONNECTS

    def take_expired(self) -> list[TransmitIntent]:
        """Remove the messages that have waited too long; a connection with one of them half written is closed."""
        expired = [intent for intent in self.queue if intent.expired()]
        if expired:
            if self._offset and self.queue[0] in expired:
                self.close()
            self.queue = deque(intent for intent in self.queue if intent not in expired)
            self._bytes = sum(len(intent.serMsg) for intent in self.queue)
        return expired

    def take_all(self) -> list[TransmitIntent]:
        """Remove and answer all that is queued, and close."""
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

    def _enqueue(self, intent: TransmitIntent) -> None:
        self.queue.append(intent)
        self._bytes += len(intent.serMsg)


class Incoming:
    """One connection from a peer."""

    __slots__ = ("_buffer", "_magic_seen", "sender", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sender: str | None = None
        self._buffer = bytearray()
        self._magic_seen = False

    def receive(self) -> tuple[list[bytes], bool]:
        """Read what is there: the complete payloads, and whether the stream goes on.

        Raises BrokenStreamError for a stream that is not ours. The preamble sets ``sender``; it is no payload.
        """
        payloads: list[bytes] = []
        budget = _READ_BUDGET_BYTES
        while budget > 0:
            try:
                data = self.sock.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                return payloads, False
            if not data:
                return payloads, False
            budget -= len(data)
            self._buffer += data
            self._take_frames(payloads)
            if not self._buffer:
                break  # most often there is no more, and poll(2) says so if there is
        return payloads, True

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def _take_frames(self, payloads: list[bytes]) -> None:
        if not self._magic_seen:
            if not PREAMBLE_MAGIC.startswith(self._buffer[: len(PREAMBLE_MAGIC)]):
                raise BrokenStreamError("no preamble of ours")
            if len(self._buffer) < len(PREAMBLE_MAGIC):
                return
            self._magic_seen = True
            del self._buffer[: len(PREAMBLE_MAGIC)]
        start = 0
        with memoryview(self._buffer) as view:
            while len(view) >= start + _LENGTH.size:
                (length,) = _LENGTH.unpack_from(view, start)
                if length > MAX_FRAME_BYTES:
                    raise BrokenStreamError(f"a frame of {length} bytes")
                end = start + _LENGTH.size + length
                if len(view) < end:
                    break
                payload = bytes(view[start + _LENGTH.size : end])
                if self.sender is None:
                    self.sender = payload.decode("utf-8", "surrogateescape")
                else:
                    payloads.append(payload)
                start = end
        del self._buffer[:start]
