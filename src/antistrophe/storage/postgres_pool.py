"""Connections to one PostgreSQL database, for threads that must not wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from antistrophe.storage.idle_connections import IdleConnections
from antistrophe.storage.postgres import PostgresDatabase, open_postgres


class PostgresPool:
    """Opens a connection for whoever finds none idle, and keeps a few. Any thread may use it.

    The first one is opened at once, which brings the schema up to date. Raises JournalError as ``open_postgres`` does.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connections = IdleConnections(lambda: open_postgres(url))
        first = self._connections.take()
        self.where = first.where
        self._connections.give_back(first)

    def opened(self, patience_s: float) -> PostgresDatabase:
        """A connection apart, which the caller closes."""
        return open_postgres(self._url, patience_s=patience_s)

    @contextmanager
    def taken(self) -> Iterator[PostgresDatabase]:
        """A connection that nobody else uses meanwhile."""
        database = self._connections.take()
        try:
            yield database
        finally:
            self._connections.give_back(database)

    def close(self) -> None:
        """Close the idle connections, and the others as soon as they are given back. A second call does nothing."""
        self._connections.close()
