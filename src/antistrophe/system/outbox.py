"""What a process sends: one connection per peer, and what waits because a peer does not read."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Iterable

from thespian.system.transport import SendStatus, TransmitIntent
from thespian.system.utilis import thesplog

from antistrophe.system.channel import Outgoing, preamble
from antistrophe.system.poller import BROKEN, WRITABLE, Poller
from antistrophe.system.sockets import remove_socket

_MAX_OPEN_CONNECTIONS = 256
_LOOK_AT_QUEUES_S = 1.0


class Outbox:
    """All connections to peers. Not for several threads at once: its owner holds a lock."""

    def __init__(self, poller: Poller, own_path: str) -> None:
        self.finished: deque[tuple[TransmitIntent, SendStatus.BASE]] = deque()
        self._poller = poller
        self._preamble = preamble(own_path)
        self._connections: OrderedDict[str, Outgoing] = OrderedDict()  # least recently used first
        self._waiting: set[Outgoing] = set()
        self._look_again_at = 0.0

    @property
    def pending(self) -> int:
        """How many messages wait to be written."""
        return sum(len(outgoing.queue) for outgoing in self._waiting)

    def send(self, path: str, intent: TransmitIntent) -> SendStatus.BASE | None:
        """Hand a message to the kernel. Answers how that went, or None: it waits, and ends up in ``finished``."""
        outgoing = self._connections.get(path)
        if outgoing is None:
            self._make_room()
            outgoing = self._connections[path] = Outgoing(path, self._preamble)
        else:
            self._connections.move_to_end(path)
        if outgoing.full:
            thesplog("%s does not read: a message to it is dropped", path, level=logging.WARNING)
            return SendStatus.Failed
        try:
            if outgoing.sock is None and not outgoing.queue:
                outgoing.connect(time.monotonic())
        except OSError:
            self._give_up(outgoing, SendStatus.DeadTarget)
            return SendStatus.DeadTarget
        try:
            if outgoing.push(intent):
                if outgoing.armed is None:
                    self._arm(outgoing)
                return SendStatus.Sent
            self._arm(outgoing)
        except OSError:
            self._reconnect(outgoing)
        return None

    def ready(self, outgoing: Outgoing, events: int) -> None:
        """Something happened on a connection."""
        try:
            if events & BROKEN:
                raise ConnectionResetError
            self._written(outgoing.flush())
        except OSError:
            self._reconnect(outgoing)
        else:
            self._arm(outgoing)

    def tend(self) -> None:
        """Connect again where it is time to, and end what has waited too long."""
        if not self._waiting:
            return
        now = time.monotonic()
        for outgoing in [each for each in self._waiting if each.sock is None and each.retry_at <= now]:
            self._connect_and_flush(outgoing)
        if now >= self._look_again_at:
            self._look_again_at = now + _LOOK_AT_QUEUES_S
            for outgoing in list(self._waiting):
                self._end_expired(outgoing)

    def rest_s(self) -> float | None:
        """In how many seconds `tend` has something to do; None: never."""
        if not self._waiting:
            return None
        due = min([self._look_again_at, *(each.retry_at for each in self._waiting if each.sock is None)])
        return max(0.0, due - time.monotonic())

    def forget(self, path: str) -> None:
        """That peer is dead: what waits for it fails, and its socket file goes, for nobody will have it again."""
        outgoing = self._connections.get(path)
        if outgoing is not None:
            self._give_up(outgoing, SendStatus.DeadTarget)
        else:
            remove_socket(path)

    def waiting(self) -> list[TransmitIntent]:
        """The messages that wait."""
        return [intent for outgoing in self._waiting for intent in outgoing.queue]

    def close(self) -> None:
        """Close all connections; what waits has failed."""
        for outgoing in list(self._connections.values()):
            self._give_up(outgoing, SendStatus.Failed)

    def drop_descriptors(self) -> None:
        """Close this process's copies of the descriptors, and nothing else."""
        for outgoing in self._connections.values():
            outgoing.close()

    def _connect_and_flush(self, outgoing: Outgoing) -> None:
        try:
            if outgoing.connect(time.monotonic()):
                self._written(outgoing.flush())
        except OSError:
            if outgoing.sock is None:
                self._give_up(outgoing, SendStatus.DeadTarget)
            else:
                self._reconnect(outgoing)
        else:
            self._arm(outgoing)

    def _reconnect(self, outgoing: Outgoing) -> None:
        """A connection broke: its peer is dead, and then nobody listens there, or has closed it and reads anew."""
        self._disarm(outgoing)
        if outgoing.lost() and outgoing.queue:
            self._connect_and_flush(outgoing)
        else:
            self._give_up(outgoing, SendStatus.Failed)

    def _give_up(self, outgoing: Outgoing, status: SendStatus.BASE) -> None:
        self._disarm(outgoing)
        self._waiting.discard(outgoing)
        self._connections.pop(outgoing.path, None)
        self.finished.extend((intent, status) for intent in outgoing.take_all())
        if status is SendStatus.DeadTarget:
            remove_socket(outgoing.path)

    def _written(self, intents: Iterable[TransmitIntent]) -> None:
        self.finished.extend((intent, SendStatus.Sent) for intent in intents)

    def _arm(self, outgoing: Outgoing) -> None:
        # What poll(2) is to look at: room to write, or at least the peer's death.
        (self._waiting.add if outgoing.queue else self._waiting.discard)(outgoing)
        if outgoing.sock is None:
            return
        events = WRITABLE if outgoing.queue else 0
        if outgoing.armed != events:
            self._poller.watch(outgoing.sock.fileno(), events, outgoing)
            outgoing.armed = events

    def _disarm(self, outgoing: Outgoing) -> None:
        if outgoing.armed is not None and outgoing.sock is not None:
            self._poller.forget(outgoing.sock.fileno())
        outgoing.armed = None

    def _end_expired(self, outgoing: Outgoing) -> None:
        self._disarm(outgoing)
        self.finished.extend((intent, SendStatus.Failed) for intent in outgoing.take_expired())
        self._arm(outgoing)

    def _make_room(self) -> None:
        excess = len(self._connections) + 1 - _MAX_OPEN_CONNECTIONS
        if excess > 0:
            for outgoing in [each for each in self._connections.values() if not each.queue][:excess]:
                self._give_up(outgoing, SendStatus.Sent)
