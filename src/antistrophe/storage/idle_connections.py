"""Connections that nobody uses now, for threads that must not wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

_MOST = 8


class Closes(Protocol):
    """The part of a connection that is used here."""

    def close(self) -> None:
        """Close it."""


C = TypeVar("C", bound=Closes)


class IdleConnections(Generic[C]):
    """Opens a connection for whoever finds none idle, and keeps a few. Any thread may use it."""

    def __init__(self, open_another: Callable[[], C]) -> None:
        self._open_another = open_another
        self._idle: list[C] = []  # one end of a list: its methods are safe between threads
        self._closed = False

    def take(self) -> C:
        """A connection that nobody else uses until it is given back. Raises what opening one does."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._open_another()

    def give_back(self, connection: C) -> None:
        """Nobody uses it any more."""
        if self._closed or len(self._idle) >= _MOST:
            connection.close()
        else:
            self._idle.append(connection)

    def close(self) -> None:
        """Close the idle connections, and the others as soon as they are given back. A second call does nothing."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
