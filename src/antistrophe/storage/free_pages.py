"""Gives the room of deleted rows back to the file system, in small steps beside the work."""

from __future__ import annotations

import contextlib
import os

from antistrophe.errors import JournalError
from antistrophe.storage.database import Database

PAGES_AT_ONCE = 64
LOG_BYTES = 16 << 20
"""A log that is larger makes whoever deletes rows wait: somebody reads for so long that it can't be used anew."""


def can_shrink(database: Database) -> bool:
    """Whether the file can be made smaller page by page: it was made so, or `antistrophe compact` has done it."""
    return bool(database.row("PRAGMA auto_vacuum")[0] == 2)


def free_pages(database: Database) -> tuple[int, int]:
    """How many pages of the file are free, and how many it has."""
    return database.row("PRAGMA freelist_count")[0], database.row("PRAGMA page_count")[0]


def give_back(database: Database, *, keep: float = 0.0) -> bool:
    """Give some free pages back. True where more are left to give. ``keep``: the part of the file that may stay free
    for what comes next."""
    free, pages = free_pages(database)
    if free <= keep * pages or not can_shrink(database):
        return False
    database.give_back_pages(PAGES_AT_ONCE)
    return free_pages(database)[0] > keep * pages


def empty_log(database: Database) -> bool:
    """Move the write-ahead log into the file, without waiting for anybody, and let the log begin anew where nobody
    reads it. False where somebody reads, and the log is large."""
    log = f"{database.path}-wal"
    with contextlib.suppress(JournalError):
        database.row("PRAGMA wal_checkpoint(PASSIVE)")
    try:
        return os.stat(log).st_size <= LOG_BYTES or database.begin_log_anew()
    except FileNotFoundError:
        return True
    except (OSError, JournalError):
        return False
