"""What a process sends: one connection per peer, and what waits because a peer does not read."""

from __future__ import annotations

import resource
import time
from collections import OrderedDict, deque
from collections.abc import Iterable

from thespian.system.transport import SendStatus

from antistrophe.transport.connection import OtherUserError, OutgoingConnection, preamble
from antistrophe.transport.drop_counters import OTHER_USERS, DropCounters
from antistrophe.transport.outgoing_message import OutgoingMessage
from antistrophe.transport.poller import BROKEN, WRITABLE, Poller
from antistrophe.transport.sockets import remove_socket

_MAX_OPEN_CONNECTIONS = 1024
_SHARE = 4
_LOOK_AT_QUEUES_S = 1.0


class Sender:
    """All connections to peers. Not for several threads at once: its owner holds a lock."""

    def __init__(self, poller: Poller, own_path: str, drop_counters: DropCounters) -> None:
        self.finished: deque[tuple[OutgoingMessage, SendStatus.BASE]] = deque()
        self._poller = poller
        self._own_path = own_path
        self._drop_counters = drop_counters
        self._connections: OrderedDict[str, OutgoingConnection] = OrderedDict()  # least recently used first
        self._waiting: dict[OutgoingConnection, None] = {}
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
        return sum(len(connection.queue) for connection in self._waiting)

    def is_full(self, path: str) -> bool:
        """Whether so much waits for that peer that no more should."""
        connection = self._connections.get(path)
        return connection is not None and connection.full

    def write(self, path: str, frame: bytes) -> SendStatus.BASE | None:
        """Hand a frame to the kernel. Answers how that went, or None: it has to be queued, by the next call."""
        connection = self._connections.get(path)
        if connection is None or connection.armed != 0 or len(self._connections) >= self._crowded_from:
            opened = self._open(path)
            if not isinstance(opened, OutgoingConnection):
                return opened
            connection = opened
        try:
            if not connection.write(frame):
                return None
        except OSError:
            self._disarm(connection)
            if connection.lost():
                return None
            self._give_up(connection, SendStatus.Failed)
            return SendStatus.Failed
        if connection.armed is None:
            self._arm(connection)
        return SendStatus.Sent

    def queue(self, path: str, outgoing: OutgoingMessage) -> None:
        """Have a outgoing wait whose frame `write` has just not handed over whole; it ends up in ``finished``."""
        connection = self._connections[path]
        connection.enqueue(outgoing)
        if connection.sock is None and connection.retry_at <= time.monotonic():
            self._connect_and_flush(connection)
        else:
            self._arm(connection)

    def ready(self, connection: OutgoingConnection, events: int) -> None:
        """Something happened on a connection."""
        try:
            if events & BROKEN:
                raise ConnectionResetError
            self._written(connection.flush())
        except OSError:
            self._reconnect(connection)
        else:
            self._arm(connection)

    def tend(self) -> None:
        """Connect again where it is time to, and end what has waited too long."""
        if not self._waiting:
            return
        now = time.monotonic()
        for connection in [each for each in self._waiting if each.sock is None and each.retry_at <= now]:
            self._connect_and_flush(connection)
        if now >= self._look_again_at:
            self._look_again_at = now + _LOOK_AT_QUEUES_S
            for connection in list(self._waiting):
                self._end_expired(connection, now)

    def rest_s(self) -> float | None:
        """In how many seconds `tend` has something to do; None: never."""
        if not self._waiting:
            return None
        due = min([self._look_again_at, *(each.retry_at for each in self._waiting if each.sock is None)])
        return max(0.0, due - time.monotonic())

    def forget(self, path: str) -> None:
        """That peer is dead: what waits for it fails, and its socket file goes, for nobody will have it again."""
        connection = self._connections.get(path)
        if connection is not None:
            self._give_up(connection, SendStatus.DeadTarget)
        else:
            remove_socket(path)

    def waiting(self) -> list[OutgoingMessage]:
        """The letters that wait."""
        return [outgoing for connection in self._waiting for outgoing in connection.queue]

    def close(self) -> None:
        """Close all connections; what waits has failed."""
        for connection in list(self._connections.values()):
            self._give_up(connection, SendStatus.Failed)

    def drop_descriptors(self) -> None:
        """Close this process's copies of the descriptors, and nothing else."""
        for connection in self._connections.values():
            connection.close()

    def _open(self, path: str) -> OutgoingConnection | SendStatus.BASE:
        """What goes to that peer, connected where that can be had now; or how it failed."""
        connection = self._connections.get(path)
        if connection is None:
            self._make_room()
            connection = self._connections[path] = OutgoingConnection(path, preamble(self._own_path, path))
        self._connections.move_to_end(path)
        try:
            if connection.sock is None and not connection.queue:
                connection.connect(time.monotonic())
        except OSError as error:
            return self._refused(connection, error)
        return connection

    def _refused(self, connection: OutgoingConnection, error: OSError) -> SendStatus.BASE:
        if isinstance(error, OtherUserError):
            self._drop_counters.add(OTHER_USERS, f"{error.strerror} listens on {connection.path}")
            self._give_up(connection, SendStatus.Failed)
            return SendStatus.Failed
        self._give_up(connection, SendStatus.DeadTarget)
        return SendStatus.DeadTarget

    def _connect_and_flush(self, connection: OutgoingConnection) -> None:
        try:
            if connection.connect(time.monotonic()):
                self._written(connection.flush())
        except OSError as error:
            if connection.sock is None:
                self._refused(connection, error)
            else:
                self._reconnect(connection)
        else:
            self._arm(connection)

    def _reconnect(self, connection: OutgoingConnection) -> None:
        """A connection broke: its peer is dead, and then nobody listens there, or has closed it and reads anew."""
        self._disarm(connection)
        if connection.lost() and connection.queue:
            self._connect_and_flush(connection)
        else:
            self._give_up(connection, SendStatus.Failed)

    def _give_up(self, connection: OutgoingConnection, status: SendStatus.BASE) -> None:
        self._disarm(connection)
        self._waiting.pop(connection, None)
        self._connections.pop(connection.path, None)
        self.finished.extend((outgoing, status) for outgoing in connection.take_all())
        if status is SendStatus.DeadTarget:
            remove_socket(connection.path)

    def _written(self, letters: Iterable[OutgoingMessage]) -> None:
        self.finished.extend((outgoing, SendStatus.Sent) for outgoing in letters)

    def _arm(self, connection: OutgoingConnection) -> None:
        # What the kernel is to look at: room to write, or at least the peer's death.
        if connection.queue:
            self._waiting[connection] = None
        else:
            self._waiting.pop(connection, None)
        if connection.sock is None:
            return
        events = WRITABLE if connection.queue else 0
        if connection.armed != events:
            self._poller.watch(connection.sock.fileno(), events, connection)
            connection.armed = events

    def _disarm(self, connection: OutgoingConnection) -> None:
        if connection.armed is not None and connection.sock is not None:
            self._poller.forget(connection.sock.fileno())
        connection.armed = None

    def _end_expired(self, connection: OutgoingConnection, now: float) -> None:
        self._disarm(connection)
        self.finished.extend((outgoing, SendStatus.Failed) for outgoing in connection.take_expired(now))
        self._arm(connection)

    def _make_room(self) -> None:
        """Close the connection that has been idle the longest, where there are too many; one with a queue is put to the
        end of the row, so that it is looked at once and not each time."""
        for _ in range(len(self._connections) + 1 - self._most_open):
            for _ in range(len(self._connections)):
                path, connection = next(iter(self._connections.items()))
                if not connection.queue:
                    self._give_up(connection, SendStatus.Sent)
                    break
                self._connections.move_to_end(path)
