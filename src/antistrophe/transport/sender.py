"""What a process sends: one connection per peer, and what waits because a peer does not read."""

from __future__ import annotations

import resource
import time
from collections import OrderedDict, deque
from collections.abc import Iterable

from thespian.system.transport import SendStatus

from antistrophe.transport.connection import Outgoing, StrangerError, preamble
from antistrophe.transport.drop_counters import STRANGERS, DropCounters
from antistrophe.transport.outgoing_message import OutgoingMessage
from antistrophe.transport.poller import BROKEN, WRITABLE, Poller
from antistrophe.transport.sockets import remove_socket

_MAX_OPEN_CONNECTIONS = 1024
_SHARE = 4
_LOOK_AT_QUEUES_S = 1.0


class Outbox:
    """All connections to peers. Not for several threads at once: its owner holds a lock."""

    def __init__(self, poller: Poller, own_path: str, tally: DropCounters) -> None:
        self.finished: deque[tuple[OutgoingMessage, SendStatus.BASE]] = deque()
        self._poller = poller
        self._own_path = own_path
        self._tally = tally
        self._connections: OrderedDict[str, Outgoing] = OrderedDict()  # least recently used first
        self._waiting: dict[Outgoing, None] = {}
        self._look_again_at = 0.0
        # A process needs descriptors for other things as well, and for those who connect to it.
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        unlimited = descriptors == resource.RLIM_INFINITY
        self._most_open = _MAX_OPEN_CONNECTIONS if unlimited else min(_MAX_OPEN_CONNECTIONS, descriptors // _SHARE + 1)
        # Which connection was used last counts only where some will have to be closed.
        self._crowded_from = self._most_open // 2

    @property
    def pending(self) -> int:
        """How many letters wait to be written."""
        return sum(len(outgoing.queue) for outgoing in self._waiting)

    def is_full(self, path: str) -> bool:
        """Whether so much waits for that peer that no more should."""
        outgoing = self._connections.get(path)
        return outgoing is not None and outgoing.full

    def write(self, path: str, frame: bytes) -> SendStatus.BASE | None:
        """Hand a frame to the kernel. Answers how that went, or None: it has to be queued, by the next call."""
        outgoing = self._connections.get(path)
        if outgoing is None or outgoing.armed != 0 or len(self._connections) >= self._crowded_from:
            opened = self._open(path)
            if not isinstance(opened, Outgoing):
                return opened
            outgoing = opened
        try:
            if not outgoing.write(frame):
                return None
        except OSError:
            self._disarm(outgoing)
            if outgoing.lost():
                return None
            self._give_up(outgoing, SendStatus.Failed)
            return SendStatus.Failed
        if outgoing.armed is None:
            self._arm(outgoing)
        return SendStatus.Sent

    def queue(self, path: str, letter: OutgoingMessage) -> None:
        """Have a letter wait whose frame `write` has just not handed over whole; it ends up in ``finished``."""
        outgoing = self._connections[path]
        outgoing.enqueue(letter)
        if outgoing.sock is None and outgoing.retry_at <= time.monotonic():
            self._connect_and_flush(outgoing)
        else:
            self._arm(outgoing)

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
                self._end_expired(outgoing, now)

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

    def waiting(self) -> list[OutgoingMessage]:
        """The letters that wait."""
        return [letter for outgoing in self._waiting for letter in outgoing.queue]

    def close(self) -> None:
        """Close all connections; what waits has failed."""
        for outgoing in list(self._connections.values()):
            self._give_up(outgoing, SendStatus.Failed)

    def drop_descriptors(self) -> None:
        """Close this process's copies of the descriptors, and nothing else."""
        for outgoing in self._connections.values():
            outgoing.close()

    def _open(self, path: str) -> Outgoing | SendStatus.BASE:
        """What goes to that peer, connected where that can be had now; or how it failed."""
        outgoing = self._connections.get(path)
        if outgoing is None:
            self._make_room()
            outgoing = self._connections[path] = Outgoing(path, preamble(self._own_path, path))
        self._connections.move_to_end(path)
        try:
            if outgoing.sock is None and not outgoing.queue:
                outgoing.connect(time.monotonic())
        except OSError as error:
            return self._refused(outgoing, error)
        return outgoing

    def _refused(self, outgoing: Outgoing, error: OSError) -> SendStatus.BASE:
        if isinstance(error, StrangerError):
            self._tally.add(STRANGERS, f"{error.strerror} listens on {outgoing.path}")
            self._give_up(outgoing, SendStatus.Failed)
            return SendStatus.Failed
        self._give_up(outgoing, SendStatus.DeadTarget)
        return SendStatus.DeadTarget

    def _connect_and_flush(self, outgoing: Outgoing) -> None:
        try:
            if outgoing.connect(time.monotonic()):
                self._written(outgoing.flush())
        except OSError as error:
            if outgoing.sock is None:
                self._refused(outgoing, error)
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
        self._waiting.pop(outgoing, None)
        self._connections.pop(outgoing.path, None)
        self.finished.extend((letter, status) for letter in outgoing.take_all())
        if status is SendStatus.DeadTarget:
            remove_socket(outgoing.path)

    def _written(self, letters: Iterable[OutgoingMessage]) -> None:
        self.finished.extend((letter, SendStatus.Sent) for letter in letters)

    def _arm(self, outgoing: Outgoing) -> None:
        # What the kernel is to look at: room to write, or at least the peer's death.
        if outgoing.queue:
            self._waiting[outgoing] = None
        else:
            self._waiting.pop(outgoing, None)
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

    def _end_expired(self, outgoing: Outgoing, now: float) -> None:
        self._disarm(outgoing)
        self.finished.extend((letter, SendStatus.Failed) for letter in outgoing.take_expired(now))
        self._arm(outgoing)

    def _make_room(self) -> None:
        """Close the connection that has been idle the longest, where there are too many; one with a queue is put to the
        end of the row, so that it is looked at once and not each time."""
        for _ in range(len(self._connections) + 1 - self._most_open):
            for _ in range(len(self._connections)):
                path, outgoing = next(iter(self._connections.items()))
                if not outgoing.queue:
                    self._give_up(outgoing, SendStatus.Sent)
                    break
                self._connections.move_to_end(path)
