"""What a journal takes of the disk, and how fast it grows: for people who keep a home for years."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from antistrophe.journal.dialect import dialect_of
from antistrophe.journal.opening import open_store
from antistrophe.journal.place import JournalPlace, Where
from antistrophe.journal.saga_counts import FINAL
from antistrophe.storage.connection import SqlDatabase
from antistrophe.storage.database import Database
from antistrophe.storage.free_pages import can_shrink, free_pages
from antistrophe.storage.postgres_size import stored_bytes

_LAST_SAGAS = 1_000


@dataclass(frozen=True, slots=True)
class Growth:
    """Sizes in bytes, of the file, of what is free in it, and of its log. ``sagas_a_day`` is the rate of the last ones,
    ``bytes_a_saga`` the average over all; both None without sagas. ``oldest_finished``: when the saga finished that is
    the first a purge would take."""

    file_bytes: int
    free_bytes: int
    log_bytes: int
    can_shrink: bool
    sagas_a_day: float | None
    bytes_a_saga: float | None
    oldest_finished: datetime | None


def growth_of(where: Where) -> Growth:
    """Look at a journal's file. Raises JournalError."""
    with closing(open_store(where, read_only=True)) as database:
        return growth_in(database, JournalPlace.at(where))


def growth_in(database: SqlDatabase, place: JournalPlace, sagas: int | None = None) -> Growth:
    """The same of a journal that is open already, and is at that place. ``sagas``: how many there are, where that is
    known: to count them takes as long as there are many."""
    with database.one_moment():
        if isinstance(database, Database):
            page_bytes = int(database.row("PRAGMA page_size")[0])
            free, pages = free_pages(database)
            shrinks = can_shrink(database)
        else:  # the server's own vacuum decides what is free there
            page_bytes, free, pages, shrinks = 1, 0, stored_bytes(database), True
        if sagas is None:
            (sagas,) = database.row("SELECT count(*) FROM sagas")
        last = database.row(
            "SELECT count(*), min(its.at) FROM (SELECT CAST(journal.at AS BIGINT) AS at FROM sagas"
            " JOIN journal ON journal.position = sagas.accepted ORDER BY sagas.accepted DESC LIMIT ?) AS its",
            (_LAST_SAGAS,),
        )
        off = dialect_of(database.kind).off_index
        oldest = database.row(
            "SELECT CAST(journal.at AS BIGINT) FROM sagas JOIN journal ON journal.position = sagas.finished"
            f" WHERE sagas.finished IS NOT NULL AND {off}sagas.status IN {FINAL} ORDER BY sagas.finished LIMIT 1"
        )
    return Growth(
        file_bytes=pages * page_bytes,
        free_bytes=free * page_bytes,
        log_bytes=place.log_bytes(),
        can_shrink=shrinks,
        sagas_a_day=_rate(*last) if sagas else None,
        bytes_a_saga=(pages - free) * page_bytes / sagas if sagas else None,
        oldest_finished=None if oldest is None else _moment(oldest[0]),
    )


def _moment(at_us: int) -> datetime | None:
    """That moment; None where no calendar has it, because the file is damaged."""
    try:
        return datetime.fromtimestamp(at_us / 1e6, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _rate(number: int, since_us: int | None) -> float | None:
    """How many a day there are, of which the first was accepted then; at least a minute has passed."""
    return None if since_us is None else number * 86_400 / max(60.0, time.time() - since_us / 1e6)
