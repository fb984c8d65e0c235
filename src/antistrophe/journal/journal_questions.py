"""The questions to a journal that are answered in the same way wherever it is stored."""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol

from antistrophe.errors import JournalError
from antistrophe.journal.dialect import dialect_of
from antistrophe.journal.erasing import erase
from antistrophe.journal.group import Group, GroupCommit
from antistrophe.journal.journal import JournalRecord, PackedEntry, SagaPage
from antistrophe.journal.paging import check_page
from antistrophe.journal.retention import Purge, Purgeable
from antistrophe.journal.rows import missing
from antistrophe.journal.saga_counts import NOTHING_COUNTED, Counted, counted_after
from antistrophe.journal.saga_lists import SagaLists, Which
from antistrophe.journal.stored_entries import StoredEntries
from antistrophe.journal.stored_journal import StoredAcceptance
from antistrophe.journal.stored_states import StoredStates
from antistrophe.journal.texts import Texts
from antistrophe.journal.timeline import timeline_entry
from antistrophe.journal.tombstones import Tombstones
from antistrophe.records import PurgedSaga, SagaChange, SagaMetadata, SagaStatus, TimelineEntry
from antistrophe.saga.entries import Entry, SagaAccepted, SagaCompensated, SagaCompleted, SagaParked
from antistrophe.serialization.whole_numbers import LARGEST_INTEGER
from antistrophe.storage.connection import SqlDatabase

LIVE = tuple(status.value for status in SagaStatus if not status.final and status is not SagaStatus.FAILED)
"""The statuses of sagas that are neither finished nor parked, as they are stored."""

_SETTLED = tuple(each.__name__ for each in (SagaCompleted, SagaCompensated, SagaParked))


class JournalQuestions(Protocol):
    """The part of ``Journal``, and of ``StoredJournal``, that both variants take from here."""

    _database: SqlDatabase
    _entries: StoredEntries
    _states: StoredStates
    _lists: SagaLists
    _tombstones: Tombstones
    _counted: Counted

    def _read_from(self, database: SqlDatabase, texts: Texts) -> None:
        """Answer from that database, whose index of texts this is."""
        self._database = database
        self._entries = StoredEntries(database)
        self._states = StoredStates(database, self._entries)
        self._lists = SagaLists(database, self._states, texts)
        self._tombstones = Tombstones(database)
        self._counted = NOTHING_COUNTED

    def _last_in_order(self) -> int:
        """The last position that a reader by positions may read now."""
        return LARGEST_INTEGER

    def _safe_to_count(self) -> int | None:
        """See ``counted_after``."""
        return None

    @property
    def commits(self) -> tuple[int, float]:
        """How many transactions this connection has committed, and how many seconds that took."""
        return self._database.commits, self._database.commits_s

    def confirm(self) -> None:
        """See ``StoredJournal``."""
        self._database.confirm()

    def group(self) -> GroupCommit:
        """Make a group for appends that share one transaction."""
        return GroupCommit(self._database)

    def gathering_group(self) -> Group:
        """See ``StoredJournal``. Each append is written at once here."""
        return self.group()

    def load(self, saga_id: str) -> tuple[Entry, ...]:
        """See ``Journal``."""
        return tuple(record.entry for record in self._entries.of(saga_id))

    def load_to_append(self, saga_id: str) -> tuple[tuple[Entry, ...], bytes | None]:
        """See ``StoredJournal``."""
        return self.load(saga_id), None

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
        return self._entries.behind(after_position, limit, self._last_in_order())

    def settled(self, after_position: int, up_to: int, limit: int) -> builtins.list[tuple[int, str, int]]:
        """The entries behind a position up to another at which a saga ended or was parked: position, saga and seq."""
        of_a_saga = dialect_of(self._database.kind).of_a_saga
        return self._database.rows(
            f"SELECT position, saga_id, seq FROM journal WHERE position > ? AND position <= ? AND kind IN {_SETTLED}"
            f" AND {of_a_saga} ORDER BY position LIMIT ?",
            (after_position, min(up_to, self._last_in_order()), limit),
        )

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
        return self._states.changes(after_position, limit, self._last_in_order())

    def accepted(self, saga_id: str) -> SagaAccepted | None:
        """See ``Journal``."""
        first = self.entry(saga_id, 1)
        if first is not None and not isinstance(first, SagaAccepted):
            raise missing(f"{self._entries.where(saga_id, 1)}, the acceptance,")
        return first

    def acceptances(self, saga_ids: Sequence[str]) -> builtins.list[StoredAcceptance]:
        """See ``StoredJournal``."""
        rows = self._database.rows(
            "SELECT sagas.id, request_id, entry FROM sagas LEFT JOIN journal ON saga_id = sagas.id AND journal.seq = 1"
            f" WHERE sagas.id IN ({', '.join('?' * len(saga_ids))}) ORDER BY accepted",
            saga_ids,
        )
        return [StoredAcceptance(*row) for row in rows]

    def acceptance_in(self, stored: StoredAcceptance) -> SagaAccepted | None:
        """See ``StoredJournal``."""
        where = self._entries.where(stored.saga_id, 1)
        first = None if stored.packed is None else self._entries.shapes.entry(stored.packed, stored.saga_id, where)
        if first is not None and not isinstance(first, SagaAccepted):
            raise missing(f"{where}, the acceptance,")
        return first

    def request_id(self, saga_id: str) -> str | None:
        """See ``Journal``."""
        if not self._database.holds(saga_id):
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
        rows = self._database.rows(f"SELECT id, status FROM sagas WHERE status IN {LIVE} ORDER BY accepted")
        return [(saga_id, status == SagaStatus.COMPENSATING.value) for saga_id, status in rows]

    def begun(self) -> dict[str, bool]:
        """See ``StoredJournal``."""
        return {saga_id: True for saga_id, _ in self.live()}

    def counts(self) -> dict[SagaStatus, int]:
        """See ``Journal``."""
        self._counted, counts = counted_after(self._database, self._counted, self._safe_to_count())
        return counts

    def close(self) -> None:
        """See ``Journal``."""
        self._database.close()
