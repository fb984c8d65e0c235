"""The first look at a home's journal, before a system uses it: whether it is sound, and what time it is there."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from antistrophe.errors import JournalError
from antistrophe.hosts.home_mark import read_home_mark
from antistrophe.hosts.stored_restores import PutBackError, StoredRestores
from antistrophe.journal import JournalPlace, journal_in, note, open_store, refuse_elsewhere
from antistrophe.settings import Settings
from antistrophe.storage.connection import SqlDatabase
from antistrophe.storage.postgres_rights import check_rights

log = logging.getLogger("antistrophe.launcher")

CHECKED_JOURNAL_BYTES = 16 << 20
"""Up to this size the whole journal is checked before it is used. A larger one is checked as it is read."""


def check_journal(place: JournalPlace, settings: Settings) -> float:
    """Check the journal. Returns what time it is for a system that uses it, in seconds since the epoch: hosts that
    share one go by its server's clock, whatever their own ones say. Raises JournalError, also where this user may not
    write to the database, or it is of an earlier state than the home has seen it."""
    refuse_elsewhere(place)
    store = open_store(place, synchronous=settings.synchronous)
    journal = journal_in(store)
    try:
        if place.url is not None and place.home is not None:
            check_rights(store)
            _refuse_earlier_state(store, place.home)
        note(place)
        if (size := place.size_bytes()) is not None and size <= CHECKED_JOURNAL_BYTES:
            journal.check()
        clock = journal.clock()
        return time_to_go_on_from(journal.last_at()) if clock is None else clock
    finally:
        journal.close()


def _refuse_earlier_state(store: SqlDatabase, home: Path) -> None:
    try:
        StoredRestores(store).known(read_home_mark(home))
    except PutBackError as error:
        raise JournalError(str(error)) from error  # by this name the application knows it


def time_to_go_on_from(last_at: float) -> float:
    """The time of day, but not earlier than the journal's last entry: after a clock was set back, every retry and
    deadline would wait until the clock has caught up."""
    now = time.time()
    if now < last_at:
        log.warning(
            "this machine's clock is %.0f s behind the journal: the system goes on from the journal's time",
            last_at - now,
        )
    return max(now, last_at)
