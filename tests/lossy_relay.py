"""A relay between a client and a PostgreSQL server on Unix sockets, which loses what the test says."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

_NAME = ".s.PGSQL.5432"
_SYNC = b"S\0\0\0\4"
"""The end of a statement with values. One without begins with Q."""


class LossyRelay:
    """Passes everything on, but for the next statement that has a word of ``lose_next``.

    ``folder`` has to be short enough for a socket. The relay ends with the ``with``.
    """

    def __init__(self, url: str, folder: Path) -> None:
        query = parse_qs(urlsplit(url).query)
        self._server = f"{query['host'][0]}/{_NAME}"
        self.url = url.replace(query["host"][0], str(folder))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / _NAME))
        self._listener.listen()
        self._word: bytes | None = None
        self._of_question = False
        self.refuses = False
        self.questions = 0
        self.lost = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def lose_answer(self, word: bytes) -> None:
        """Cut the connection once the server has answered the next question with that word."""
        self._word, self._of_question = word, False

    def lose_question(self, word: bytes) -> None:
        """Cut the connection in place of passing the next question with that word on."""
        self._word, self._of_question = word, True

    def cut(self) -> None:
        """Cut all connections."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._start(self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10.0)
        for each in self._open:
            each.close()

    def _start(self, target: Callable[..., None], *values: object) -> None:
        thread = threading.Thread(target=target, args=values, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refuses:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                self._open += [client, server]
                both = (client, server, threading.Event())
                self._start(self._questions, *both)
                self._start(self._answers, *both)

    def _questions(self, client: socket.socket, server: socket.socket, loses: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                self.questions += data.startswith(b"Q") or data.endswith(_SYNC)  # a large one comes in pieces
                if self._word is not None and self._word in data:
                    self._word = None
                    self.lost += 1
                    if self._of_question:
                        break
                    loses.set()  # from now on nothing that the server says here is passed on
                server.sendall(data)
        _close(client, server)

    def _answers(self, client: socket.socket, server: socket.socket, loses: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                if loses.is_set():
                    break
                client.sendall(data)
        _close(client, server)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
