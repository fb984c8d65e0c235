"""Follows a journal's file for statistics: each look reads what has been written since the last one.

The file is opened read-only for each look, so that nobody who compacts, moves or replaces it is kept from that, and so
that what has the file's name now is what is read. The system that writes the file is not asked, and does not notice.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import Any

from antistrophe.errors import JournalError
from antistrophe.journal.dialect import dialect_of
from antistrophe.journal.last_rows import NO_SAGA
from antistrophe.journal.moments import last_before
from antistrophe.journal.opening import open_store
from antistrophe.journal.place import JournalPlace, Where
from antistrophe.journal.rows import unpack_entry
from antistrophe.journal.safe_head import SafeHead
from antistrophe.journal.shapes import StoredShapes
from antistrophe.journal.stored_entries import where_in
from antistrophe.saga.entries import Entry, SagaAccepted
from antistrophe.saga.statistics import SagaStatistics
from antistrophe.storage.connection import SqlDatabase

YOUNG_ENTRIES = 10_000
"""A journal of no more entries, of which nothing was purged, is counted from its beginning."""

_ROWS_AT_ONCE = 500
_PATIENCE_S = 0.25
_DRIVERS = ("sqlite3", "psycopg")
"""What comes from there is no fault of an entry."""

_LARGE_BYTES = 64 * 1024
"""A larger entry is read by itself, so that few bytes are in memory at a time."""

_BEHIND = (
    f"SELECT position, saga_id, seq, CASE WHEN length(entry) <= {_LARGE_BYTES} THEN entry END, CAST(at AS BIGINT)"
    " FROM journal WHERE position > ? AND position <= ? AND {of_a_saga} ORDER BY position LIMIT ?"
)
_AT = "SELECT entry FROM journal WHERE saga_id = ? AND seq = ?"


class StatisticsFollower:
    """``statistics`` of the entries of one journal, from a first one on. Any number of threads may use it.

    ``window_s``: the first entry is one of so many seconds ago. None: it is the next that is written; but all entries
    are counted of a journal that is young, or that has taken the place of the one that was followed. So counters that
    were read from one process and are read from the next go on or begin anew, and never count anything twice.
    """

    def __init__(self, where: Where, *, window_s: float | None = None) -> None:
        self.statistics = SagaStatistics()
        self.unreadable = 0
        self.files = 0
        self._place = JournalPlace.at(where)
        self._window_s = window_s
        self._lock = threading.Lock()
        self._read = 0
        self._head = 0
        self._safe = SafeHead()
        self._last: tuple[Any, ...] | None = None

    @property
    def behind(self) -> int:
        """How many positions of the journal were not yet read at the end of the last look."""
        return self._head - self._read

    def catch_up(self, limit_s: float = 0.05) -> bool:
        """Read on, for about ``limit_s`` seconds at most. False where there is more to read: look again.

        Raises JournalError where there is no journal, or it can't be read, for instance because a newer release wrote
        it. The next look tries it again. An entry that can't be read is passed over, and counted in ``unreadable``.
        """
        with self._lock, closing(open_store(self._place, read_only=True, patience_s=_PATIENCE_S)) as database:
            return self.catch_up_in(database, limit_s)

    def catch_up_in(self, database: SqlDatabase, limit_s: float) -> bool:
        """``catch_up`` in a file that is open already, for one caller at a time."""
        until = time.monotonic() + limit_s
        safe = self._safe.of(database)
        with database.one_moment():  # a saga may be purged meanwhile
            self._begin(database, safe)
            shapes = StoredShapes(database)
            while self._read < self._head and self._read_some(database, shapes) and time.monotonic() < until:
                pass
        return self._read >= self._head

    def _begin(self, database: SqlDatabase, safe: int | None) -> None:
        """See how far the journal has come, and where to begin in one that is new here."""
        last = int(database.row("SELECT max(position) FROM journal")[0] or 0)
        self._head = last if safe is None else min(last, safe)
        if not self.files:
            self.files, self._read = 1, self._first(database)
        elif self._head < self._read or self._was_replaced(database):
            self._read = 0 if self._is_young(database) else self._head
            self._last = None
            self.files += 1
            self.statistics.forget_courses()

    def _was_replaced(self, database: SqlDatabase) -> bool:
        """Whether there is another entry at the position of the last one that was read. A purge may have taken it."""
        found = None if self._last is None else _entry_at(database, self._last[0])
        return found is not None and found[1] != NO_SAGA and found != self._last

    def _first(self, database: SqlDatabase) -> int:
        """The position behind which to begin."""
        if self._window_s is None:
            return 0 if self._is_young(database) else self._head
        return last_before(database, int((time.time() - self._window_s) * 1e6))

    def _is_young(self, database: SqlDatabase) -> bool:
        return self._head <= YOUNG_ENTRIES and database.row("SELECT 1 FROM purges LIMIT 1") is None

    def _read_some(self, database: SqlDatabase, shapes: StoredShapes) -> bool:
        """Count some entries. False where there are no more."""
        of_a_saga = dialect_of(database.kind).of_a_saga
        rows = database.rows(_BEHIND.format(of_a_saga=of_a_saga), (self._read, self._head, _ROWS_AT_ONCE))
        for row in rows:
            if not self._counted(database, shapes, row):
                self.unreadable += 1
            self._read = row[0]
        if len(rows) < _ROWS_AT_ONCE:
            self._read = self._head
        if rows:
            self._last = _entry_at(database, rows[-1][0])
        return len(rows) == _ROWS_AT_ONCE

    def _counted(self, database: SqlDatabase, shapes: StoredShapes, row: tuple[int, Any, Any, Any, int]) -> bool:
        """Count one entry. False where it can't be read."""
        _, saga_id, seq, data, at_us = row
        if data is None:
            (data,) = database.row(_AT, (saga_id, seq))
        entry = _entry(database, shapes, saga_id, seq, data)
        if entry is None:
            return False
        if seq != 1 and not self.statistics.knows(saga_id):
            self._remember(database, shapes, saga_id)
        self.statistics.add(saga_id, entry, at_us / 1e6)
        return True

    def _remember(self, database: SqlDatabase, shapes: StoredShapes, saga_id: str) -> None:
        """Tell the statistics the acceptance of a saga that began before. Where there is none that can be read, the
        saga counts as other."""
        first = database.row(_AT, (saga_id, 1))
        accepted = None if first is None else _entry(database, shapes, saga_id, 1, first[0])
        if isinstance(accepted, SagaAccepted):
            self.statistics.begin(accepted)


def _entry_at(database: SqlDatabase, position: int) -> tuple[Any, ...] | None:
    """What tells the entry at a position from another one there; None where there is none."""
    found = database.row("SELECT position, saga_id, seq, at FROM journal WHERE position = ?", (position,))
    return None if found is None else tuple(found)


def _entry(database: SqlDatabase, shapes: StoredShapes, saga_id: str, seq: int, data: bytes) -> Entry | None:
    """An entry; None where it can't be read. Raises JournalError where the file itself can't be read."""
    where = where_in(database, saga_id, seq)
    try:
        return shapes.entry(data, saga_id, where) if seq == 1 else unpack_entry(data, where)
    except JournalError as error:
        cause: BaseException | None = error
        while isinstance(cause, JournalError):
            cause = cause.__cause__
        if type(cause).__module__.partition(".")[0] in _DRIVERS:
            raise
        return None
