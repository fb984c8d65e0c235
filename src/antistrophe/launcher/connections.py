"""Who is connected to the launcher: lets applications in, tells them the state, and notices who has left."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import time
from collections.abc import Callable

from antistrophe.errors import UnreadableDataError
from antistrophe.launcher.control_protocol import Peer, State

log = logging.getLogger("antistrophe.launcher")

_ACCEPTS_AT_ONCE = 64
_NO_ENTRY_PAUSE_S = 0.1


class Peers:
    """The listening socket and every connection to it, served by the launcher's one selector.

    ``on_left`` is called with the client id of each attached application that is gone. ``attached_ever`` says whether
    there has been any.
    """

    def __init__(
        self, selector: selectors.BaseSelector, listener: socket.socket, state: State, on_left: Callable[[str], None]
    ) -> None:
        self._selector = selector
        self._listener = listener
        self._state = state
        self._on_left = on_left
        self._peers: set[Peer] = set()
        self.attached_ever = False
        # Connections of applications that left while they were the last: they end when the launcher has.
        self._held: set[Peer] = set()
        selector.register(listener, selectors.EVENT_READ, self._accept)

    @property
    def attached(self) -> int:
        """How many applications keep the system up."""
        return sum(peer.attached for peer in self._peers)

    def tell(self, state: State) -> None:
        """Tell everybody, now and later on, what is true from now on."""
        self._state = state
        for peer in list(self._peers):
            if peer.hello is not None:
                self._send(peer)

    def close(self) -> None:
        """End every connection."""
        for peer in list(self._peers):
            self._forget(peer)
        self._selector.unregister(self._listener)
        self._listener.close()

    def drop_descriptors(self) -> None:
        """In a fork: close the copies of the launcher's sockets, and do nothing else to them."""
        self._listener.close()
        for peer in self._peers:
            peer.close()

    def _accept(self, _mask: int) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # Most likely no descriptor is to be had just now: whoever wants to come in waits in the backlog.
                log.error("nobody can be let in: %s", error)
                time.sleep(_NO_ENTRY_PAUSE_S)
                return
            try:
                peer = Peer(connection)
            except OSError:
                connection.close()
                continue
            if not peer.trusted:
                log.warning("process %d of another user was turned away", peer.pid)
                peer.close()
                continue
            self._peers.add(peer)
            self._watch(peer)

    def _serve(self, peer: Peer, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                peer.flush()
            if mask & selectors.EVENT_READ and peer.read():
                peer.send(self._state)
                if peer.attached:
                    self._keep_up()
        except UnreadableDataError as error:
            log.warning("process %d does not talk as it should: %s", peer.pid, error)
            self._lose(peer)
            return
        except OSError:
            self._lose(peer)
            return
        if peer.left:
            self._part(peer)
        else:
            self._watch(peer)

    def _keep_up(self) -> None:
        """Somebody came: who waited for the end of the system need not wait any longer."""
        self.attached_ever = True
        for peer in list(self._held):
            self._forget(peer)

    def _part(self, peer: Peer) -> None:
        """It has closed its side. As long as others keep the system up it need not wait for anything; else the end of
        its connection tells it that the system is gone."""
        if peer.hello is None or not peer.hello.attach or self.attached:
            self._lose(peer)
            return
        if peer not in self._held:
            self._held.add(peer)
            self._on_left(peer.hello.client_id)
        self._watch(peer)

    def _lose(self, peer: Peer) -> None:
        client_id = peer.hello.client_id if peer.hello is not None and peer.hello.attach else None
        told = peer in self._held
        self._forget(peer)
        if client_id is not None and not told:
            self._on_left(client_id)

    def _forget(self, peer: Peer) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(peer)
        self._peers.discard(peer)
        self._held.discard(peer)
        peer.close()

    def _send(self, peer: Peer) -> None:
        try:
            peer.send(self._state)
        except OSError:
            self._lose(peer)
        else:
            self._watch(peer)

    def _watch(self, peer: Peer) -> None:
        # A connection whose other side is closed is readable for ever: there is nothing more to hear from it.
        events = (0 if peer.left else selectors.EVENT_READ) | (selectors.EVENT_WRITE if peer.wants_to_write else 0)
        known = self._selector.get_map().get(peer)
        if known is not None and known.events == events:
            return
        if known is not None:
            self._selector.unregister(peer)
        if events:
            self._selector.register(peer, events, lambda mask: self._serve(peer, mask))
