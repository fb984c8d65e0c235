"""Waits for the server of PostgreSQL, and never for longer than a deadline says. Where a large answer comes in pieces,
each of them is waited for anew, up to a bound for all.

A server that hangs, and a network that is cut, send nothing: only a clock notices. A connection whose answer is late is
given up at once, because nobody can say any more what its next answer belongs to.
"""

from __future__ import annotations

import select
import time
from collections.abc import Generator
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg import generators
from psycopg.waiting import Ready, Wait

from antistrophe.storage.postgres_moments import MomentLoader

T = TypeVar("T")

_EVENTS = {Wait.R: select.POLLIN, Wait.W: select.POLLOUT, Wait.RW: select.POLLIN | select.POLLOUT}
_READY = {select.POLLIN: Ready.R, select.POLLOUT: Ready.W, select.POLLIN | select.POLLOUT: Ready.RW}
_NOTICES = 4
_PIECES = 20
"""For so many times ``answer_s`` an answer may take that comes in pieces."""

_WAITS_FOR_STANDBY = "SyncRepWaitForLSN"
"""The function of the server that waits. It says nothing but that it was cancelled; the text is of any language."""

_IN_VAIN = "no answer came within {:g} s"


class AnswerLateError(psycopg.OperationalError):
    """The server has not answered in time."""


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection each of whose waits ends after ``answer_s`` seconds in which nothing comes."""

    answer_s = 30.0
    dismissed = False
    """The server has said that it ends this session."""
    unreplicated = False
    """The server has said that a commit was not waited for until a standby had it: somebody has cancelled the wait."""

    def wait(self, gen: Generator[Any, Any, T], *_: Any, **__: Any) -> T:
        """Take a generator of psycopg to its end. Where that fails halfway the connection is closed."""
        end = time.monotonic() + _PIECES * self.answer_s
        socket = self.pgconn.socket
        try:
            wanted = next(gen)
            while True:
                until = min(end, time.monotonic() + self.answer_s)
                wanted = gen.send(_ready(socket, wanted, until, self.answer_s))
        except StopIteration as ended:
            result: T = ended.value
            return result
        except AnswerLateError:
            self.pgconn.finish()
            raise
        except psycopg.Error:
            raise
        except BaseException:  # the caller was interrupted
            self.pgconn.finish()
            raise


def connect(conninfo: str, *, connect_s: float, answer_s: float) -> BoundedConnection:
    """Open a connection that commits each statement by itself. Raises psycopg.Error, after ``connect_s`` at the latest
    (a name server that is slow may take longer)."""
    until = time.monotonic() + connect_s
    opening = generators.connect(conninfo)
    connection: BoundedConnection | None = None
    socket, wanted = next(opening)
    while connection is None:
        try:
            socket, wanted = opening.send(_ready(socket, wanted, until, connect_s))
        except StopIteration as ended:
            connection = BoundedConnection(ended.value)
    connection.answer_s = answer_s
    connection.autocommit = True
    connection.prepare_threshold = None  # behind a pooler the next statement may go to another session
    connection.adapters.register_loader("timestamptz", MomentLoader)
    connection.add_notice_handler(partial(_heard, connection))
    return connection


def _heard(connection: BoundedConnection, notice: psycopg.errors.Diagnostic) -> None:
    if notice.severity_nonlocalized in {"FATAL", "PANIC"}:
        connection.dismissed = True
    if notice.source_function == _WAITS_FOR_STANDBY:  # the server calls that a success, with a warning
        connection.unreplicated = True


def is_there(connection: BoundedConnection) -> bool:
    """Whether the server has kept an idle connection. What it says there without being asked is its farewell, as a
    rule, and a notice now and then."""
    for _ in range(_NOTICES):
        if connection.closed:
            return False
        poll = select.poll()
        poll.register(connection.pgconn.socket, select.POLLIN)
        if not poll.poll(0):
            return True
        try:
            connection.pgconn.consume_input()
            connection.pgconn.is_busy()  # reads what has come
        except psycopg.OperationalError:
            return False
        if connection.dismissed:
            return False
    return False


def _ready(socket: int, wanted: Wait, until: float, within_s: float) -> Ready:
    """Wait for the socket. Raises AnswerLateError."""
    poll = select.poll()
    poll.register(socket, _EVENTS[wanted])
    found = poll.poll(max(0.0, until - time.monotonic()) * 1000)
    if not found:
        raise AnswerLateError(_IN_VAIN.format(within_s))
    ready = found[0][1] & _EVENTS[wanted]
    return _READY[ready or _EVENTS[wanted]]  # psycopg finds an error of the socket when it uses it
