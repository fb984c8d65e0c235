"""Open the one SQLite file of a home (or of an event store) safely, and run statements on it.

Every failure of the file comes out as a JournalError that names the file and what to do. A file that can't be used is
left as it is: never written over, renamed or deleted.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from antistrophe.errors import JournalError
from antistrophe.storage.schema import APPLICATION_ID, MIGRATIONS, Migration, migrate

BUSY_TIMEOUT_S = 60.0
"""How long a statement waits for other processes. SQLite's queue for its lock is not fair, so this is long."""

_RETRY_S = 0.005
_PAGE_BYTES = 2048
"""Half of SQLite's default: a commit writes and syncs whole pages, and changes little in each of several. The log then
is checkpointed at 2 MB and used again from its start; where it need not grow, a sync takes little more than half."""

_SMALLEST_FILE_BYTES = 512
_WAL_BYTES_KEPT = 64 << 20
_WHAT_TO_DO = {
    sqlite3.SQLITE_FULL: "the disk is full and nothing was written; free some space and try again",
    sqlite3.SQLITE_BUSY: "another process has held its lock for too long; see what it does (fuser names it), try again",
    sqlite3.SQLITE_LOCKED: "another statement holds its lock; try again",
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


def refusal(path: Path, error: sqlite3.Error) -> JournalError:
    """What to raise for an error of SQLite's: names the file, what is wrong and what to do."""
    advice = _WHAT_TO_DO.get((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF, "please report this")
    return JournalError(f"{path}: {advice} (SQLite: {error})")


class Database:
    """One open connection. Any thread may use it, one at a time (they wait for each other); a fork may not.

    Every method raises JournalError, except that a violated constraint stays a ``sqlite3.IntegrityError``.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._transaction: AbstractContextManager[Database] = _Transaction(self)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement that returns no rows; outside a ``transaction`` it is one of its own."""
        try:
            with self._lock:
                return self.usable().execute(sql, parameters)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each of the rows. Call it within a ``transaction``."""
        try:
            with self._lock:
                self.usable().executemany(sql, rows)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of one query, as tuples."""
        try:
            with self._lock:
                return self.usable().execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first row of one query, or None."""
        rows = self.rows(sql, parameters)
        return rows[0] if rows else None

    def transaction(self) -> AbstractContextManager[Database]:
        """``with`` it all is committed at the end, or nothing. Takes the file's one write lock at the beginning."""
        return self._transaction

    def share(self, transaction: AbstractContextManager[Database] | None) -> None:
        """Have what asks for a ``transaction`` from now on take part in this one; None: in one of its own again."""
        self._transaction = transaction or _Transaction(self)

    def check(self) -> None:
        """Read the structure of the whole file; raises JournalError where it is damaged. Takes time in proportion to
        the file's size."""
        problems = [str(row[0]) for row in self.rows("PRAGMA quick_check(5)")]
        if problems != ["ok"]:
            error = sqlite3.DatabaseError("; ".join(problems))
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise refusal(self.path, error)

    def close(self) -> None:
        """Close the connection; a second time, or in a fork, does nothing."""
        if os.getpid() == self._pid:
            with self._lock:
                self._connection.close()

    def usable(self) -> sqlite3.Connection:
        """The connection, where this process may use it."""
        if os.getpid() != self._pid:
            raise JournalError(
                f"{self.path} was opened by process {self._pid} and can't be used in its fork {os.getpid()}: open it"
                " again there"
            )
        return self._connection

    def begin(self) -> None:
        """Open a transaction, and keep other threads out until it ends."""
        self._lock.acquire()
        try:
            connection = self.usable()
            if connection.in_transaction:
                raise RuntimeError(f"this thread has a transaction open on {self.path} already")
            connection.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            self._lock.release()
            if isinstance(error, sqlite3.Error):
                raise self._translated(error) from error
            raise

    def end(self, *, commit: bool) -> None:
        """End the transaction. Where it can't be committed it is rolled back, and the connection stays usable."""
        try:
            if commit:
                self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._translated(error) from error
        finally:
            # SQLite has rolled back by itself after some failures.
            if self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            self._lock.release()

    def _translated(self, error: sqlite3.Error) -> Exception:
        if isinstance(error, sqlite3.IntegrityError):
            return error
        if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
            return JournalError(f"{self.path}: this connection is closed; open the file again")
        return refusal(self.path, error)


class _Transaction:
    """The context manager of ``Database.transaction``; it has no state of its own, so one serves for all."""

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> Database:
        self._database.begin()
        return self._database

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.end(commit=kind is None)


# --- opening ------------------------------------------------------------------------------------------------------


def open_database(
    path: str | os.PathLike[str],
    *,
    synchronous: str = "FULL",
    read_only: bool = False,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    migrations: Sequence[Migration] = MIGRATIONS,
) -> Database:
    """Open the file, and where it is new or older bring it to the newest schema; several processes may do so at once.

    ``synchronous``: FULL (a commit survives a power loss) or NORMAL (it survives every crash of a process, but the
    last ones may be lost in a power loss). ``read_only`` never writes, and takes only a file that is there and current.
    Raises JournalError on a file that is corrupt, not a database, another program's, newer than this program, another
    owner's, or that can't be written to.
    """
    if synchronous not in {"FULL", "NORMAL"}:
        raise ValueError(f"synchronous must be FULL or NORMAL, not {synchronous!r}")
    file = Path(path).absolute()
    try:
        _check_place(file, read_only=read_only)
        if not read_only:
            _create(file)
    except OSError as error:
        raise JournalError(f"{file}: can't be used: {error.strerror}; choose a path that can") from error
    mode = "ro" if read_only else "rw"  # not "rwc", with which SQLite would choose the permissions
    database: Database | None = None
    try:
        connection = sqlite3.connect(
            f"{file.as_uri()}?mode={mode}",
            uri=True,
            timeout=busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        database = Database(file, connection)
        _prepare(database, synchronous, None if read_only else busy_timeout_s, migrations)
    except BaseException as error:
        if database is not None:
            database.close()
        if isinstance(error, sqlite3.Error):
            raise refusal(file, error) from error
        raise
    return database


def refuse_foreign(path: Path) -> None:
    """Raise JournalError where ``path`` (a file, or a home) is there and belongs to another user."""
    try:
        owner = path.stat().st_uid
    except FileNotFoundError:
        return
    except OSError as error:
        raise JournalError(f"{path}: can't be used: {error.strerror}; choose a path that can") from error
    if owner != os.geteuid():
        raise JournalError(
            f"{path} belongs to user {owner}, not to user {os.geteuid()} who runs this: run it as user {owner}, or"
            " choose another path"
        )


def _check_place(file: Path, *, read_only: bool) -> None:
    """What SQLite would tell less clearly, or not at all."""
    folder = file.parent
    if not folder.is_dir():
        raise JournalError(f"{file}: there is no folder {folder}; make it first")
    refuse_foreign(file)
    if file.exists():
        if not stat.S_ISREG(file.stat().st_mode):
            raise JournalError(f"{file} is not a regular file; choose another path")
        if 0 < file.stat().st_size < _SMALLEST_FILE_BYTES:  # SQLite would write over some of those
            raise JournalError(f"{file}: {_WHAT_TO_DO[sqlite3.SQLITE_NOTADB]}")
        wanted = os.R_OK if read_only else os.R_OK | os.W_OK
        if not os.access(file, wanted, effective_ids=True):
            raise JournalError(f"{file} is not {'readable' if read_only else 'writable'}; see its permissions")
    elif read_only:
        raise JournalError(f"{file}: there is no such file; nothing was stored there yet, or the path is wrong")
    if not read_only and not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise JournalError(f"{file}: its folder {folder} is not writable; see its permissions")


def _create(file: Path) -> None:
    """Make an empty file that only its owner can read, where there is none.

    It is not opened for that: when a process closes any descriptor of a file, POSIX drops all of its locks on it,
    those of a connection in another thread too.
    """
    with contextlib.suppress(FileExistsError):
        os.mknod(file, 0o600 | stat.S_IFREG)


def _prepare(
    database: Database, synchronous: str, write_timeout_s: float | None, migrations: Sequence[Migration]
) -> None:
    version = _version_of(database, len(migrations))
    if write_timeout_s is None:
        if version < len(migrations):
            raise JournalError(
                f"{database.path} is of schema version {version}, this program's is {len(migrations)}: open it once"
                " for writing, which brings it up to date"
            )
        return
    database.execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # of a new file; nothing happens to another
    _use_wal(database, write_timeout_s)
    database.execute(f"PRAGMA synchronous = {synchronous}")
    database.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}")
    if version < len(migrations):
        _bring_up_to_date(database, migrations)


def _version_of(database: Database, newest: int) -> int:
    """The schema version of the file, which is ours and not too new."""
    # One statement, so that it sees one state of the file.
    application, version, tables = database.row(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),"
        " (SELECT count(*) FROM sqlite_master)"
    )
    if application != APPLICATION_ID and (application, version, tables) != (0, 0, 0):
        raise JournalError(
            f"{database.path} is a SQLite database of another program and was left as it is: choose another path"
        )
    if version > newest:
        raise JournalError(
            f"{database.path} is of schema version {version}, written by a newer release; this program knows versions"
            f" up to {newest}: upgrade it (the file was left as it is)"
        )
    return int(version)


def _use_wal(database: Database, timeout_s: float) -> None:
    """Switch to write-ahead logging; the mode stays with the file."""
    deadline = time.monotonic() + timeout_s
    mode = None
    while mode is None:
        try:
            mode = database.row("PRAGMA journal_mode = WAL")[0]
        except JournalError as error:
            # When several processes switch at once, SQLite tells all but one at once that the file is busy.
            if not _is_busy(error.__cause__) or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
    if mode != "wal":
        raise JournalError(
            f"{database.path}: its file system has no shared memory, which write-ahead logging needs (SQLite stays in"
            f" mode {mode!r}): choose a path on a local disk"
        )


def _is_busy(error: BaseException | None) -> bool:
    code = error.sqlite_errorcode if isinstance(error, sqlite3.OperationalError) else 0
    return code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _bring_up_to_date(database: Database, migrations: Sequence[Migration]) -> None:
    with database.transaction():
        version = _version_of(database, len(migrations))  # another process may have done it meanwhile
        try:
            migrate(database, version, migrations)
        except sqlite3.IntegrityError as error:
            raise JournalError(
                f"{database.path} can't be brought from schema version {version} to {len(migrations)}: {error}; it was"
                " left as it is; please report this"
            ) from error
