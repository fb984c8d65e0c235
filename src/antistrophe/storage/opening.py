"""Open a SQLite database: a file, or one in memory.

Opening a file checks its place, creates it private to its owner, and brings its schema up to date. A file that can't be
used is left as it is: nothing here overwrites, renames or deletes it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
import weakref
from collections.abc import Sequence
from pathlib import Path

from antistrophe.errors import JournalError
from antistrophe.linux.private_files import refuse_foreign
from antistrophe.storage.commit_note import CommitNote, forget_note, note_path, what_is_missing
from antistrophe.storage.database import ADVICE, SYNC_FAILED, Database, refusal
from antistrophe.storage.moved_file import refuse_moved
from antistrophe.storage.schema import APPLICATION_ID, MIGRATIONS, SchemaMigration, migrate
from antistrophe.storage.write_lock import LockPatience, is_busy, is_open

BUSY_TIMEOUT_S = 60.0
"""How long a statement waits for other processes. The limit is long because SQLite's lock is not fair."""

_RETRY_S = 0.005
_PAGE_BYTES = 2048
"""Half of SQLite's default. A commit writes and syncs whole pages, and changes only a little of each. With this size
the log is checkpointed at 2 MB and then used again from its start, so it seldom grows. A sync of a log that does not
grow takes little more than half the time."""

_SMALLEST_FILE_BYTES = 512
_WAL_BYTES_KEPT = 64 << 20


def open_database(
    path: str | os.PathLike[str],
    *,
    synchronous: str = "FULL",
    read_only: bool = False,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
    patience: LockPatience | None = None,
    migrations: Sequence[SchemaMigration] = MIGRATIONS,
) -> Database:
    """Open the file. A new or older file is brought to the newest schema. Several processes may do so at once.

    ``synchronous``: FULL (a commit survives a power loss) or NORMAL (a commit survives every crash of a process, but a
    power loss may undo the last ones). ``read_only`` never writes, and needs a file that exists and is up to date;
    the folder may be on a file system that can't be written to.
    ``busy_timeout_s``: how long a statement waits for others; ``patience``: how long once the file is open, if given.
    Raises JournalError if the file is corrupt, is no database, belongs to another program or to another user, is newer
    than this program, or can't be written to.
    """
    if synchronous not in {"FULL", "NORMAL"}:
        raise ValueError(f"synchronous must be FULL or NORMAL, not {synchronous!r}")
    file = Path(path).absolute()
    try:
        _check_place(file, read_only=read_only)
        log_is_left = not read_only and _made_ready(file, busy_timeout_s)
    except OSError as error:
        raise JournalError(f"{file}: can't be used: {error.strerror}; choose a path that can") from error
    database: Database | None = None
    try:
        connection = sqlite3.connect(
            f"{file.as_uri()}?{_mode(file, read_only=read_only)}",
            uri=True,
            timeout=busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
        )
        database = Database(file, connection, patience=patience)
        _prepare(database, synchronous, None if read_only else busy_timeout_s, migrations)
        if log_is_left:
            _take_over_log(database)
        database.opened(None if read_only else CommitNote(file, durable=synchronous == "FULL"))
    except BaseException as error:
        if database is not None:
            database.close()
        if isinstance(error, sqlite3.Error):
            raise refusal(file, error) from error
        raise
    return database


def open_in_memory() -> Database:
    """Open a new, empty database in memory, with the newest schema. It ends when it is closed or collected."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    database = Database(Path(":memory:"), connection, in_memory=True)
    with database.transaction():
        migrate(database, 0)
    # Nobody has to close a database without a file, but Python warns about a connection that was never closed.
    weakref.finalize(database, _close_in, os.getpid(), connection)
    return database


def _close_in(pid: int, connection: sqlite3.Connection) -> None:
    if os.getpid() == pid:  # in a fork another thread may have held the connection's mutex
        connection.close()


def _check_place(file: Path, *, read_only: bool) -> None:
    """Refuse what SQLite would report less clearly, or not at all."""
    folder = file.parent
    if not folder.is_dir():
        raise JournalError(f"{file}: there is no folder {folder}; make it first")
    refuse_foreign(file)
    if file.exists():
        if not stat.S_ISREG(file.stat().st_mode):
            raise JournalError(f"{file} is not a regular file; choose another path")
        if 0 < file.stat().st_size < _SMALLEST_FILE_BYTES:  # SQLite would overwrite some of them
            raise JournalError(f"{file}: {ADVICE[sqlite3.SQLITE_NOTADB]}")
        wanted = os.R_OK if read_only else os.R_OK | os.W_OK
        if not os.access(file, wanted, effective_ids=True):
            raise JournalError(f"{file} is not {'readable' if read_only else 'writable'}; see its permissions")
    else:
        refuse_moved(file)
        if read_only:
            raise JournalError(f"{file}: there is no such file; nothing was stored there yet, or the path is wrong")
    if not read_only and not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise JournalError(f"{file}: its folder {folder} is not writable; see its permissions")


def _mode(file: Path, *, read_only: bool) -> str:
    if not read_only:
        return "mode=rw"  # not "rwc", with which SQLite would choose the permissions
    return "mode=ro&immutable=1" if _stays_as_it_is(file) else "mode=ro"


def _stays_as_it_is(file: Path) -> bool:
    """Whether the file is all that there is to read, in a folder in which nothing can be made: a snapshot, for example.
    Then SQLite has to be told, as it reads a file beside which it can't make its files only so. A log is never passed
    over."""
    if os.access(file.parent, os.W_OK, effective_ids=True):
        return False
    with contextlib.suppress(FileNotFoundError):
        return Path(f"{file}-wal").stat().st_size == 0
    return True


def _made_ready(file: Path, timeout_s: float) -> bool:
    """Make the file where there is none, and refuse one that lacks a part. Returns whether a log was left there."""
    _create(file)
    log_is_left = _leaves_log(file)  # asked before the next look opens the file
    _refuse_part(file, timeout_s)
    return log_is_left


def _create(file: Path) -> None:
    """Create an empty file that only its owner can read, unless the file exists.

    The file is created without opening it. When a process closes any descriptor of a file, POSIX drops all locks of
    the process on that file, and a connection in another thread may hold some.
    """
    with contextlib.suppress(FileExistsError):
        os.mknod(file, 0o600 | stat.S_IFREG)
        forget_note(file)
        file.chmod(0o600)  # the umask may have taken some of it


def _leaves_log(file: Path) -> bool:
    """Whether there is a log, and nobody has the file open any more."""
    with contextlib.suppress(FileNotFoundError):
        return os.stat(f"{file}-wal").st_size > 0 and not is_open(file)
    return False


def _take_over_log(database: Database) -> None:
    """Begin the log anew that was left by somebody who was killed.

    There may be commits in it that were never synced, and they count from now on. A later sync does not make up for
    that: the kernel takes for written what it has once failed to write. So all of it is written anew, into the file.
    Raises JournalError where the disk fails to sync that. Where something else is in the way, as a full disk is, one
    goes on with the log.
    """
    try:
        database.begin_log_anew()
    except JournalError as error:
        if getattr(error.__cause__, "sqlite_errorcode", None) in SYNC_FAILED:
            raise


def _refuse_part(file: Path, timeout_s: float) -> None:
    """Raise JournalError where the file has lost its last commits with its log. Whoever opens it for writing and closes
    it moves what is left of the log into the file. So this looks first, and changes nothing."""
    if not note_path(file).exists():
        return
    missing: JournalError | None = None
    with contextlib.suppress(sqlite3.Error, JournalError):  # the opening itself says what is wrong with the file
        connection = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=timeout_s)
        database = Database(file, connection)
        try:
            missing = what_is_missing(file, lambda table: _head_of(database, table))
        finally:
            database.close()
    if missing is not None:
        raise missing


def _prepare(
    database: Database, synchronous: str, write_timeout_s: float | None, migrations: Sequence[SchemaMigration]
) -> None:
    version = _version_of(database, len(migrations))
    if write_timeout_s is None:
        if (missing := what_is_missing(database.path, lambda table: _head_of(database, table))) is not None:
            raise missing
        if version < len(migrations):
            raise JournalError(
                f"{database.path} is of schema version {version}, this program's is {len(migrations)}: open it once"
                " for writing, which brings it up to date"
            )
        return
    database.execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # changes nothing in a file that has tables
    if version == 0:  # a file that has tables changes this only where it is written anew
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
    _use_wal(database, write_timeout_s)
    database.execute(f"PRAGMA synchronous = {synchronous}")
    database.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}")
    if database.row("PRAGMA secure_delete")[0] == 0:  # SQLite as many systems build it overwrites what is deleted
        database.execute("PRAGMA secure_delete = FAST")
    if version < len(migrations):
        _bring_up_to_date(database, migrations)


def _head_of(database: Database, table: str) -> int:
    """The last position in that table; 0 where the file has no such table yet."""
    if database.row("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)) is None:
        return 0
    return int(database.row(f"SELECT max(position) FROM {table}")[0] or 0)


def _version_of(database: Database, newest: int) -> int:
    """Read the schema version. Raises JournalError if another program, or a newer release, made the file."""
    # One statement sees one state of the file.
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
    """Switch the file to write-ahead logging. The mode stays with the file."""
    deadline = time.monotonic() + timeout_s
    mode = None
    while mode is None:
        try:
            mode = database.row("PRAGMA journal_mode = WAL")[0]
        except JournalError as error:
            # When several processes switch at once, SQLite reports "busy" to all but one of them without waiting.
            if not is_busy(error.__cause__) or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
    if mode != "wal":
        raise JournalError(
            f"{database.path}: its file system has no shared memory, which write-ahead logging needs (SQLite stays in"
            f" mode {mode!r}): choose a path on a local disk"
        )
    database.row("SELECT count(*) FROM sqlite_master")  # makes the log of a file that had another mode until now


def _bring_up_to_date(database: Database, migrations: Sequence[SchemaMigration]) -> None:
    with database.transaction():
        version = _version_of(database, len(migrations))  # another process may have done this meanwhile
        try:
            migrate(database, version, migrations)
        except sqlite3.IntegrityError as error:
            raise JournalError(
                f"{database.path} can't be brought from schema version {version} to {len(migrations)}: {error}; the"
                " file was left as it is; please report this"
            ) from error
