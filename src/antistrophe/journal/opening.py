"""Opens a journal, wherever it is. Nobody outside of this wing names a variant.

What PostgreSQL needs is imported where a place is in PostgreSQL, and nowhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from antistrophe.journal.place import JournalPlace, Where
from antistrophe.journal.saga_owner import SagaOwner
from antistrophe.journal.sqlite import SqliteJournal
from antistrophe.journal.stored_journal import StoredJournal
from antistrophe.storage.connection import SqlDatabase
from antistrophe.storage.database import Database
from antistrophe.storage.opening import open_database
from antistrophe.storage.write_lock import LockPatience

if TYPE_CHECKING:
    from antistrophe.journal.postgres_last_append import LastAppend


def open_journal(
    where: Where,
    *,
    synchronous: str = "FULL",
    read_only: bool = False,
    patience_s: float | None = None,
    owner: SagaOwner | None = None,
) -> StoredJournal:
    """Open the journal at that place.

    ``synchronous``: of a file, FULL (a commit survives a power loss) or NORMAL (it survives every crash of a process);
    a database has a setting of its own. ``read_only`` never writes, and needs a journal that exists and is up to date.
    ``patience_s``: how long a call waits at most for locks, and for the server; None: as long as applications do.
    ``owner``: the host that writes, where several may share the journal. Raises JournalError.
    """
    store = open_store(where, synchronous=synchronous, read_only=read_only, patience_s=patience_s)
    return journal_in(store, owner=owner)


def open_store(
    where: Where, *, synchronous: str = "FULL", read_only: bool = False, patience_s: float | None = None
) -> SqlDatabase:
    """Open the database that a journal is in. The arguments and errors are those of ``open_journal``."""
    place = JournalPlace.at(where)
    if place.url is not None:
        from antistrophe.storage.postgres import open_postgres  # needs psycopg, which is an extra

        return open_postgres(place.url, read_only=read_only, patience_s=patience_s)
    patience = None if patience_s is None else LockPatience(patience_s)
    return open_database(place.existing_file(), synchronous=synchronous, read_only=read_only, patience=patience)


def open_file(file: Path) -> Database:
    """Open a journal's file, for what is done to files alone. Raises JournalError."""
    return open_database(file)


def journal_in(database: SqlDatabase, *, owner: SagaOwner | None = None) -> StoredJournal:
    """The journal in a database that is open. To close it closes the database."""
    if isinstance(database, Database):
        return SqliteJournal(database)
    from antistrophe.journal.postgres import PostgresJournal
    from antistrophe.storage.postgres_database import PostgresDatabase

    assert isinstance(database, PostgresDatabase), "there are two kinds of databases"
    return PostgresJournal(database, owner=owner)


def last_append_in(journal: StoredJournal) -> LastAppend:
    """The last append that a journal in PostgreSQL has confirmed."""
    from antistrophe.journal.postgres import PostgresJournal

    assert isinstance(journal, PostgresJournal), "a file is never replaced by an earlier one while it is open"
    return journal.last_append


def leave_tidy(where: Where, *, synchronous: str) -> None:
    """Leave the journal as it is easiest to copy, where nobody uses it any more: one file, without a log. Raises
    JournalError."""
    if JournalPlace.at(where).file is not None:
        open_store(where, synchronous=synchronous).close()  # the last close moves the write-ahead log into the file
