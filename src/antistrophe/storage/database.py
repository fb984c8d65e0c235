"""One open connection to a SQLite database, and what to tell people when it fails.

A failure of the file becomes a JournalError that names the file and says what to do.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from antistrophe.errors import CommitUnknownError, JournalBusyError, JournalError
from antistrophe.storage.commit_note import CommitNote
from antistrophe.storage.connection import Kind, UnsharedTransaction, is_encodable
from antistrophe.storage.own_transactions import FileId, OwnTransaction, file_at
from antistrophe.storage.write_lock import LockPatience, holder_in_words, is_busy

ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full and nothing was written; free some space and try again",
    sqlite3.SQLITE_BUSY: "another process has held its lock for too long",
    sqlite3.SQLITE_LOCKED: "another statement has held its lock for too long",
    sqlite3.SQLITE_READONLY: "it can't be written to; give its owner write permission for the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened; check that file and folder are there, readable and writable",
    sqlite3.SQLITE_PERM: "access is denied; check the permissions of the file and its folder",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database and was left as it is; move it away, or choose another path",
    sqlite3.SQLITE_CORRUPT: (
        "it is corrupt and was left as it is; restore it from a backup, or move it away with its -wal and -shm files"
        " and save what can be read with `sqlite3 FILE .recover`"
    ),
    sqlite3.SQLITE_IOERR: (
        "the disk or file system failed it (or is full); nothing of this transaction counts; look at the system's log"
    ),
}

SYNC_FAILED = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
_AFTER_THE_WRITE = SYNC_FAILED | frozenset(
    {
        sqlite3.SQLITE_IOERR_NOMEM,
        sqlite3.SQLITE_IOERR_SHMLOCK,
        sqlite3.SQLITE_IOERR_SHMMAP,
        sqlite3.SQLITE_IOERR_SHMOPEN,
        sqlite3.SQLITE_IOERR_SHMSIZE,
    }
)
"""Failures of a commit that may come when all of it stands in the log: that was not synced, or others can't be told of
it. It does not count while the file is open anywhere. Once everything that had it open was killed, whoever opens it
finds the commit in the log, unless another one was written over it meanwhile."""


def refusal(path: Path, error: sqlite3.Error) -> JournalError:
    """Make the JournalError for an error of SQLite. It names the file, what is wrong and what to do."""
    advice = ADVICE.get((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF, "please report this")
    if is_busy(error):
        holder = holder_in_words(path) or "who holds it can't be seen (fuser names who has the file open)"
        return JournalBusyError(f"{path}: {advice}: {holder}; have it end its transaction, or try again later")
    return JournalError(f"{path}: {advice} (SQLite: {error})")


def now_us() -> int:
    """The time now as it is stored, in microseconds since the epoch."""
    return time.time_ns() // 1000


class Database:
    """One open connection. Any number of threads may share it, and they wait for each other. A fork may not use it.

    ``in_memory``: the database has no file. It ends with this connection, and ``path`` only names it in messages.
    ``patience``: how long a call waits for the file's locks; None: as long as SQLite's own timeout says. ``commits``:
    how many transactions it has committed, and ``commits_s`` how many seconds that took.

    Every method raises JournalError when SQLite fails. A violated constraint stays a ``sqlite3.IntegrityError``.
    Nothing is written to a file that was removed, moved or replaced since it was opened: see ``watch_place``.
    """

    kind: Kind = "sqlite"

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        *,
        in_memory: bool = False,
        patience: LockPatience | None = None,
    ) -> None:
        self.path = path
        self.where = str(path)
        self.in_memory = in_memory
        self.commits = 0
        self.commits_s = 0.0
        self._connection = connection
        self._patience = patience
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._transaction: AbstractContextManager[Database] = UnsharedTransaction(self)
        self._places: dict[str, FileId] = {}
        self._own: OwnTransaction | None = None
        self._note: CommitNote | None = None
        self._reached: dict[str, int] = {}

    def holds(self, text: object) -> bool:
        """Whether the file can store this value as a text. What a caller asks for may be anything."""
        return is_encodable(text)

    def opened(self, note: CommitNote | None) -> None:
        """The file is as it has to be. From now on this connection waits as its patience says. With a ``note`` to keep
        it may make changes, and watches the file's place."""
        if self._patience is not None:
            self.row("PRAGMA busy_timeout = 0")
        if note is not None:
            self._note = note
            self.watch_place()

    def watch_place(self) -> None:
        """Remember which files are open, the database and its log. From now on a commit raises JournalError where
        another file, or none, has their names: what is written to a file without a name is lost when it is closed.
        Raises JournalError where that is so by now."""
        for path in (str(self.path), f"{self.path}-wal"):
            self._places[path] = file_at(path) or (0, 0)
        self._check_place()

    def reached(self, table: str, position: int) -> None:
        """The open transaction ends at that position of the table."""
        self._reached[table] = position

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement that returns no rows. Outside a ``transaction`` the statement is committed by itself."""
        commits = False
        try:
            with self._lock:
                connection = self.usable()
                commits = not connection.in_transaction
                if commits:
                    self._check_place()
                return connection.execute(sql, parameters)
        except sqlite3.Error as error:
            raise (self._uncommitted(error) if commits else self._translated(error)) from error

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row. Call this within a ``transaction``."""
        try:
            with self._lock:
                self.usable().executemany(sql, rows)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of one query, as tuples."""
        try:
            with self._lock:
                connection = self.usable()
                try:
                    return connection.execute(sql, parameters).fetchall()
                except sqlite3.OperationalError as error:
                    if self._patience is None or not is_busy(error):
                        raise
                    return self._patience.take(lambda: connection.execute(sql, parameters).fetchall(), self._refused)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Return the first row of one query, or None."""
        rows = self.rows(sql, parameters)
        return rows[0] if rows else None

    def give_back_pages(self, number: int) -> None:
        """Take so many free pages off the end of the file, in a transaction of its own. Call this within none."""
        try:
            with self._lock:
                connection = self.usable()
                self._check_place()
                # The statement frees one page for each step, and has no rows: ``execute`` would make one step.
                connection.executescript(f"PRAGMA incremental_vacuum({number:d})")
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def begin_log_anew(self) -> bool:
        """Move the write-ahead log into the file, and cut it off. False where somebody reads or writes: then nobody is
        waited for, because SQLite holds the write lock while it waits for readers."""
        try:
            with self._lock:
                connection = self.usable()
                (waits_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
                connection.execute("PRAGMA busy_timeout = 0").fetchall()
                try:
                    return bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
                finally:
                    connection.execute(f"PRAGMA busy_timeout = {waits_ms}").fetchall()
        except sqlite3.OperationalError as error:
            if is_busy(error):
                return False
            raise self._translated(error) from error

    @contextlib.contextmanager
    def one_moment(self) -> Iterator[None]:
        """Have all queries within see the file as it is at the first of them, whatever is committed meanwhile. Keep it
        short: the log can't be used anew until it ends."""
        with self._lock:
            connection = self.usable()
            if connection.in_transaction:
                yield
                return
            self.rows("BEGIN")
            try:
                yield
            finally:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")

    def confirm(self) -> None:
        """See ``SqlDatabase``. Who reads a file sees no commit before its writer has synced it."""

    def transaction(self) -> AbstractContextManager[Database]:
        """Open a transaction: ``with database.transaction():``. The end commits everything, an exception nothing.

        The transaction takes the file's one write lock when it begins.
        """
        return self._transaction

    def share(self, transaction: AbstractContextManager[Database] | None) -> None:
        """Let every later ``transaction`` take part in this one. None gives each its own transaction again."""
        self._transaction = transaction or UnsharedTransaction(self)

    def check(self) -> None:
        """Read the structure of the whole file. Raises JournalError if the file is damaged.

        This takes time in proportion to the file's size.
        """
        problems = [str(row[0]) for row in self.rows("PRAGMA quick_check(5)")]
        if problems != ["ok"]:
            error = sqlite3.DatabaseError("; ".join(problems))
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise refusal(self.path, error)

    def close(self) -> None:
        """Close the connection. A second call does nothing, and neither does a call in a fork."""
        if os.getpid() == self._pid:
            with self._lock:
                self._connection.close()
                if self._note is not None:
                    self._note.close()

    def usable(self) -> sqlite3.Connection:
        """Return the connection. Raises JournalError in a fork of the process that opened it."""
        if os.getpid() != self._pid:
            raise JournalError(
                f"{self.path} was opened by process {self._pid} and can't be used in its fork {os.getpid()}: open it"
                " again in the fork"
            )
        return self._connection

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open on this connection."""
        return self._connection.in_transaction

    @property
    def in_own_transaction(self) -> bool:
        """Whether the transaction that is open on this connection is one of this thread or task."""
        return self._own is not None and self._own.is_own

    def begin(self) -> None:
        """Open a transaction. Other threads wait until it ends.

        Raises RuntimeError if this thread has a transaction open already.
        """
        self._lock.acquire()
        try:
            connection = self.usable()
            if connection.in_transaction:
                raise RuntimeError(f"this thread has a transaction open on {self.path} already")
            if self._patience is None:
                connection.execute("BEGIN IMMEDIATE")
            else:
                self._patience.take(lambda: connection.execute("BEGIN IMMEDIATE"), self._refused)
        except BaseException as error:
            self._lock.release()
            if isinstance(error, sqlite3.Error):
                raise self._translated(error) from error
            raise
        file = self._places.get(str(self.path)) if self._patience is None else None
        self._own = None if file is None else OwnTransaction(file)

    def end(self, *, commit: bool) -> None:
        """End the transaction. If SQLite can't commit it, it is rolled back, and the connection stays usable. Raises
        CommitUnknownError where it does not count now, and may be found to be written after a crash."""
        try:
            if commit:
                self._check_place()
                begun = time.perf_counter()
                self._connection.execute("COMMIT")
                self.commits += 1
                self.commits_s += time.perf_counter() - begun
                if self._note is not None and self._reached:
                    self._note.write(self._reached)
        except sqlite3.Error as error:
            raise self._uncommitted(error) from error
        finally:
            self._reached.clear()
            if self._own is not None:
                self._own.ended()
            # After some failures SQLite has rolled back already.
            if self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            self._lock.release()

    def _check_place(self) -> None:
        """Raise JournalError where an open file has lost its name."""
        for path, place in self._places.items():
            if file_at(path) != place:
                raise JournalError(
                    f"{path} was removed, moved or replaced while it was open, and nothing was written: put it back"
                    " (the same file, not a copy), or close everything that uses it and open it again where it is now"
                )

    def _uncommitted(self, error: sqlite3.Error) -> Exception:
        """What to raise for a failure of a commit."""
        if getattr(error, "sqlite_errorcode", None) not in _AFTER_THE_WRITE:
            return self._translated(error)
        return CommitUnknownError(
            f"{self.path}: the disk failed a commit, and nobody can say whether it was written: after a crash it may be"
            " found there, unless something else is written before; look at the system's log, and read it back before"
            f" you do it again (SQLite: {error})"
        )

    def _refused(self, error: sqlite3.Error) -> JournalError:
        return refusal(self.path, error)

    def _translated(self, error: sqlite3.Error) -> Exception:
        if isinstance(error, sqlite3.IntegrityError):
            return error
        if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
            return JournalError(f"{self.path}: this connection is closed; open the file again")
        return refusal(self.path, error)
