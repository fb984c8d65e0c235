"""Connections to one PostgreSQL database, for threads that must not wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from antistrophe.storage.postgres import PostgresDatabase, open_postgres

_IDLE = 8


class PostgresPool:
    """Opens a connection for whoever finds none idle, and keeps a few. Any thread may use it.

    The first one is opened at once, which brings the schema up to date. Raises JournalError as ``open_postgres`` does.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._closed = False
        first = open_postgres(url)
        self.where = first.where
        self._idle = [first]  # one end of a list: its methods are safe between threads

    def opened(self, patience_s: float) -> PostgresDatabase:
        """A connection apart, which the caller closes."""
        return open_postgres(self._url, patience_s=patience_s)

    @contextmanager
    def taken(self) -> Iterator[PostgresDatabase]:
        """A connection that nobody else uses meanwhile."""
        try:
            database = self._idle.pop()
        except IndexError:
            database = open_postgres(self._url)
        try:
            yield database
        finally:
            if self._closed or len(self._idle) >= _IDLE:
                database.close()
            else:
                self._idle.append(database)

    def close(self) -> None:
        """Close the idle connections, and the others as soon as they are given back. A second call does nothing."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
