"""Receives the messages of one process: a listening socket, and a connection from each peer that sends."""

from __future__ import annotations

import logging
import os
import resource
import socket
import time
from collections import deque
from collections.abc import Container
from typing import Any

from thespian.actors import ActorAddress, ActorSystemFailure
from thespian.system.transport import ReceiveEnvelope
from thespian.system.utilis import thesplog

from antistrophe.messages import FROM_APPLICATIONS
from antistrophe.transport.address import address_of
from antistrophe.transport.authentication import in_system, is_outsider
from antistrophe.transport.codec import MalformedError, unpack_message
from antistrophe.transport.connection import BrokenStreamError, IncomingConnection, OtherUserError, check_peer
from antistrophe.transport.drop_counters import BROKEN, FROM_OUTSIDERS, MALFORMED, OTHER_USERS, DropCounters
from antistrophe.transport.poller import READABLE, Poller
from antistrophe.transport.sockets import bind_private

_BACKLOG = 1024
_ACCEPTS_AT_ONCE = 64
_SPARE_DESCRIPTORS = 16
_NO_DESCRIPTOR_PAUSE_S = 0.1


class Envelope(ReceiveEnvelope):
    """A message and its sender, as plain attributes where Thespian has properties: each message is asked for both.
    Thespian calls `identify` for a debug log that is off, and its own calls str(message)."""

    __slots__ = ("message", "sender")

    def __init__(self, sender: ActorAddress, message: Any) -> None:
        self.sender = sender  # type: ignore[misc]
        self.message = message  # type: ignore[misc]

    def identify(self) -> str:
        """The text for the debug log."""
        return "a message"


class Receiver:
    """Listens on ``path`` and puts messages into ``received``. One thread at a time may use it.

    A process of the system accepts no connection with its last descriptors: it needs them to look at processes, to
    start some, and to log. Peers wait until more are free; nothing waits for them here. ``accept_at``: when to
    look again whether there is room; 0 where connections are accepted.
    """

    def __init__(self, poller: Poller, path: str, drop_counters: DropCounters) -> None:
        self.received: deque[ReceiveEnvelope] = deque()
        self._poller = poller
        self._drop_counters = drop_counters
        self._path = path
        self._addresses: dict[IncomingConnection, ActorAddress | None] = {}
        self._outsiders: set[IncomingConnection] = set()
        self._latest: dict[str, IncomingConnection] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            bind_private(self._listener, path)
            self._listener.listen(_BACKLOG)
        except OSError as error:
            self._listener.close()
            raise ActorSystemFailure(f"can't listen on {path}: {error.strerror}") from error
        self._spare = _SPARE_DESCRIPTORS if in_system() else 0
        self.accept_at = 0.0
        poller.watch(self._listener.fileno(), READABLE, self)

    @property
    def fileno(self) -> int:
        """The descriptor of the socket that listens."""
        return self._listener.fileno()

    def accept(self) -> None:
        """Accept the connections that wait, and read what they have sent already."""
        for _ in range(_ACCEPTS_AT_ONCE):
            if not self._has_room():
                self._pause()
                return
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                thesplog("can't accept a connection: %s", error, level=logging.WARNING)
                self._pause()
                return
            sock.setblocking(False)
            try:
                check_peer(sock)
            except OtherUserError as error:
                self._drop_counters.add(OTHER_USERS, error.strerror)
                sock.close()
                continue
            connection = IncomingConnection(sock)
            self._poller.watch(sock.fileno(), READABLE, connection)
            self._addresses[connection] = None
            self.read(connection)

    def rest_s(self) -> float | None:
        """In how many seconds `tend` has something to do; None: nothing waits."""
        return max(0.0, self.accept_at - time.monotonic()) if self.accept_at else None

    def tend(self) -> None:
        """After a pause, accept connections again."""
        if time.monotonic() >= self.accept_at:
            self.accept_at = 0.0
            self._poller.watch(self._listener.fileno(), READABLE, self)

    def _pause(self) -> None:
        self.accept_at = time.monotonic() + _NO_DESCRIPTOR_PAUSE_S
        self._poller.forget(self._listener.fileno())

    def _has_room(self) -> bool:
        """Whether a descriptor is free for a connection: a new one gets the lowest number that is."""
        try:
            lowest = os.dup(self._listener.fileno())
        except OSError:
            return False
        os.close(lowest)
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return soft == resource.RLIM_INFINITY or lowest < soft - self._spare

    def read(self, connection: IncomingConnection) -> None:
        """Read what a peer has sent."""
        try:
            payloads, goes_on = connection.receive()
        except BrokenStreamError as error:
            self._drop_counters.add(BROKEN, error)
            payloads, goes_on = [], False
        if payloads:
            sender = self._addresses[connection] or self._introduced(connection)
            for payload in payloads:
                self._take(payload, sender, connection in self._outsiders)
        if not goes_on:
            self._forget(connection)

    def _take(self, payload: bytes, sender: ActorAddress, from_outsider: bool) -> None:
        try:
            message = unpack_message(payload)
        except MalformedError as error:
            self._drop_counters.add(MALFORMED, f"{error}, from {sender}")
            return
        if from_outsider and type(message) not in FROM_APPLICATIONS:
            self._drop_counters.add(FROM_OUTSIDERS, f"a {type(message).__name__}, from {sender}")
            return
        self.received.append(Envelope(sender, message))

    def holds(self, kinds: Container[type]) -> bool:
        """Whether a message of one of these types is in ``received``."""
        return any(type(envelope.message) in kinds for envelope in self.received)

    def close(self) -> None:
        """Stop listening and close all connections."""
        for connection in self._addresses:
            connection.close()
        self._addresses.clear()
        self._outsiders.clear()
        self._latest.clear()
        self._listener.close()

    def _introduced(self, connection: IncomingConnection) -> ActorAddress:
        """The sender of a connection that brings its first messages. Messages on the sender's connection before this
        one, which it has closed, are read first."""
        path = connection.sender
        assert path is not None, "there is no message before the preamble"
        before = self._latest.get(path)
        while before is not None and before in self._addresses:
            unread = len(self.received)
            self.read(before)
            if len(self.received) == unread:
                break
        self._latest[path] = connection
        if is_outsider(path, self._path, connection.authentication):
            self._outsiders.add(connection)
        address = self._addresses[connection] = address_of(path)
        return address

    def _forget(self, connection: IncomingConnection) -> None:
        self._poller.forget(connection.sock.fileno())
        del self._addresses[connection]
        self._outsiders.discard(connection)
        if connection.sender is not None and self._latest.get(connection.sender) is connection:
            del self._latest[connection.sender]
        connection.close()
