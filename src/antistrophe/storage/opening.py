"""Open a SQLite file safely: check its place, create it private, bring its schema up to date; or open one in memory.

A file that can't be used is left as it is: nothing here writes over it, renames it or deletes it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from antistrophe.errors import JournalError
from antistrophe.storage.database import ADVICE, Database, refusal
from antistrophe.storage.schema import APPLICATION_ID, MIGRATIONS, Migration, migrate

BUSY_TIMEOUT_S = 60.0
"""How long a statement waits for other processes. SQLite's queue for its lock is not fair, so this is long."""

_RETRY_S = 0.005
_PAGE_BYTES = 2048
"""Half of SQLite's default: a commit writes and syncs whole pages, and changes little in each of several. The log then
is checkpointed at 2 MB and used again from its start; where it need not grow, a sync takes little more than half."""

_SMALLEST_FILE_BYTES = 512
_WAL_BYTES_KEPT = 64 << 20


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
            raise JournalError(f"{file}: {ADVICE[sqlite3.SQLITE_NOTADB]}")
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
