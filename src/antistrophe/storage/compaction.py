"""Writes a database file anew, so that nothing in it is free, and so that it can shrink page by page from then on."""

from __future__ import annotations

import shutil

from antistrophe.errors import JournalError
from antistrophe.storage.database import Database
from antistrophe.storage.free_pages import free_pages

_COPIES = 2
"""SQLite writes the new content into a file without a name, and then into the log, before it replaces the old one."""

_MARGIN_BYTES = 16 << 20


def room_needed(database: Database) -> int:
    """How many bytes have to be free on the disk of the file while it is written anew."""
    free, pages = free_pages(database)
    return _COPIES * (pages - free) * int(database.row("PRAGMA page_size")[0]) + _MARGIN_BYTES


def check_room(database: Database) -> None:
    """Raise JournalError where the disk of the file has too little room."""
    needed, free = room_needed(database), shutil.disk_usage(database.path.parent).free
    if free < needed:
        raise JournalError(
            f"to write {database.path} anew takes {needed / (1 << 20):,.0f} MiB of free disk while it works, and there"
            f" are {free / (1 << 20):,.0f} MiB: free some space first (the file was left as it is)"
        )


def compact(database: Database) -> None:
    """Write the file anew, in one transaction: whoever is killed leaves it as it was before. Call this within no other
    transaction. Raises JournalError where there is too little room, or somebody else uses the file."""
    check_room(database)
    _work_beside(database)
    # The new file begins with the table of pages that lets it shrink; only a file written anew can get that.
    database.execute("PRAGMA auto_vacuum = INCREMENTAL")
    database.execute("VACUUM")
    database.begin_log_anew()


def _work_beside(database: Database) -> None:
    """Have SQLite put its file without a name on the disk of the database, whose room was checked. The system's folder
    for temporary files may be small, or in memory. A SQLite that no longer knows this pragma ignores it."""
    folder = str(database.path.parent).replace("'", "''")
    database.row(f"PRAGMA temp_store_directory = '{folder}'")
