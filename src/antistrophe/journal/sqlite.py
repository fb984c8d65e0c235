"""The journal in the home's SQLite file: each append is one synced transaction."""

from __future__ import annotations

import builtins
import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from antistrophe.definition.validation import is_text
from antistrophe.errors import JournalError
from antistrophe.eventstore.sqlite import insert_events
from antistrophe.journal.erasing import erase
from antistrophe.journal.group import GroupCommit
from antistrophe.journal.journal import (
    JournalRecord,
    PackedEntry,
    Row,
    SagaEvent,
    SagaPage,
    SeqConflictError,
    by_stream,
    check_append,
)
from antistrophe.journal.packed_append import pack_append
from antistrophe.journal.paging import check_page
from antistrophe.journal.parked_sagas import ParkedSagas
from antistrophe.journal.retention import NO_SAGA, Purge, Purgeable
from antistrophe.journal.rows import missing
from antistrophe.journal.saga_counts import NOTHING_COUNTED, counted_after
from antistrophe.journal.saga_lists import SagaLists, Which
from antistrophe.journal.stored_entries import StoredEntries
from antistrophe.journal.stored_states import StoredStates
from antistrophe.journal.text_index import TextIndex
from antistrophe.journal.timeline import timeline_entry
from antistrophe.journal.tombstones import Tombstones, was_purged
from antistrophe.records import PurgedSaga, SagaChange, SagaMetadata, SagaStatus, TimelineEntry
from antistrophe.saga.entries import Entry, SagaAccepted, SagaCompensated, SagaCompleted, SagaParked
from antistrophe.saga.listed import Listed
from antistrophe.storage.database import Database
from antistrophe.storage.free_pages import empty_log, give_back
from antistrophe.storage.opening import open_database
from antistrophe.storage.write_lock import LockPatience

_LIVE = tuple(status.value for status in SagaStatus if not status.final and status is not SagaStatus.FAILED)

_NEVER_PARKED_BEFORE = (SagaStatus.EXECUTING, SagaStatus.COMPLETED)
"""The statuses that no parked saga gets."""

_COLUMNS = "INSERT INTO journal(saga_id, seq, at, kind, entry, state)"
_ROW = "(?, ?, ?, ?, ?, ?)"
_SETTLED = tuple(each.__name__ for each in (SagaCompleted, SagaCompensated, SagaParked))
_IS_AT = "SELECT 1 FROM journal WHERE saga_id = ? AND seq = ?"


class SqliteJournal:
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
            self._database = place
        elif patience_s is None:
            self._database = open_database(place, synchronous=synchronous, read_only=read_only)
        else:
            self._database = open_database(
                place,
                synchronous=synchronous,
                read_only=read_only,
                patience=LockPatience(patience_s),
            )
        self._entries = StoredEntries(self._database)
        self._states = StoredStates(self._database, self._entries)
        self.texts = TextIndex(self._database)
        self._parked = ParkedSagas(self._database, self.texts)
        self._lists = SagaLists(self._database, self._states, self.texts)
        self._tombstones = Tombstones(self._database)
        self._counted = NOTHING_COUNTED

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
        with self._database.transaction() as database:
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
        if expected_seq and self._database.row(_IS_AT, (saga_id, expected_seq)) is None:
            raise self._conflict(saga_id, expected_seq)
        sql = f"{_COLUMNS} VALUES {', '.join([_ROW] * len(rows))}"
        try:
            position = self._database.execute(sql, list(chain.from_iterable(rows))).lastrowid
        except sqlite3.IntegrityError as error:  # another actor has written the next entry of this saga
            raise self._conflict(saga_id, expected_seq) from error
        assert position is not None  # at least one row was inserted
        return position

    def _accept(self, first: SagaAccepted, row: Row, accepted: int, position: int) -> None:
        if (purged := self._tombstones.find(row.id)) is not None:
            raise was_purged(row.id, purged)
        status = row.status.value
        finished = None if status in _LIVE else position
        self._database.execute(
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
            same = self._database.execute(
                "UPDATE sagas SET updated = ?, error = ?, waiting = ? WHERE status = ? AND id = ?",
                (position, row.error, row.waiting, status, row.id),
            )
            if same.rowcount:  # no index changes, and a parked saga keeps its place in the history
                return True
        finished = None if status in _LIVE else position
        changed = self._database.execute(
            "UPDATE sagas SET updated = ?, error = ?, waiting = ?, status = ?, finished = ? WHERE id = ?",
            (position, row.error, row.waiting, status, finished, row.id),
        )
        return bool(changed.rowcount)

    def _conflict(self, saga_id: str, expected: int, up_to: int | None = None) -> SeqConflictError:
        """Make the error for a saga at another seq. ``up_to``: later entries are those of this append."""
        last = "SELECT max(seq) FROM journal WHERE saga_id = ? AND seq <= coalesce(?, seq)"
        found = self._database.row(last, (saga_id, up_to))
        return SeqConflictError(saga_id, expected=expected, actual=found[0] or 0)

    @property
    def commits(self) -> tuple[int, float]:
        """How many transactions this connection has committed, and how many seconds that took."""
        return self._database.commits, self._database.commits_s

    def group(self) -> GroupCommit:
        """Make a group for appends that share one transaction."""
        return GroupCommit(self._database)

    def load(self, saga_id: str) -> tuple[Entry, ...]:
        """See ``Journal``."""
        return tuple(record.entry for record in self._entries.of(saga_id))

    def saga_records(self, saga_id: str) -> builtins.list[JournalRecord]:
        """All entries of a saga, in order, with the machine's time of each."""
        return self._entries.of(saga_id)

    def timeline(self, saga_id: str, *, unmasked: bool = False) -> builtins.list[TimelineEntry]:
        """See ``Journal``."""
        return [timeline_entry(record, unmasked=unmasked) for record in self._entries.of(saga_id)]

    def entry(self, saga_id: str, seq: int) -> Entry | None:
        """See ``Journal``."""
        record = self._entries.at(saga_id, seq)
        return None if record is None else record.entry

    def entries_after(
        self, saga_id: str, after_seq: int = 0, kinds: Sequence[str] = (), offset: int = 0
    ) -> tuple[tuple[PackedEntry, ...], bool, int]:
        """See ``Journal``."""
        return self._entries.piece(saga_id, after_seq, kinds, offset)

    def results(self, saga_id: str, after_seq: int = 0) -> Iterator[JournalRecord]:
        """See ``Journal``."""
        return self._entries.results(saga_id, after_seq)

    def records(self, after_position: int = 0, limit: int = 1000) -> builtins.list[JournalRecord]:
        """See ``Journal``."""
        return self._entries.behind(after_position, limit)

    def settled(self, after_position: int, up_to: int, limit: int) -> builtins.list[tuple[int, str, int]]:
        """The entries behind a position up to another at which a saga ended or was parked: position, saga and seq."""
        return self._database.rows(
            f"SELECT position, saga_id, seq FROM journal WHERE position > ? AND position <= ? AND kind IN {_SETTLED}"
            " AND saga_id <> ? ORDER BY position LIMIT ?",
            (after_position, up_to, NO_SAGA, limit),
        )

    def head(self) -> int:
        """See ``Journal``."""
        return int(self._database.row("SELECT max(position) FROM journal")[0] or 0)

    def last_at(self) -> float:
        """Return the time of the last entry by the system's clock, in seconds since the epoch; 0 where there is none
        that can be read."""
        with contextlib.suppress(JournalError):
            last = self._entries.last()
            return 0.0 if last is None else last.at
        return 0.0

    def status(self, saga_id: str) -> SagaStatus | None:
        """See ``Journal``."""
        return self._states.status(saga_id)

    def metadata(self, saga_id: str) -> SagaMetadata | None:
        """See ``Journal``."""
        return self._states.of(saga_id)

    def changes(self, after_position: int = 0, limit: int = 1000) -> builtins.list[SagaChange]:
        """See ``Journal``."""
        return self._states.changes(after_position, limit)

    def accepted(self, saga_id: str) -> SagaAccepted | None:
        """See ``Journal``."""
        first = self.entry(saga_id, 1)
        if first is not None and not isinstance(first, SagaAccepted):
            raise missing(f"{self._entries.where(saga_id, 1)}, the acceptance,")
        return first

    def request_id(self, saga_id: str) -> str | None:
        """See ``Journal``."""
        if not is_text(saga_id):
            return None
        found = self._database.row("SELECT request_id FROM sagas WHERE id = ?", (saga_id,))
        return None if found is None else str(found[0])

    def purged(self, saga_id: str) -> PurgedSaga | None:
        """See ``Journal``."""
        return self._tombstones.find(saga_id)

    def purge(self, which: Purgeable, **options: Any) -> Purge:
        """Begin a purge. ``options`` are those of ``Purge``."""
        return Purge(self._database, which, **options)

    def erase(self, saga_id: str, *, events: bool = False) -> bool:
        """Erase the data of a saga that has finished. See ``erasing.erase``."""
        return erase(self._database, saga_id, events=events)

    def cut_log(self) -> bool:
        """Move the log into the file, and cut it off. False where somebody reads or writes: nobody is waited for."""
        return self._database.begin_log_anew()

    def give_back(self, *, keep: float = 0.0) -> bool:
        """Give some of the file's free pages back. See ``free_pages.give_back``."""
        return give_back(self._database, keep=keep)

    def empty_log(self) -> bool:
        """Move the log into the file, without waiting. See ``free_pages.empty_log``."""
        return empty_log(self._database)

    def list(
        self,
        *,
        status: SagaStatus | None = None,
        name: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        part_bytes: int | None = None,
        unfinished: bool = False,
        accepted_by: datetime | None = None,
    ) -> SagaPage:
        """See ``Journal``. ``unfinished``: only sagas that run or are parked; ``accepted_by``: only those that were
        accepted before that moment."""
        which = Which(status, name, text, unfinished, accepted_by)
        return self._lists.page(which, limit, cursor, part_bytes)

    def history(self, limit: int = 1000) -> builtins.list[SagaMetadata]:
        """See ``Journal``."""
        return [*reversed(self.history_page(limit).sagas)]

    def history_page(self, limit: int, cursor: str | None = None, part_bytes: int | None = None) -> SagaPage:
        """See ``Journal``."""
        return self._states.page("finished", ("", ()), check_page(limit, cursor), limit, part_bytes)

    def live(self) -> builtins.list[tuple[str, bool]]:
        """See ``Journal``."""
        rows = self._database.rows(f"SELECT id, status FROM sagas WHERE status IN {_LIVE} ORDER BY accepted")
        return [(saga_id, status == SagaStatus.COMPENSATING.value) for saga_id, status in rows]

    def counts(self) -> dict[SagaStatus, int]:
        """See ``Journal``."""
        self._counted, counts = counted_after(self._database, self._counted)
        return counts

    def check(self) -> None:
        """Read the structure of the whole file. Raises JournalError if it is damaged. This takes time in proportion to
        the file's size."""
        self._database.check()

    def close(self) -> None:
        """See ``Journal``."""
        self._database.close()
