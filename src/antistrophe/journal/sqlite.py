"""The journal in the home's SQLite file: each append is one synced transaction."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

from antistrophe.eventstore.sqlite import insert_events
from antistrophe.journal.journal import (
    Row,
    SagaEvent,
    SeqConflictError,
    by_stream,
    check_append,
)
from antistrophe.journal.journal_questions import LIVE, JournalQuestions
from antistrophe.journal.packed_append import pack_append
from antistrophe.journal.parked_sagas import ParkedSagas
from antistrophe.journal.saga_owner import Ownership
from antistrophe.journal.text_index import TextIndex
from antistrophe.journal.tombstones import was_purged
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import Entry, SagaAccepted
from antistrophe.saga.listed import Listed
from antistrophe.storage.database import Database
from antistrophe.storage.free_pages import empty_log, give_back
from antistrophe.storage.opening import open_database
from antistrophe.storage.write_lock import LockPatience

_NEVER_PARKED_BEFORE = (SagaStatus.EXECUTING, SagaStatus.COMPLETED)
"""The statuses that no parked saga gets."""

_COLUMNS = "INSERT INTO journal(saga_id, seq, at, kind, entry, state)"
_ROW = "(?, ?, ?, ?, ?, ?)"
_IS_AT = "SELECT 1 FROM journal WHERE saga_id = ? AND seq = ?"


class SqliteJournal(JournalQuestions):
    """The SQLite variant of ``Journal``. Several processes may open one file; a fork opens it again.

    ``place`` is the path of the file, or a database that is open already, for instance one in memory. ``synchronous``
    and ``read_only`` mean what they mean in ``open_database``, which also says which files are refused. ``patience_s``:
    how long a call waits at most while another process holds a lock of the file; None: as long as applications do.
    """

    def __init__(
        self,
        place: str | os.PathLike[str] | Database,
        *,
        synchronous: str = "FULL",
        read_only: bool = False,
        patience_s: float | None = None,
    ) -> None:
        if isinstance(place, Database):
            self._file = place
        elif patience_s is None:
            self._file = open_database(place, synchronous=synchronous, read_only=read_only)
        else:
            self._file = open_database(
                place,
                synchronous=synchronous,
                read_only=read_only,
                patience=LockPatience(patience_s),
            )
        self.texts = TextIndex(self._file)
        self._read_from(self._file, self.texts)
        self._parked = ParkedSagas(self._file, self.texts)

    def head(self) -> int:
        """See ``Journal``."""
        return int(self._file.row("SELECT max(position) FROM journal")[0] or 0)

    def clock(self) -> None:
        """See ``StoredJournal``."""

    def ownership(self, saga_id: str) -> Ownership | None:  # noqa: ARG002 - a file has one host
        """See ``StoredJournal``."""
        return None

    def append(
        self,
        saga_id: str,
        *,
        expected_seq: int,
        entries: Sequence[Entry],
        events: Sequence[SagaEvent] = (),
        row: Row,
        ahead_s: float = 0.0,
    ) -> int:
        """See ``Journal``. If the disk is full nothing is written, and the journal stays usable."""
        check_append(saga_id, expected_seq, entries, row)
        rows, shape = pack_append(saga_id, expected_seq, entries, row, ahead_s)
        first = entries[0]
        runs = by_stream(events)
        with self._file.transaction() as database:
            position = self._insert(saga_id, expected_seq, rows)
            if shape is not None:
                self._entries.shapes.keep(shape)
            if isinstance(first, SagaAccepted):
                self._accept(first, row, position - len(rows) + 1, position)
            elif not (isinstance(row, Listed) and not row.changed) and not self._update(row, position):
                raise self._conflict(saga_id, expected_seq, up_to=expected_seq)
            for stream, run in runs:
                insert_events(database, stream, run)
            database.reached("journal", position)
        return position

    def _insert(self, saga_id: str, expected_seq: int, rows: Sequence[Sequence[Any]]) -> int:
        """Write the entries of a saga that is at that seq. Returns the position of the last one."""
        if expected_seq and self._file.row(_IS_AT, (saga_id, expected_seq)) is None:
            raise self._conflict(saga_id, expected_seq)
        sql = f"{_COLUMNS} VALUES {', '.join([_ROW] * len(rows))}"
        try:
            position = self._file.execute(sql, list(chain.from_iterable(rows))).lastrowid
        except sqlite3.IntegrityError as error:  # another actor has written the next entry of this saga
            raise self._conflict(saga_id, expected_seq) from error
        assert position is not None  # at least one row was inserted
        return position

    def _accept(self, first: SagaAccepted, row: Row, accepted: int, position: int) -> None:
        if (purged := self._tombstones.find(row.id)) is not None:
            raise was_purged(row.id, purged)
        status = row.status.value
        finished = None if status in LIVE else position
        self._file.execute(
            "INSERT INTO sagas(accepted, id, request_id, name, status, updated, finished, error, waiting)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (accepted, row.id, first.request_id, first.spec.name, status, position, finished, row.error, row.waiting),
        )
        if row.status is SagaStatus.FAILED:
            self._parked.enter(row.id)

    def _update(self, row: Row, position: int) -> bool:
        """Update the row of a saga. False if there is no such row."""
        if row.status not in _NEVER_PARKED_BEFORE:
            self._parked.leave(row.id)
        found = self._update_row(row, position)
        if found and row.status is SagaStatus.FAILED:
            self._parked.enter(row.id)
        return found

    def _update_row(self, row: Row, position: int) -> bool:
        status = row.status.value
        if not row.status.final:  # a final status is always new
            same = self._file.execute(
                "UPDATE sagas SET updated = ?, error = ?, waiting = ? WHERE status = ? AND id = ?",
                (position, row.error, row.waiting, status, row.id),
            )
            if same.rowcount:  # no index changes, and a parked saga keeps its place in the history
                return True
        finished = None if status in LIVE else position
        changed = self._file.execute(
            "UPDATE sagas SET updated = ?, error = ?, waiting = ?, status = ?, finished = ? WHERE id = ?",
            (position, row.error, row.waiting, status, finished, row.id),
        )
        return bool(changed.rowcount)

    def _conflict(self, saga_id: str, expected: int, up_to: int | None = None) -> SeqConflictError:
        """Make the error for a saga at another seq. ``up_to``: later entries are those of this append."""
        last = "SELECT max(seq) FROM journal WHERE saga_id = ? AND seq <= coalesce(?, seq)"
        found = self._file.row(last, (saga_id, up_to))
        return SeqConflictError(saga_id, expected=expected, actual=found[0] or 0)

    def cut_log(self) -> bool:
        """Move the log into the file, and cut it off. False where somebody reads or writes: nobody is waited for."""
        return self._file.begin_log_anew()

    def give_back(self, *, keep: float = 0.0) -> bool:
        """Give some of the file's free pages back. See ``free_pages.give_back``."""
        return give_back(self._file, keep=keep)

    def empty_log(self) -> bool:
        """Move the log into the file, without waiting. See ``free_pages.empty_log``."""
        return empty_log(self._file)

    def check(self) -> None:
        """Read the structure of the whole file. Raises JournalError if it is damaged. This takes time in proportion to
        the file's size."""
        self._file.check()
