"""One open connection to a PostgreSQL database, which may be lost at any moment and made anew.

No call waits for ever, whatever happens to server and network. What a lost connection means is told by where it was
lost: outside a transaction a query is simply asked again; within one, nothing was committed; and where the answer to a
commit is lost, the rows themselves are asked (see ``prove``).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import psycopg
from psycopg.rows import tuple_row

from antistrophe.errors import CommitUnknownError, JournalError
from antistrophe.storage.connection import Kind, UnsharedTransaction, Written, is_encodable
from antistrophe.storage.own_transactions import OwnTransaction
from antistrophe.storage.portable_sql import for_postgres
from antistrophe.storage.postgres_address import PostgresAddress
from antistrophe.storage.postgres_commits import CONFIRM, Proof, confirm, what_became_of
from antistrophe.storage.postgres_failures import cause_of, refusal, said_by
from antistrophe.storage.postgres_session import PostgresSession
from antistrophe.storage.postgres_waiting import BoundedConnection

T = TypeVar("T")

_ON_THE_WAY_S = 1.0
"""So much sooner the server gives up a lock than this side gives up the server: then the answer says that nothing was
written, and is not unknown."""

_IDLE_S = 5.0
"""So long the system's own transactions may wait for their host between two statements. A host that is frozen holds no
lock for longer."""


class PostgresDatabase:
    """One connection. Any number of threads may share it, and they wait for each other. A fork may not use it.

    ``patience_s``: how long a call waits for locks of others; None: ``answer_s``, which is how long it waits for any
    answer. ``commits``: how many transactions it has committed, and ``commits_s`` how many seconds that took.

    Every method raises JournalError when the server fails or can't be reached. A violated constraint stays a
    ``psycopg.IntegrityError``. After any error within a transaction the transaction can only be rolled back.
    """

    kind: Kind = "postgresql"
    in_memory = False

    def __init__(self, address: PostgresAddress, *, read_only: bool, patience_s: float | None, answer_s: float) -> None:
        self.read_only = read_only
        self.commits = 0
        self.commits_s = 0.0
        self._address = address
        self.answer_s = answer_s
        self._patience_s = patience_s
        self._session = PostgresSession(address, patience_s=patience_s, answer_s=answer_s)
        self._lock = threading.RLock()
        self._transaction: AbstractContextManager[PostgresDatabase] = UnsharedTransaction(self)
        self._open = False
        self._lost: psycopg.Error | None = None
        self._own: OwnTransaction | None = None
        self._proof: Proof | None = None
        self._read_on = 0

    def __repr__(self) -> str:
        return f"<PostgresDatabase {self.where}>"

    @property
    def where(self) -> str:
        """How messages name the database: its host, port and name."""
        return self._address.where

    @property
    def server_version(self) -> int:
        """The major version of the server."""
        with self._lock:
            return self._usable().pgconn.server_version // 10_000

    @property
    def in_own_transaction(self) -> bool:
        """Whether the transaction that is open on this connection is one of this thread or task."""
        return self._own is not None and self._own.is_own

    def holds(self, text: object) -> bool:
        """Whether the database can store this value as a text: unlike SQLite, not where it has a zero character."""
        return is_encodable(text) and "\0" not in str(text)

    # --- statements -----------------------------------------------------------------------------------------------

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of one query, as tuples. Outside a transaction it is asked once more where the connection is
        lost: ask nothing there that changes something."""
        return self._asked(lambda connection: self._sent(connection, sql, parameters).fetchall())

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Return the first row of one query, or None."""
        rows = self.rows(sql, parameters)
        return rows[0] if rows else None

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Written:
        """Run one statement that returns no rows. Outside a ``transaction`` it is committed by itself; then
        CommitUnknownError says that its answer was lost."""
        return self._written(lambda connection: self._sent(connection, sql, parameters))

    def returning(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Run one statement that writes and returns rows, as ``execute`` runs one that returns none."""
        return self._written(lambda connection: self._sent(connection, sql, parameters).fetchall())

    def run(self, sql: str) -> None:
        """Run one statement, or several, as the text stands, without values."""
        self._written(lambda connection: connection.execute(sql.encode()))

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row. Call this within a ``transaction``."""
        text = for_postgres(sql)
        self._written(lambda connection: psycopg.RawCursor(connection).executemany(text, rows))

    def _sent(self, connection: BoundedConnection, sql: str, parameters: Sequence[Any]) -> psycopg.RawCursor[Any]:
        cursor = psycopg.RawCursor(connection, row_factory=tuple_row)
        return cursor.execute(for_postgres(sql), parameters, binary=True)

    def _asked(self, ask: Callable[[BoundedConnection], T]) -> T:
        with self._lock:
            for again in (not self._open, False):
                connection = self._usable()
                self._read_on = self._session.made
                try:
                    return ask(connection)
                except psycopg.Error as error:
                    if not (self._is_lost(error) and again):
                        raise self._translated(error) from cause_of(self._address, error)
        raise AssertionError  # the second round returns or raises

    def _written(self, write: Callable[[BoundedConnection], T]) -> T:
        with self._lock:
            if self.read_only:
                raise JournalError(f"{self.where} was opened for reading only")
            connection = self._usable()
            begun = time.perf_counter()
            try:
                result = write(connection)
            except psycopg.Error as error:
                if self._is_lost(error) and not self._open:
                    raise self._unknown(error) from cause_of(self._address, error)
                raise self._translated(error) from cause_of(self._address, error)
            if not self._open:
                self._committed(begun)
                self._replicated(connection)
            return result

    # --- transactions ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def one_moment(self) -> Iterator[None]:
        """Have all queries within see the database as it is at the first of them, whatever is committed meanwhile."""
        with self._lock:
            if self._open:
                yield
                return
            self._begin("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            try:
                yield
            finally:
                self._roll_back()

    def transaction(self) -> AbstractContextManager[PostgresDatabase]:
        """Open a transaction: ``with database.transaction():``. The end commits everything, an exception nothing."""
        return self._transaction

    def share(self, transaction: AbstractContextManager[Any] | None) -> None:
        """Let every later ``transaction`` take part in this one. None gives each its own transaction again."""
        self._transaction = transaction or UnsharedTransaction(self)

    def begin(self) -> None:
        """Open a transaction. Other threads wait until it ends. Raises RuntimeError if this thread has one open
        already."""
        self._lock.acquire()
        try:
            if self.read_only:
                raise JournalError(f"{self.where} was opened for reading only")
            if self._open:
                raise RuntimeError(f"this thread has a transaction open on {self.where} already")
            idle_s = 0.0 if self._patience_s is None else _IDLE_S
            self._begin(
                f"BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE; SET LOCAL lock_timeout = {self.lock_ms};"
                f" SET LOCAL idle_in_transaction_session_timeout = {round(idle_s * 1000)}"
            )
        except BaseException:
            self._lock.release()
            raise
        if self._patience_s is None:
            self._own = OwnTransaction(self.where)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open on this connection."""
        return self._open

    @property
    def is_shared(self) -> bool:
        """Whether transactions take part in one that is given by ``share``."""
        return not isinstance(self._transaction, UnsharedTransaction)

    @property
    def lock_ms(self) -> int:
        """How long a statement may wait for a lock, in milliseconds: the server gives up before this side does."""
        return max(1, round((self.answer_s - min(_ON_THE_WAY_S, self.answer_s / 2)) * 1000))

    def confirm(self) -> None:
        """Return once a standby has all that could be read here before, where commits wait for one.

        A read waits for nobody, and what it finds may be on this server alone. So whoever tells others of it, or acts
        on it, has a commit of his own first. In an open transaction its end is that commit. Raises CommitUnknownError
        where nobody can say.
        """
        with self._lock:
            read_on = self._read_on
            confirm(self.where, lambda: self.returning(CONFIRM), lambda: read_on in {0, self._session.made})

    def prove(self, xid: int, sql: str, parameters: Sequence[Any]) -> None:
        """The open transaction, of that number, is committed if and only if this query finds a row afterwards. With
        that its fate can be told where the answer to its commit is lost."""
        self._proof = Proof(xid, sql, tuple(parameters))

    def end(self, *, commit: bool) -> None:
        """End the transaction. If the server can't commit it, it is rolled back.

        Raises CommitUnknownError where the answer is lost and nobody can say what became of it.
        """
        proof, self._proof = self._proof, None
        try:
            if commit:
                self._commit(proof)
            else:
                self._roll_back()
        finally:
            self._open, self._lost = False, None
            if self._own is not None:
                self._own.ended()
                self._own = None
            self._lock.release()

    def _begin(self, sql: str) -> None:
        self._asked(lambda connection: connection.execute(sql.encode()))
        self._open = True

    def _commit(self, proof: Proof | None) -> None:
        begun = time.perf_counter()
        connection = self._usable()
        try:
            ended = connection.execute(b"COMMIT").statusmessage
        except psycopg.Error as error:
            if not self._is_lost(error):
                self._roll_back()
                raise self._translated(error) from cause_of(self._address, error)
            self._open, self._lost = False, None
            fate = None if proof is None else what_became_of(proof, self.row, self.answer_s)
            if fate is None:
                raise self._unknown(error) from cause_of(self._address, error)
            if not fate:
                raise self._within(error) from cause_of(self._address, error)
            self.confirm()
        else:
            if ended != "COMMIT":
                raise JournalError(
                    f"{self.where}: nothing was committed, because a statement of this transaction had failed"
                )
        self._committed(begun)
        self._replicated(connection)

    def _roll_back(self) -> None:
        self._open, self._lost = False, None
        self._session.roll_back()

    def _replicated(self, connection: BoundedConnection) -> None:
        """Raise CommitUnknownError where the last commit is here, and perhaps nowhere else."""
        if connection.unreplicated:
            connection.unreplicated = False
            raise CommitUnknownError(
                f"{self.where}: somebody has cancelled the wait for the standby. What was written is on this server,"
                " and is lost if another one takes over before it gets there"
            )

    def _committed(self, begun: float) -> None:
        self.commits += 1
        self.commits_s += time.perf_counter() - begun

    # --- the connection -------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the connection. A second call does nothing, and neither does a call in a fork."""
        if self._session.is_own:
            with self._lock:
                self._session.close()

    def look_first(self, look: Callable[[BoundedConnection], None]) -> None:
        """Call this with each new connection, before it is used. A JournalError that it raises is told instead."""
        self._session.look = look

    def usable(self) -> BoundedConnection:
        """The connection itself, for SQL of an application within the open transaction. What psycopg raises there goes
        to ``failure``."""
        return self._usable()

    def failure(self, error: psycopg.Error) -> JournalError:
        """What to raise for an error that the connection itself has raised."""
        with self._lock:
            self._is_lost(error)
            return self._within(self._lost) if self._lost is not None else refusal(self._address, error)

    def _usable(self) -> BoundedConnection:
        """The connection. Within a transaction it is the one that this began on, or none."""
        if self._open and self._lost is not None:
            raise self._within(self._lost)
        return self._session.current() if self._open else self._session.usable()

    def _is_lost(self, error: psycopg.Error) -> bool:
        """Whether the connection is lost. Then it is given up."""
        if not self._session.is_lost(error):
            return False
        if self._open:
            self._lost = error
        return True

    def _unknown(self, error: psycopg.Error) -> CommitUnknownError:
        return CommitUnknownError(
            f"{self.where}: the answer to a commit was lost, and nobody can say whether it was written: read it back"
            f" before you do it again (PostgreSQL: {said_by(self._address, error)})"
        )

    def _within(self, error: psycopg.Error | None) -> JournalError:
        said = "" if error is None else f" (PostgreSQL: {said_by(self._address, error)})"
        return JournalError(
            f"{self.where}: the connection was lost within a transaction, and nothing of it was committed; try again"
            f"{said}"
        )

    def _translated(self, error: psycopg.Error) -> Exception:
        if isinstance(error, psycopg.IntegrityError):
            return error
        if self._lost is not None:
            return self._within(self._lost)
        return refusal(self._address, error)
