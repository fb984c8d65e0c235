"""Opens a journal, wherever it is. Nobody outside of this wing names a variant."""

from __future__ import annotations

from antistrophe.errors import JournalError
from antistrophe.journal.place import JournalPlace, Where
from antistrophe.journal.sqlite import SqliteJournal
from antistrophe.journal.stored_journal import StoredJournal
from antistrophe.storage.database import Database
from antistrophe.storage.opening import open_database
from antistrophe.storage.write_lock import LockPatience


def open_journal(
    where: Where, *, synchronous: str = "FULL", read_only: bool = False, patience_s: float | None = None
) -> StoredJournal:
    """Open the journal at that place.

    ``synchronous``: FULL (a commit survives a power loss) or NORMAL (it survives every crash of a process).
    ``read_only`` never writes, and needs a journal that exists and is up to date. ``patience_s``: how long a call waits
    at most while another process holds a lock there; None: as long as applications do. Raises JournalError.
    """
    return journal_in(open_store(where, synchronous=synchronous, read_only=read_only, patience_s=patience_s))


def open_store(
    where: Where, *, synchronous: str = "FULL", read_only: bool = False, patience_s: float | None = None
) -> Database:
    """Open the database that a journal is in. The arguments and errors are those of ``open_journal``."""
    patience = None if patience_s is None else LockPatience(patience_s)
    place = JournalPlace.at(where)
    if place.url is not None:
        raise JournalError(f"{place}: this release can't keep a journal in PostgreSQL yet; go on without naming one")
    return open_database(place.existing_file(), synchronous=synchronous, read_only=read_only, patience=patience)


def journal_in(database: Database) -> StoredJournal:
    """The journal in a database that is open. To close it closes the database."""
    return SqliteJournal(database)


def leave_tidy(where: Where, *, synchronous: str) -> None:
    """Leave the journal as it is easiest to copy, where nobody uses it any more: one file, without a log. Raises
    JournalError."""
    if JournalPlace.at(where).file is None:
        return
    open_store(where, synchronous=synchronous).close()  # the last close moves the write-ahead log into the file
