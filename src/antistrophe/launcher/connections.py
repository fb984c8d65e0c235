"""The applications that are connected to the launcher: lets them in, tells them its state, notices who has left."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import time
from collections.abc import Callable

from antistrophe.errors import UnreadableDataError
from antistrophe.launcher.control_protocol import (
    FROM_CLIENT,
    MAX_FRAME_BYTES,
    FrameReader,
    Hello,
    Ready,
    State,
    Stopping,
    encode,
    peer_credentials,
)
from antistrophe.messages import AttachedClients

log = logging.getLogger("antistrophe.launcher")

_ACCEPTS_AT_ONCE = 64
_NO_ENTRY_PAUSE_S = 0.1
_MAX_UNSENT_BYTES = 1 << 18


class ClientConnections:
    """The listening socket and every connection to it, served by the launcher's one selector.

    ``on_left`` is called with the client id of each attached application that has left. ``attached_ever`` says whether
    any application has ever been attached.
    """

    def __init__(
        self, selector: selectors.BaseSelector, listener: socket.socket, state: State, on_left: Callable[[str], None]
    ) -> None:
        self._selector = selector
        self._listener = listener
        self._state = state
        self._on_left = on_left
        self._connections: set[ClientConnection] = set()
        self.attached_ever = False
        self._refusing = False
        # Connections of applications that were the last to leave: they stay open until the launcher ends.
        self._held: set[ClientConnection] = set()
        selector.register(listener, selectors.EVENT_READ, self._accept)

    @property
    def attached(self) -> int:
        """How many applications are attached, and so keep the system up."""
        return sum(connection.attached for connection in self._connections)

    def clients(self) -> AttachedClients:
        """Who is attached, and who of them may hold sagas of an earlier incarnation."""
        attached = [(each.hello, each.was_ready) for each in self._connections if each.hello and each.attached]
        returning = tuple(hello.client_id for hello, was_ready in attached if was_ready)
        return AttachedClients(tuple(hello.client_id for hello, _ in attached), returning)

    def tell(self, state: State) -> None:
        """Tell the state to every connected application, and from now on to each new one."""
        self._state = state
        for connection in list(self._connections):
            if connection.hello is not None:
                self._send(connection)
        if self.attached:
            self._release_held()

    def listen_at(self, listener: socket.socket) -> None:
        """Take new connections from this socket only, and leave the others as they are."""
        self._selector.unregister(self._listener)
        self._listener.close()
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """End every connection."""
        for connection in list(self._connections):
            self._forget(connection)
        self._selector.unregister(self._listener)
        self._listener.close()

    def drop_descriptors(self) -> None:
        """In a fork: close the copies of the launcher's sockets, and do nothing else to them."""
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def _accept(self, _mask: int) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                accepted, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # Most likely no descriptor is free at the moment: the application waits in the backlog.
                if not self._refusing:
                    log.error("the control socket can't accept connections now: %s; applications wait", error)
                self._refusing = True
                time.sleep(_NO_ENTRY_PAUSE_S)
                return
            self._refusing = False
            try:
                connection = ClientConnection(accepted)
            except OSError:
                accepted.close()
                continue
            if not connection.trusted:
                log.warning("process %d belongs to another user: its connection was closed", connection.pid)
                connection.close()
                continue
            self._connections.add(connection)
            self._watch(connection)

    def _serve(self, connection: ClientConnection, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                connection.flush()
            if mask & selectors.EVENT_READ and connection.read():
                connection.send(self._state)
                if connection.attached:
                    self._release_held()
        except UnreadableDataError as error:
            log.warning("process %d does not speak the control protocol: %s", connection.pid, error)
            self._drop(connection)
            return
        except OSError:
            self._drop(connection)
            return
        if connection.left:
            self._leave(connection)
        else:
            self._watch(connection)

    def _release_held(self) -> None:
        """An application has attached: those that wait for the end of the system need not wait any longer, once it is
        decided that it goes on."""
        self.attached_ever = True
        if isinstance(self._state, Stopping):
            return
        for connection in list(self._held):
            self._forget(connection)

    def _leave(self, connection: ClientConnection) -> None:
        """The application has closed its side. While others keep the system up, its connection ends at once. The last
        application keeps its connection until the launcher ends: so it knows when the system is gone."""
        if connection.hello is None or not connection.hello.attach or self.attached:
            self._drop(connection)
            return
        if connection not in self._held:
            self._held.add(connection)
            self._on_left(connection.hello.client_id)
        self._watch(connection)

    def _drop(self, connection: ClientConnection) -> None:
        client_id = connection.hello.client_id if connection.hello is not None and connection.hello.attach else None
        reported = connection in self._held
        self._forget(connection)
        if client_id is not None and not reported:
            self._on_left(client_id)

    def _forget(self, connection: ClientConnection) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection)
        self._connections.discard(connection)
        self._held.discard(connection)
        connection.close()

    def _send(self, connection: ClientConnection) -> None:
        try:
            connection.send(self._state)
        except OSError:
            self._drop(connection)
        else:
            self._watch(connection)

    def _watch(self, connection: ClientConnection) -> None:
        # A connection whose other side is closed stays readable for ever, and has nothing more to read.
        reading = 0 if connection.left else selectors.EVENT_READ
        events = reading | (selectors.EVENT_WRITE if connection.wants_to_write else 0)
        known = self._selector.get_map().get(connection)
        if known is not None and known.events == events:
            return
        if known is not None:
            self._selector.unregister(connection)
        if events:
            self._selector.register(connection, events, lambda mask: self._serve(connection, mask))


class ClientConnection:
    """The launcher's end of one application's connection. ``hello`` is the application's introduction, None before it
    came. ``left`` says whether the application has closed its side, ``was_ready`` whether it was told of a system that
    takes requests, ``trusted`` whether it is of the same user."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._reader = FrameReader(FROM_CLIENT)
        self._unsent = bytearray()
        self.hello: Hello | None = None
        self.left = False
        self.was_ready = False
        self.pid, uid = peer_credentials(connection)
        self.trusted = uid == os.geteuid()

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._connection.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether there are bytes that the kernel has not taken yet."""
        return bool(self._unsent)

    @property
    def attached(self) -> bool:
        """Whether this application keeps the system up."""
        return self.hello is not None and self.hello.attach and not self.left

    def read(self) -> bool:
        """Read what has arrived; True when that was the Hello. Raises UnreadableDataError on garbage, and OSError on
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
                raise UnreadableDataError("an application introduced itself twice")
            self.hello, introduced = frame, True
        return introduced

    def send(self, state: State) -> None:
        """Send a state, or as much of it as the kernel takes now. Raises OSError when the application is gone or does
        not read."""
        self.was_ready |= isinstance(state, Ready)
        self._unsent += encode(state)
        self.flush()
        if len(self._unsent) > _MAX_UNSENT_BYTES:
            raise BrokenPipeError("the application does not read")

    def flush(self) -> None:
        """Send what is left. Raises OSError when the application is gone."""
        while self._unsent:
            try:
                sent = self._connection.send(self._unsent, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            del self._unsent[:sent]

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
