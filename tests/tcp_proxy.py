"""A TCP proxy in front of a PostgreSQL server on a Unix socket: a network that is cut, slow, or half-open, and that
comes back."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

_NAME = ".s.PGSQL.5432"
_CHUNK_BYTES = 1 << 16
_LOOK_S = 0.02
_END_S = 10.0


@dataclass
class _Way:
    """What goes from one socket to another, each part with the moment from which it may be passed on."""

    source: socket.socket
    target: socket.socket
    parts: deque[tuple[float, bytes]] = field(default_factory=deque)


class TcpProxy:
    """Listens on a free port of 127.0.0.1; ``url`` leads there. Use it in a ``with``.

    Whatever happens to the network happens to all connections, and to new ones.
    """

    def __init__(self, url: str) -> None:
        split = urlsplit(url)
        query = parse_qs(split.query)
        self._server = f"{query['host'][0]}/{_NAME}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.url = f"postgresql://{query['user'][0]}@127.0.0.1:{self._listener.getsockname()[1]}{split.path}"
        self._lock = threading.Lock()
        self._cut = self._holds = self._ending = False
        self._delay_s = 0.0
        self._ways: dict[socket.socket, _Way] = {}
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, daemon=True)

    # --- what the network does ----------------------------------------------------------------------------------

    def cut(self) -> None:
        """End all connections, and every new one at once."""
        with self._lock:
            self._cut = True
            self._end_all()

    def hold(self) -> None:
        """Pass nothing on (half-open): both ends believe that they are connected, and hear nothing."""
        with self._lock:
            self._holds = True

    def delay(self, delay_s: float) -> None:
        """Pass on what comes from now on so much later, in each direction."""
        with self._lock:
            self._delay_s = delay_s

    def come_back(self, *, lose_held: bool = False) -> None:
        """Be an ordinary network again. What was held is passed on now, or with ``lose_held`` its connections end."""
        with self._lock:
            if lose_held and self._holds:
                self._end_all()
            self._cut = self._holds = False
            self._delay_s = 0.0

    # --- inside ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending = True
        self._thread.join(_END_S)
        with self._lock:
            self._end_all()
        self._listener.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._ending:
            ready = [key.fileobj for key, _ in self._selector.select(_LOOK_S)]
            with self._lock:
                for each in ready:
                    if each is self._listener:
                        self._accept()
                    elif each in self._ways:
                        self._read(self._ways[each])
                if not self._holds:
                    for way in list(self._ways.values()):
                        self._pass_on(way)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            if self._cut:
                client.close()
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._server)
            except OSError:  # the server does not run
                client.close()
                server.close()
                return
            for source, target in ((client, server), (server, client)):
                self._ways[source] = _Way(source, target)
                self._selector.register(source, selectors.EVENT_READ)

    def _read(self, way: _Way) -> None:
        try:
            data = way.source.recv(_CHUNK_BYTES)
        except OSError:
            data = b""
        way.parts.append((time.monotonic() + self._delay_s, data))
        if not data:
            self._selector.unregister(way.source)

    def _pass_on(self, way: _Way) -> None:
        while way.parts and way.parts[0][0] <= time.monotonic() and way.source in self._ways:
            _, data = way.parts.popleft()
            try:
                way.target.sendall(data)
            except OSError:
                data = b""
            if not data:
                self._end(way)

    def _end_all(self) -> None:
        for way in list(self._ways.values()):
            self._end(way)

    def _end(self, way: _Way) -> None:
        for each in (way.source, way.target):
            if self._ways.pop(each, None) is not None:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(each)
                each.close()
