"""Reads the states of sagas, as monitoring shows them, from the home's SQLite file.

Each is the fold of the saga's entries. Of long sagas a part of it is kept with the entries, and read instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from antistrophe.errors import JournalError
from antistrophe.journal.dialect import dialect_of
from antistrophe.journal.journal import JournalRecord, SagaPage
from antistrophe.journal.ordinary_course import CLOCK_ROUNDING_S, ordinary_view
from antistrophe.journal.paging import cursor_before, shown_bytes
from antistrophe.journal.rows import FOLDED, unpack_change, unpack_state, unreadable_metadata, unreadable_state
from antistrophe.journal.saga_owner import host_name
from antistrophe.journal.stored_entries import PART_BYTES, StoredEntries, where_in
from antistrophe.records import SagaChange, SagaMetadata, SagaStatus
from antistrophe.saga.entries import Entry, RetryScheduled
from antistrophe.saga.state import Saga, evolve
from antistrophe.saga.view import metadata_of
from antistrophe.serialization.fast_records import changed
from antistrophe.serialization.whole_numbers import LARGEST_INTEGER
from antistrophe.storage.connection import SqlDatabase

# One statement sees one moment: the row of a saga, and the entry that it had come to then.
_STATES = (
    "SELECT journal.state, sagas.id, sagas.accepted, sagas.finished, sagas.name, sagas.status, journal.seq, journal.at,"
    " {host}"
    " FROM sagas {joined} journal ON journal.saga_id = sagas.id AND journal.seq = {last_seq}"
)
_StateRow: TypeAlias = tuple[bytes | None, str, int, int | None, str, str, int, int, str | None]

_STATES_AT_ONCE = 64
_SAGAS_AT_ONCE = 100


class StoredStates:
    """The states in one database. A state that can't be read hides no other: it is shown as that."""

    def __init__(self, database: SqlDatabase, entries: StoredEntries) -> None:
        self._database = database
        self._entries = entries
        words = dialect_of(database.kind)
        self._states_of = _STATES.format(joined=words.joined, last_seq=words.last_seq, host=words.host)

    def status(self, saga_id: str) -> SagaStatus | None:
        """See ``Journal``."""
        if not self._database.holds(saga_id):
            return None
        found = self._database.row("SELECT status FROM sagas WHERE id = ?", (saga_id,))
        try:
            return None if found is None else SagaStatus(found[0])
        except ValueError as error:
            raise unreadable_state(where_in(self._database, saga_id), error) from error

    def of(self, saga_id: str) -> SagaMetadata | None:
        """The state of a saga, or None if there is no such saga. Raises JournalError where it can't be read."""
        if not self._database.holds(saga_id):
            return None
        with self._database.one_moment():
            found = self._database.row(f"{self._states_of} WHERE sagas.id = ?", (saga_id,))
            if found is None:
                return None
            saga = self._ordinary([found]).get(saga_id) or self._state(found[0], saga_id, found[6])
            return _at_host(saga, found[8])

    def changes(self, after_position: int, limit: int, up_to: int = LARGEST_INTEGER) -> list[SagaChange]:
        """See ``Journal``. ``up_to``: the last position to read."""
        with self._database.one_moment():
            return self._changes(after_position, limit, up_to)

    def _changes(self, after_position: int, limit: int, up_to: int) -> list[SagaChange]:
        rows = self._database.rows(
            "SELECT position, saga_id, seq, at, state FROM journal WHERE position > ? AND position <= ?"
            " AND state IS NOT NULL ORDER BY position LIMIT ?",
            (after_position, up_to, limit),
        )
        shown: dict[str, SagaMetadata] = {}
        folded: dict[str, Saga] = {}
        found: list[SagaChange] = []
        size = 0
        for position, saga_id, seq, at_us, state in rows:
            try:
                saga = self._state(state, saga_id, seq, shown.pop(saga_id, None), folded)
            except JournalError as error:
                row = self._database.row("SELECT name, status FROM sagas WHERE id = ?", (saga_id,))
                name, status = row or (saga_id, "")
                saga = unreadable_metadata(saga_id, name, status, at_us, error)
            else:
                shown[saga_id] = saga
            found.append(SagaChange(position, saga))
            size += shown_bytes(saga)
            if size >= PART_BYTES:
                break
        return found

    def page(
        self, by: str, wanted: tuple[str, Sequence[Any]], before: int | None, limit: int, part_bytes: int | None
    ) -> SagaPage:
        """A page of the sagas that are ``wanted`` (SQL and its values), those with the last position in the column
        ``by`` first. A saga may have many steps, so few are read at once where the page may end with any of them."""
        with self._database.one_moment():  # a saga may be purged meanwhile
            return self._page(by, wanted, before, limit, part_bytes)

    def _page(
        self, by: str, wanted: tuple[str, Sequence[Any]], before: int | None, limit: int, part_bytes: int | None
    ) -> SagaPage:
        where, values = wanted
        sql = f"{self._states_of} WHERE {where}sagas.{by} < ? ORDER BY sagas.{by} DESC LIMIT ?"
        before = LARGEST_INTEGER if before is None else before
        found: list[SagaMetadata] = []
        size = 0
        while True:
            length = min(limit - len(found), _SAGAS_AT_ONCE)
            rows = self._database.rows(sql, (*values, before, length + 1))
            ordinary = self._ordinary(rows[:length])
            for number, row in enumerate(rows[:length], start=1):
                found.append(_at_host(ordinary.get(row[1]) or self._shown(row), row[8]))
                before = row[2] if by == "accepted" else row[3]
                size += 0 if part_bytes is None else shown_bytes(found[-1])
                if len(found) == limit or (part_bytes is not None and size >= part_bytes):
                    return SagaPage(tuple(found), cursor_before(before) if number < len(rows) else None)
            if len(rows) <= length:
                return SagaPage(tuple(found))

    def _ordinary(self, rows: Sequence[_StateRow]) -> dict[str, SagaMetadata]:
        """The states of those of these sagas that took the ordinary course, by id."""
        folded = [row[1] for row in rows if row[0] == FOLDED and row[5] == SagaStatus.COMPLETED.value]
        entries = self._entries.packed(folded) if folded else {}
        names = self._entries.shapes.names
        views = ((saga_id, ordinary_view(saga_id, its, names)) for saga_id, its in entries.items())
        return {saga_id: view for saga_id, view in views if view is not None}

    def _shown(self, row: _StateRow) -> SagaMetadata:
        """The state of a saga. An unreadable state hides no other."""
        state, saga_id, _, _, name, status, seq, at_us, _ = row
        try:
            return self._state(state, saga_id, seq)
        except JournalError as error:
            return unreadable_metadata(saga_id, name, status, at_us, error)

    def _state(
        self,
        state: bytes | None,
        saga_id: str,
        seq: int,
        before: SagaMetadata | None = None,
        folded: dict[str, Saga] | None = None,
    ) -> SagaMetadata:
        """The state of a saga since the append that ended with entry ``seq``, from what this append has kept and, if
        known, the state before it. ``folded``: the sagas that were folded up to some earlier entry."""
        if state == FOLDED:
            return self._folded(saga_id, seq, {} if folded is None else folded)
        where = where_in(self._database, saga_id)
        return unpack_change(state, before, where) or unpack_state(self._states_before(saga_id, seq + 1), where)

    def _folded(self, saga_id: str, seq: int, folded: dict[str, Saga]) -> SagaMetadata:
        saga = folded.pop(saga_id, None)
        at = seq
        try:
            for record in self._entries.between(saga_id, 0 if saga is None else saga.seq, seq):
                at = record.seq
                saga = evolve(saga, _as_people_see_it(record))
            if saga is None:
                raise LookupError("the saga has no entries")
            shown = metadata_of(saga)
        except JournalError:
            raise
        except Exception as error:  # what is read is of the right types, and may still make no sense
            raise unreadable_state(self._entries.where(saga_id, at), error) from error
        folded[saga_id] = saga
        return shown

    def _states_before(self, saga_id: str, seq: int) -> Iterator[bytes]:
        """The packed states of a saga's appends, the last first."""
        while True:
            rows = self._database.rows(
                "SELECT state, seq FROM journal WHERE saga_id = ? AND seq < ? AND state IS NOT NULL"
                " ORDER BY seq DESC LIMIT ?",
                (saga_id, seq, _STATES_AT_ONCE),
            )
            if not rows:
                return
            yield from (state for state, _ in rows)
            seq = rows[-1][1]


def _as_people_see_it(record: JournalRecord) -> Entry:
    """The entry with the machine's time of its writing in place of the system's."""
    entry = record.entry
    ahead_s = 0.0 if record.wall_at is None else record.wall_at - entry.at
    if abs(ahead_s) <= CLOCK_ROUNDING_S:
        return entry
    if isinstance(entry, RetryScheduled):
        return changed(entry, at=record.wall_at, not_before=entry.not_before + ahead_s)
    return changed(entry, at=record.wall_at)


def _at_host(saga: SagaMetadata, host_id: str | None) -> SagaMetadata:
    """The saga with the name of the host that owns it."""
    return saga if host_id is None else replace(saga, host=host_name(host_id))
