"""The journal in memory: for tests and simulations; what it holds ends with its process."""

from __future__ import annotations

import builtins
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from antistrophe.cqrs.memory import MemoryEvents
from antistrophe.journal.journal import (
    JournalRecord,
    NewEvent,
    SagaPage,
    SeqConflictError,
    by_stream,
    check_append,
)
from antistrophe.journal.paging import check_page, contains, cursor_before
from antistrophe.journal.rows import pack_entry, unpack_entry
from antistrophe.journal.timeline import timeline_entry
from antistrophe.records import SagaChange, SagaMetadata, SagaStatus, TimelineEntry
from antistrophe.saga.entries import Entry, SagaAccepted


@dataclass(slots=True)
class _Row:
    accepted: int
    request_id: str
    metadata: SagaMetadata
    finished: int | None


class MemoryJournal:
    """The variant of ``Journal`` without a file; entries are packed as in a file, so that nothing is shared."""

    def __init__(self, events: MemoryEvents | None = None) -> None:
        self._lock = threading.RLock()
        self._events = MemoryEvents() if events is None else events
        self._entries: builtins.list[tuple[str, int, bytes, SagaMetadata | None]] = []
        self._of_saga: dict[str, builtins.list[int]] = {}
        self._rows: dict[str, _Row] = {}

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
        packed = [pack_entry(entry) for entry in entries]
        with self._lock:
            positions = self._of_saga.get(saga_id, [])
            if len(positions) != expected_seq:
                raise SeqConflictError(saga_id, expected=expected_seq, actual=len(positions))
            if events:
                with self._events.transaction() as writer:
                    for stream, run in by_stream(events):
                        writer.append(stream, run)
            for index, data in enumerate(packed):
                last = index == len(packed) - 1
                self._entries.append((saga_id, expected_seq + 1 + index, data, row if last else None))
                self._of_saga.setdefault(saga_id, []).append(len(self._entries))
            position = len(self._entries)
            self._keep_row(saga_id, entries[0], position, row)
            return position

    def _keep_row(self, saga_id: str, first: Entry, position: int, row: SagaMetadata) -> None:
        finished = None if row.status.running else position
        known = self._rows.get(saga_id)
        if known is None:
            request_id = first.request_id if isinstance(first, SagaAccepted) else ""
            self._rows[saga_id] = _Row(position, request_id, row, finished)
        else:
            known.metadata, known.finished = row, finished

    def load(self, saga_id: str) -> tuple[Entry, ...]:
        """See ``Journal``."""
        return tuple(record.entry for record in self._records_of(saga_id))

    def timeline(self, saga_id: str) -> builtins.list[TimelineEntry]:
        """See ``Journal``."""
        return [timeline_entry(record) for record in self._records_of(saga_id)]

    def _records_of(self, saga_id: str) -> builtins.list[JournalRecord]:
        with self._lock:
            return [self._record(position) for position in self._of_saga.get(saga_id, [])]

    def _record(self, position: int) -> JournalRecord:
        saga_id, seq, data, _ = self._entries[position - 1]
        return JournalRecord(position, saga_id, seq, unpack_entry(data, f"saga {saga_id!r}, entry {seq}"))

    def records(self, after_position: int = 0, limit: int = 1_000) -> builtins.list[JournalRecord]:
        """See ``Journal``."""
        with self._lock:
            last = min(len(self._entries), after_position + limit)
            return [self._record(position) for position in range(after_position + 1, last + 1)]

    def changes(self, after_position: int = 0, limit: int = 1_000) -> builtins.list[SagaChange]:
        """See ``Journal``."""
        with self._lock:
            found = [
                SagaChange(position, state)
                for position, (_, _, _, state) in enumerate(self._entries[after_position:], after_position + 1)
                if state is not None
            ]
        return found[:limit]

    def head(self) -> int:
        """See ``Journal``."""
        return len(self._entries)

    def metadata(self, saga_id: str) -> SagaMetadata | None:
        """See ``Journal``."""
        row = self._rows.get(saga_id)
        return None if row is None else row.metadata

    def request_id(self, saga_id: str) -> str | None:
        """See ``Journal``."""
        row = self._rows.get(saga_id)
        return None if row is None else row.request_id

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
        with self._lock:
            rows = sorted(self._rows.values(), key=lambda row: -row.accepted)
        found = [
            row
            for row in rows
            if (status is None or row.metadata.status is status)
            and (name is None or row.metadata.name == name)
            and (text is None or contains(row.metadata, text))
            and (before is None or row.accepted < before)
        ]
        following = cursor_before(found[limit - 1].accepted) if len(found) > limit else None
        return SagaPage(tuple(row.metadata for row in found[:limit]), following)

    def history(self, limit: int = 1_000) -> builtins.list[SagaMetadata]:
        """See ``Journal``."""
        with self._lock:
            done = [(row.finished, row.metadata) for row in self._rows.values() if row.finished is not None]
        return [metadata for _, metadata in sorted(done, key=lambda each: each[0])[-limit:]] if limit else []

    def live(self) -> builtins.list[tuple[str, bool]]:
        """See ``Journal``."""
        with self._lock:
            rows = sorted(self._rows.items(), key=lambda each: each[1].accepted)
        return [
            (saga_id, row.metadata.status is SagaStatus.COMPENSATING)
            for saga_id, row in rows
            if row.metadata.status.running
        ]

    def counts(self) -> dict[SagaStatus, int]:
        """See ``Journal``."""
        with self._lock:
            return dict(Counter(row.metadata.status for row in self._rows.values()))

    def close(self) -> None:
        """See ``Journal``."""
