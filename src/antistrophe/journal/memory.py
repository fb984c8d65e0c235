"""The journal in memory: for tests and simulations; what it holds ends with its process."""

from __future__ import annotations

import builtins
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from antistrophe.eventstore.memory import MemoryEvents
from antistrophe.journal.journal import (
    JournalRecord,
    NewEvent,
    SagaPage,
    SeqConflictError,
    by_stream,
    check_append,
)
from antistrophe.journal.paging import check_page, contains, cursor_before
from antistrophe.journal.timeline import timeline_entry
from antistrophe.records import SagaChange, SagaMetadata, SagaStatus, TimelineEntry
from antistrophe.saga.entries import Entry, SagaAccepted


@dataclass(slots=True)
class _Saga:
    accepted: int
    request_id: str
    row: SagaMetadata
    finished: int | None = None
    records: builtins.list[JournalRecord] = field(default_factory=list)


class MemoryJournal:
    """The variant of ``Journal`` without a file. The sagas' events go to ``events``."""

    def __init__(self, events: MemoryEvents | None = None) -> None:
        self.events = MemoryEvents() if events is None else events
        self._lock = threading.RLock()
        self._records: builtins.list[JournalRecord] = []
        self._changes: builtins.list[SagaChange] = []
        self._sagas: dict[str, _Saga] = {}  # in order of acceptance

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
        runs = by_stream(events)
        with self._lock:
            saga = self._sagas.get(saga_id)
            actual = 0 if saga is None else len(saga.records)
            if actual != expected_seq:
                raise SeqConflictError(saga_id, expected=expected_seq, actual=actual)
            with self.events.transaction() as writer:
                for stream, run in runs:
                    writer.append(stream, run)
            if saga is None:
                first = entries[0]
                assert isinstance(first, SagaAccepted)  # checked above
                saga = self._sagas[saga_id] = _Saga(len(self._records) + 1, first.request_id, row)
            for seq, entry in enumerate(entries, start=expected_seq + 1):
                record = JournalRecord(len(self._records) + 1, saga_id, seq, entry)
                self._records.append(record)
                saga.records.append(record)
            position = len(self._records)
            saga.finished = _finished(saga, row, position)
            saga.row = row
            self._changes.append(SagaChange(position, row))
            return position

    def load(self, saga_id: str) -> tuple[Entry, ...]:
        """See ``Journal``."""
        return tuple(record.entry for record in self._records_of(saga_id))

    def timeline(self, saga_id: str) -> builtins.list[TimelineEntry]:
        """See ``Journal``."""
        return [timeline_entry(record) for record in self._records_of(saga_id)]

    def _records_of(self, saga_id: str) -> builtins.list[JournalRecord]:
        with self._lock:
            saga = self._sagas.get(saga_id)
            return [] if saga is None else list(saga.records)

    def records(self, after_position: int = 0, limit: int = 1000) -> builtins.list[JournalRecord]:
        """See ``Journal``."""
        with self._lock:
            return self._records[after_position : after_position + limit]

    def changes(self, after_position: int = 0, limit: int = 1000) -> builtins.list[SagaChange]:
        """See ``Journal``."""
        with self._lock:
            return [change for change in self._changes if change.position > after_position][:limit]

    def head(self) -> int:
        """See ``Journal``."""
        with self._lock:
            return len(self._records)

    def metadata(self, saga_id: str) -> SagaMetadata | None:
        """See ``Journal``."""
        with self._lock:
            saga = self._sagas.get(saga_id)
            return None if saga is None else saga.row

    def accepted(self, saga_id: str) -> SagaAccepted | None:
        """See ``Journal``."""
        first = next((record.entry for record in self._records_of(saga_id)), None)
        return first if isinstance(first, SagaAccepted) else None

    def request_id(self, saga_id: str) -> str | None:
        """See ``Journal``."""
        with self._lock:
            saga = self._sagas.get(saga_id)
            return None if saga is None else saga.request_id

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
            found = [
                saga
                for saga in reversed(self._sagas.values())
                if (before is None or saga.accepted < before)
                and (status is None or saga.row.status is status)
                and (name is None or saga.row.name == name)
                and (text is None or contains(saga.row, text))
            ]
        page = found[:limit]
        more = len(found) > limit
        return SagaPage(tuple(saga.row for saga in page), cursor_before(page[-1].accepted) if more else None)

    def history(self, limit: int = 1000) -> builtins.list[SagaMetadata]:
        """See ``Journal``."""
        check_page(limit, None)
        with self._lock:
            done = [(saga.finished, saga.row) for saga in self._sagas.values() if saga.finished is not None]
        done.sort(key=lambda each: each[0])
        return [row for _, row in done[-limit:]]

    def live(self) -> builtins.list[tuple[str, bool]]:
        """See ``Journal``."""
        with self._lock:
            rows = [saga.row for saga in self._sagas.values() if saga.finished is None]
        return [(row.id, row.status is SagaStatus.COMPENSATING) for row in rows]

    def counts(self) -> dict[SagaStatus, int]:
        """See ``Journal``."""
        with self._lock:
            found = Counter(saga.row.status for saga in self._sagas.values())
        return {status: found[status] for status in SagaStatus}

    def close(self) -> None:
        """What it holds stays for as long as the object does."""


def _finished(saga: _Saga, row: SagaMetadata, position: int) -> int | None:
    """Where the saga finished or was parked: at the first append that left it so, and anew after it ran again."""
    if not (row.status.final or row.status is SagaStatus.FAILED):
        return None
    return saga.finished if saga.finished is not None and saga.row.status is row.status else position
