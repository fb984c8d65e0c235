"""What a process receives: a listening socket, a connection from each peer that sends, and the messages from them."""

from __future__ import annotations

import logging
import pickle
import socket
import time
from collections import deque
from collections.abc import Container
from typing import Any

from thespian.actors import ActorAddress, ActorSystemFailure
from thespian.system.transport import ReceiveEnvelope
from thespian.system.utilis import thesplog

from antistrophe.system.address import address_of
from antistrophe.system.channel import BrokenStreamError, Incoming
from antistrophe.system.poller import READABLE, Poller

_BACKLOG = 1024
_ACCEPTS_AT_ONCE = 64
_NO_DESCRIPTOR_PAUSE_S = 0.01


class Envelope(ReceiveEnvelope):
    """A message and its sender. Thespian describes it for a debug log that is off; str(message) would cost the most."""

    def identify(self) -> str:
        """What the debug log would say."""
        return "a message"


class Inbox:
    """Listens on ``path`` and gathers messages in ``received``. Not for several threads at once."""

    def __init__(self, poller: Poller, path: str) -> None:
        self.received: deque[ReceiveEnvelope] = deque()
        self._poller = poller
        self._senders: dict[Incoming, ActorAddress] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._listener.bind(path)
            self._listener.listen(_BACKLOG)
        except OSError as error:
            self._listener.close()
            raise ActorSystemFailure(f"can't listen on {path}: {error.strerror}") from error
        poller.watch(self._listener.fileno(), READABLE, self)

    def accept(self) -> None:
        """Take in those who have connected, and what they have sent already."""
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # Most likely no descriptor is free. Whoever wants to connect waits until one is, and we do not spin.
                thesplog("can't accept a connection: %s", error, level=logging.WARNING)
                time.sleep(_NO_DESCRIPTOR_PAUSE_S)
                return
            sock.setblocking(False)
            incoming = Incoming(sock)
            self._poller.watch(sock.fileno(), READABLE, incoming)
            self._senders[incoming] = ActorAddress(None)
            self.read(incoming)

    def read(self, incoming: Incoming) -> None:
        """Take in what a peer has sent."""
        try:
            payloads, goes_on = incoming.receive()
        except BrokenStreamError as error:
            thesplog("a connection is closed because it brought %s", error, level=logging.WARNING)
            payloads, goes_on = [], False
        if payloads:
            sender = self._senders[incoming]
            if sender.addressDetails is None and incoming.sender is not None:
                sender = self._senders[incoming] = address_of(incoming.sender)
            for payload in payloads:
                self._deliver(sender, payload)
        if not goes_on:
            self._poller.forget(incoming.sock.fileno())
            del self._senders[incoming]
            incoming.close()

    def holds(self, kinds: Container[type]) -> bool:
        """Whether a message of one of these types is in ``received``."""
        return any(type(envelope.message) in kinds for envelope in self.received)

    def close(self) -> None:
        """Stop listening and close all connections."""
        for incoming in self._senders:
            incoming.close()
        self._senders.clear()
        self._listener.close()

    def _deliver(self, sender: ActorAddress, payload: bytes) -> None:
        try:
            # Only the user whose code this process runs can reach the socket: the folder lets nobody else in.
            message: Any = pickle.loads(payload)  # noqa: S301
        except Exception as error:
            thesplog("a message from %s can't be read and is dropped: %r", sender, error, level=logging.WARNING)
            return
        self.received.append(Envelope(sender, message))
