"""The journal in the home's SQLite file."""

from __future__ import annotations

import builtins
import os
from collections.abc import Sequence
from typing import Any

from antistrophe.cqrs.sqlite import insert_events
from antistrophe.database import open_database
from antistrophe.journal.journal import (
    JournalRecord,
    NewEvent,
    SagaPage,
    SeqConflictError,
    by_stream,
    check_append,
)
from antistrophe.journal.paging import check_page, cursor_before, like
from antistrophe.journal.rows import pack_entry, pack_metadata, unpack_entry, unpack_metadata
from antistrophe.journal.timeline import timeline_entry
from antistrophe.records import SagaChange, SagaMetadata, SagaStatus, TimelineEntry
from antistrophe.saga.entries import Entry, SagaAccepted

_STATES = "SELECT journal.state, sagas.id FROM sagas JOIN journal ON journal.position = sagas.updated"
_INSERT = "INSERT INTO journal(saga_id, seq, at, kind, entry, state) VALUES (?, ?, ?, ?, ?, ?)"
_LIVE = (SagaStatus.EXECUTING.value, SagaStatus.COMPENSATING.value)


class SqliteJournal:
    """The SQLite variant of ``Journal``; one connection, which threads may share and forks may not."""

    def __init__(self, path: str | os.PathLike[str], *, synchronous: str = "FULL", read_only: bool = False) -> None:
        self._database = open_database(path, synchronous=synchronous, read_only=read_only)

    def append(
        self,
        saga_id: str,
        *,
        expected_seq: int,
        entries: Sequence[Entry],
        events: Sequence[NewEvent] = (),
        row: SagaMetadata,
    ) -> int:
        """See ``Journal``."""
        check_append(saga_id, expected_seq, entries, row)
        state = pack_metadata(row)
        last = len(entries) - 1
        rows = [
            (
                saga_id,
                expected_seq + 1 + index,
                int(entry.at * 1e6),
                type(entry).__name__,
                pack_entry(entry),
                state if index == last else None,
            )
            for index, entry in enumerate(entries)
        ]
        with self._database.transaction() as database:
            head: int = database.row("SELECT max(seq) FROM journal WHERE saga_id = ?", (saga_id,))[0] or 0
            if head != expected_seq:
                raise SeqConflictError(saga_id, expected=expected_seq, actual=head)
            position = 0
            for each in rows:
                position = database.execute(_INSERT, each).lastrowid or 0
            self._keep_row(saga_id, entries[0], position, row, new=expected_seq == 0)
            for stream, run in by_stream(events):
                insert_events(database, stream, run)
        return position

    def _keep_row(self, saga_id: str, first: Entry, position: int, row: SagaMetadata, *, new: bool) -> None:
        finished = None if row.status.running else position
        if new:
            request_id = first.request_id if isinstance(first, SagaAccepted) else ""
            self._database.execute(
                "INSERT INTO sagas(accepted, id, request_id, name, status, updated, finished, error, waiting)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (position, saga_id, request_id, row.name, row.status.value, position, finished, row.error, row.waiting),
            )
        else:
            self._database.execute(
                "UPDATE sagas SET status = ?, updated = ?, finished = ?, error = ?, waiting = ? WHERE id = ?",
                (row.status.value, position, finished, row.error, row.waiting, saga_id),
            )

    def load(self, saga_id: str) -> tuple[Entry, ...]:
        """See ``Journal``."""
        return tuple(record.entry for record in self._entries(saga_id))

    def timeline(self, saga_id: str) -> builtins.list[TimelineEntry]:
        """See ``Journal``."""
        return [timeline_entry(record) for record in self._entries(saga_id)]

    def _entries(self, saga_id: str) -> builtins.list[JournalRecord]:
        rows = self._database.rows(
            "SELECT position, seq, entry FROM journal WHERE saga_id = ? ORDER BY seq", (saga_id,)
        )
        return [
            JournalRecord(position, saga_id, seq, unpack_entry(data, self._where(saga_id, seq)))
            for position, seq, data in rows
        ]

    def records(self, after_position: int = 0, limit: int = 1_000) -> builtins.list[JournalRecord]:
        """See ``Journal``."""
        rows = self._database.rows(
            "SELECT position, saga_id, seq, entry FROM journal WHERE position > ? ORDER BY position LIMIT ?",
            (after_position, limit),
        )
        return [
            JournalRecord(position, saga_id, seq, unpack_entry(data, self._where(saga_id, seq)))
            for position, saga_id, seq, data in rows
        ]

    def changes(self, after_position: int = 0, limit: int = 1_000) -> builtins.list[SagaChange]:
        """See ``Journal``."""
        rows = self._database.rows(
            "SELECT position, saga_id, seq, state FROM journal WHERE position > ? AND state IS NOT NULL"
            " ORDER BY position LIMIT ?",
            (after_position, limit),
        )
        return [
            SagaChange(position, unpack_metadata(state, self._where(saga_id, seq)))
            for position, saga_id, seq, state in rows
        ]

    def head(self) -> int:
        """See ``Journal``."""
        return int(self._database.row("SELECT max(position) FROM journal")[0] or 0)

    def metadata(self, saga_id: str) -> SagaMetadata | None:
        """See ``Journal``."""
        found = self._states(f"{_STATES} WHERE sagas.id = ?", (saga_id,))
        return found[0] if found else None

    def request_id(self, saga_id: str) -> str | None:
        """See ``Journal``."""
        found = self._database.row("SELECT request_id FROM sagas WHERE id = ?", (saga_id,))
        return None if found is None else str(found[0])

    def list(
        self,
        *,
        status: SagaStatus | None = None,
        name: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> SagaPage:
        """See ``Journal``."""
        before = check_page(limit, cursor)
        clauses: builtins.list[str] = []
        parameters: builtins.list[Any] = []
        if status is not None:
            clauses.append("status = ?")
            parameters.append(status.value)
        if name is not None:
            clauses.append("name = ?")
            parameters.append(name)
        if text is not None:
            columns = ("id", "name", "coalesce(error, '')", "coalesce(waiting, '')")
            clauses.append("(" + " OR ".join(rf"{column} LIKE ? ESCAPE '\'" for column in columns) + ")")
            parameters += [like(text)] * len(columns)
        if before is not None:
            clauses.append("accepted < ?")
            parameters.append(before)
        where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
        rows = self._database.rows(
            f"SELECT journal.state, sagas.id, sagas.accepted FROM sagas JOIN journal"
            f" ON journal.position = sagas.updated{where} ORDER BY sagas.accepted DESC LIMIT ?",
            (*parameters, limit + 1),
        )
        sagas = tuple(unpack_metadata(state, self._where(saga_id)) for state, saga_id, _ in rows[:limit])
        return SagaPage(sagas, cursor_before(rows[limit - 1][2]) if len(rows) > limit else None)

    def history(self, limit: int = 1_000) -> builtins.list[SagaMetadata]:
        """See ``Journal``."""
        newest = f"{_STATES} WHERE sagas.finished IS NOT NULL ORDER BY sagas.finished DESC LIMIT ?"
        return self._states(newest, (limit,))[::-1]

    def live(self) -> builtins.list[tuple[str, bool]]:
        """See ``Journal``."""
        rows = self._database.rows("SELECT id, status FROM sagas WHERE status IN (?, ?) ORDER BY accepted", _LIVE)
        return [(saga_id, status == SagaStatus.COMPENSATING.value) for saga_id, status in rows]

    def counts(self) -> dict[SagaStatus, int]:
        """See ``Journal``."""
        rows = self._database.rows("SELECT status, count(*) FROM sagas GROUP BY status")
        return {SagaStatus(status): number for status, number in rows}

    def close(self) -> None:
        """See ``Journal``."""
        self._database.close()

    def _states(self, sql: str, parameters: Sequence[Any]) -> builtins.list[SagaMetadata]:
        return [unpack_metadata(state, self._where(saga_id)) for state, saga_id in self._database.rows(sql, parameters)]

    def _where(self, saga_id: str, seq: int | None = None) -> str:
        entry = "" if seq is None else f", entry {seq}"
        return f"{self._database.path}: saga {saga_id!r}{entry}"
