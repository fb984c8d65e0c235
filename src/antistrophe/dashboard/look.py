"""A journal that is open for one look at it."""

from __future__ import annotations

from dataclasses import dataclass

from antistrophe.journal import JournalPlace, StoredJournal
from antistrophe.storage.connection import SqlDatabase


@dataclass(frozen=True, slots=True)
class Look:
    """The journal, open for one look."""

    journal: StoredJournal
    database: SqlDatabase
    place: JournalPlace
