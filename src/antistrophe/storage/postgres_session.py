"""The connection to a PostgreSQL server: made when it is needed, given up when it is lost, and made anew."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable

import psycopg

from antistrophe.errors import JournalError
from antistrophe.storage.postgres_address import PostgresAddress
from antistrophe.storage.postgres_failures import cause_of, is_lost, refusal
from antistrophe.storage.postgres_waiting import BoundedConnection, connect, is_there

_CONNECT_S = 10.0
_PAUSE_S = 0.25


class PostgresSession:
    """One connection at a time, for one caller at a time. ``made``: how many there have been.

    Where ``patience_s`` is given a server that could not be reached is not tried again within a quarter of a second:
    who asks meanwhile is refused at once, and has time for its other work. ``look`` is called with each new connection
    before it is used; what it raises keeps the connection from being used.
    """

    def __init__(self, address: PostgresAddress, *, patience_s: float | None, answer_s: float) -> None:
        self._address = address
        self._pauses = patience_s is not None
        self._answer_s = answer_s
        self._pid = os.getpid()
        self._connection: BoundedConnection | None = None
        self._closed = False
        self._refused: JournalError | None = None
        self.made = 0
        self._look_at = 0.0
        self.look: Callable[[BoundedConnection], None] | None = None
        _sessions.add(self)

    @property
    def is_own(self) -> bool:
        """Whether this is the process that made it, and no fork."""
        return os.getpid() == self._pid

    def current(self) -> BoundedConnection:
        """The connection as it is, in the middle of a transaction."""
        self._refuse()
        if self._connection is None:
            raise JournalError(f"{self._address.where}: the connection was lost within a transaction")
        return self._connection

    def usable(self) -> BoundedConnection:
        """A connection that the server has kept, or a new one."""
        self._refuse()
        if self._connection is not None and not is_there(self._connection):
            self._drop()
        if self._connection is None:
            self._connection = self._connected()
        return self._connection

    def is_lost(self, error: psycopg.Error) -> bool:
        """Whether the connection is of no use any more after that error. Then it is given up."""
        if not is_lost(error, self._connection):
            return False
        self._drop()
        return True

    def roll_back(self) -> None:
        """Undo what is open, or give the connection up, which does the same."""
        if self._connection is None:
            return
        try:
            self._connection.execute(b"ROLLBACK")
        except psycopg.Error:
            self._drop()

    def close(self) -> None:
        """Close it for ever."""
        self._closed = True
        self._drop()

    def _refuse(self) -> None:
        """Raise JournalError in a fork, and after the end."""
        if not self.is_own:
            raise JournalError(
                f"{self._address.where} was opened by process {self._pid} and can't be used in its fork {os.getpid()}:"
                " open it again in the fork"
            )
        if self._closed:
            raise JournalError(f"{self._address.where}: this connection is closed; open the database again")

    def _connected(self) -> BoundedConnection:
        if self._refused is not None and self._pauses and time.monotonic() < self._look_at:
            raise JournalError(str(self._refused)) from self._refused.__cause__
        try:
            connection = connect(
                self._address.conninfo, connect_s=min(_CONNECT_S, self._answer_s), answer_s=self._answer_s
            )
            self._look_with(connection)
        except psycopg.Error as error:
            self._refused = refusal(self._address, error, connecting=True)
            self._look_at = time.monotonic() + _PAUSE_S
            raise self._refused from cause_of(self._address, error)
        except JournalError as error:
            self._refused, self._look_at = error, time.monotonic() + _PAUSE_S
            raise
        self._refused = None
        self.made += 1
        return connection

    def _look_with(self, connection: BoundedConnection) -> None:
        try:
            if self.look is not None:
                self.look(connection)
        except BaseException:
            connection.pgconn.finish()
            raise

    def abandon(self) -> None:
        """In a fork: have no copy of the connection. It would keep the server from seeing that this process has ended,
        with its locks, and whoever writes there would garble what this process says."""
        if self._connection is not None and not self._connection.closed:
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(nothing, self._connection.pgconn.socket, inheritable=False)
            os.close(nothing)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()


_sessions: weakref.WeakSet[PostgresSession] = weakref.WeakSet()


def _abandon_all() -> None:
    for session in list(_sessions):
        session.abandon()


os.register_at_fork(after_in_child=_abandon_all)
