"""Finds the transactions for which whoever reads a journal, or its events, by positions has waited for long."""

from __future__ import annotations

from contextlib import closing

from antistrophe.journal.opening import journal_in, open_store
from antistrophe.journal.place import JournalPlace
from antistrophe.storage.postgres_feed import OpenTransaction, open_transactions

_TABLES = ("journal", "events")


def blocking(place: JournalPlace, longer_than_s: float) -> list[OpenTransaction]:
    """Those that have been open for so long, or for nobody knows how long; none in a file. Raises JournalError."""
    if place.url is None:
        return []
    with closing(open_store(place, read_only=True)) as database:
        found = {each: None for table in _TABLES for each in open_transactions(database, table)}
        now = journal_in(database).clock()
    assert now is not None, "a server has a clock"
    return [each for each in found if each.since is None or now - each.since.timestamp() > longer_than_s]
