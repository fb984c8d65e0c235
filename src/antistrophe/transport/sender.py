"""Sends the messages of one process: one connection for each peer, and a queue where a peer does not read."""

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
    """All connections to peers. One thread at a time may use it: its owner holds a lock. ``held_up``: the connections
    with messages that wait."""

    def __init__(self, poller: Poller, own_path: str, drop_counters: DropCounters) -> None:
        self.finished: deque[tuple[OutgoingMessage, SendStatus.BASE]] = deque()
        self._poller = poller
        self._own_path = own_path
        self._drop_counters = drop_counters
        self._connections: OrderedDict[str, OutgoingConnection] = OrderedDict()  # least recently used first
        self.held_up: dict[OutgoingConnection, None] = {}
        self._look_again_at = 0.0
        # A process needs descriptors for other things too, and for the peers that connect to it.
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        unlimited = descriptors == resource.RLIM_INFINITY
        self._most_open = _MAX_OPEN_CONNECTIONS if unlimited else min(_MAX_OPEN_CONNECTIONS, descriptors // _SHARE + 1)
        # The order of use is kept only where connections may have to be closed soon.
        self._crowded_from = self._most_open // 2

    @property
    def pending(self) -> int:
        """How many messages wait to be written."""
        return sum(len(connection.queue) for connection in self.held_up)

    def is_full(self, path: str) -> bool:
        """Whether the queue for that peer is full."""
        connection = self._connections.get(path)
        return connection is not None and connection.full

    def write(self, path: str, frame: bytes) -> SendStatus.BASE | None:
        """Write a frame. Return how that went, or None: the caller has to queue the message next."""
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
        """Queue the message whose frame `write` has not written whole; it ends up in ``finished``."""
        connection = self._connections[path]
        connection.enqueue(outgoing)
        if connection.sock is None and connection.retry_at <= time.monotonic():
            self._connect_and_flush(connection)
        else:
            self._arm(connection)

    def ready(self, connection: OutgoingConnection, events: int) -> None:
        """Handle an event on a connection."""
        try:
            if events & BROKEN:
                raise ConnectionResetError
            self._written(connection.flush())
        except OSError:
            self._reconnect(connection)
        else:
            self._arm(connection)

    def tend(self) -> None:
        """Connect again where it is time to, and fail the messages that have waited too long."""
        now = time.monotonic()
        for connection in [each for each in self.held_up if each.sock is None and each.retry_at <= now]:
            self._connect_and_flush(connection)
        if now >= self._look_again_at:
            self._look_again_at = now + _LOOK_AT_QUEUES_S
            for connection in list(self.held_up):
                self._end_expired(connection, now)

    def rest_s(self) -> float | None:
        """In how many seconds `tend` has something to do; None: nothing waits."""
        if not self.held_up:
            return None
        due = min([self._look_again_at, *(each.retry_at for each in tuple(self.held_up) if each.sock is None)])
        return max(0.0, due - time.monotonic())

    def forget(self, path: str) -> None:
        """That peer is dead: fail the messages that wait for it, and remove its socket file, which nobody uses
        again."""
        connection = self._connections.get(path)
        if connection is not None:
            self._give_up(connection, SendStatus.DeadTarget)
        else:
            remove_socket(path)

    def waiting(self) -> list[OutgoingMessage]:
        """The messages that wait."""
        return [outgoing for connection in self.held_up for outgoing in connection.queue]

    def close(self) -> None:
        """Close all connections; the messages that wait have failed."""
        for connection in list(self._connections.values()):
            self._give_up(connection, SendStatus.Failed)

    def drop_descriptors(self) -> None:
        """Close this process's copies of the descriptors, and do nothing else."""
        for connection in self._connections.values():
            connection.close()

    def _open(self, path: str) -> OutgoingConnection | SendStatus.BASE:
        """The connection to that peer, connected if that is possible now; or how connecting failed."""
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
        """A connection broke: its peer is dead, or has closed the connection and reads from a new one."""
        self._disarm(connection)
        if connection.lost() and connection.queue:
            self._connect_and_flush(connection)
        else:
            self._give_up(connection, SendStatus.Failed)

    def _give_up(self, connection: OutgoingConnection, status: SendStatus.BASE) -> None:
        self._disarm(connection)
        self.held_up.pop(connection, None)
        self._connections.pop(connection.path, None)
        self.finished.extend((outgoing, status) for outgoing in connection.take_all())
        if status is SendStatus.DeadTarget:
            remove_socket(connection.path)

    def _written(self, written: Iterable[OutgoingMessage]) -> None:
        self.finished.extend((outgoing, SendStatus.Sent) for outgoing in written)

    def _arm(self, connection: OutgoingConnection) -> None:
        # Watch for room to write where something waits, else only for the peer's death.
        if connection.queue:
            self.held_up[connection] = None
        else:
            self.held_up.pop(connection, None)
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
        """Where too many connections are open, close the one that was idle the longest. One with a queue goes to the
        end of the order, so that it is looked at once and not each time."""
        for _ in range(len(self._connections) + 1 - self._most_open):
            for _ in range(len(self._connections)):
                path, connection = next(iter(self._connections.items()))
                if not connection.queue:
                    self._give_up(connection, SendStatus.Sent)
                    break
                self._connections.move_to_end(path)
