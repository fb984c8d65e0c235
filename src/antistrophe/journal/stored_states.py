"""Reads the states of sagas, as monitoring shows them, from the home's SQLite file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from antistrophe.definition.validation import is_text
from antistrophe.errors import JournalError
from antistrophe.journal.journal import SagaPage
from antistrophe.journal.paging import cursor_before, shown_bytes
from antistrophe.journal.rows import unpack_change, unpack_state, unreadable_metadata
from antistrophe.journal.stored_entries import PART_BYTES, where_in
from antistrophe.records import SagaChange, SagaMetadata
from antistrophe.serialization.whole_numbers import LARGEST_INTEGER
from antistrophe.storage.database import Database

_STATES = (
    "SELECT journal.state, sagas.id, sagas.accepted, sagas.finished, sagas.name, sagas.status, journal.seq, journal.at"
    " FROM sagas JOIN journal ON journal.position = sagas.updated"
)
_STATES_AT_ONCE = 64
_SAGAS_AT_ONCE = 100


class StoredStates:
    """The states in one database. A state that can't be read hides no other: it is shown as that."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, saga_id: str) -> SagaMetadata | None:
        """The state of a saga, or None if there is no such saga. Raises JournalError where it can't be read."""
        found = self._database.row(f"{_STATES} WHERE sagas.id = ?", (saga_id,)) if is_text(saga_id) else None
        return None if found is None else self._state(found[0], saga_id, found[6])

    def changes(self, after_position: int = 0, limit: int = 1000) -> list[SagaChange]:
        """See ``Journal.changes``."""
        rows = self._database.rows(
            "SELECT position, saga_id, seq, at, state FROM journal WHERE position > ? AND state IS NOT NULL"
            " ORDER BY position LIMIT ?",
            (after_position, limit),
        )
        shown: dict[str, SagaMetadata] = {}
        found: list[SagaChange] = []
        size = 0
        for position, saga_id, seq, at_us, state in rows:
            try:
                saga = self._state(state, saga_id, seq, shown.pop(saga_id, None))
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

    def page(
        self, by: str, wanted: tuple[str, Sequence[Any]], before: int | None, limit: int, part_bytes: int | None
    ) -> SagaPage:
        """A page of the sagas that are ``wanted`` (SQL and its values), those with the last position in the column
        ``by`` first. A saga may have many steps, so few are read at once where the page may end with any of them."""
        where, values = wanted
        sql = f"{_STATES} WHERE {where}sagas.{by} < ? ORDER BY sagas.{by} DESC LIMIT ?"
        before = LARGEST_INTEGER if before is None else before
        found: list[SagaMetadata] = []
        size = 0
        while True:
            length = min(limit - len(found), LARGEST_INTEGER - 1 if part_bytes is None else _SAGAS_AT_ONCE)
            rows = self._database.rows(sql, (*values, before, length + 1))
            for number, row in enumerate(rows[:length], start=1):
                found.append(self._shown(row))
                before = row[2] if by == "accepted" else row[3]
                size += 0 if part_bytes is None else shown_bytes(found[-1])
                if len(found) == limit or (part_bytes is not None and size >= part_bytes):
                    return SagaPage(tuple(found), cursor_before(before) if number < len(rows) else None)
            if len(rows) <= length:
                return SagaPage(tuple(found))

    def _shown(self, row: tuple[bytes | None, str, int, int | None, str, str, int, int]) -> SagaMetadata:
        """The state of a saga. An unreadable state hides no other."""
        state, saga_id, _, _, name, status, seq, at_us = row
        try:
            return self._state(state, saga_id, seq)
        except JournalError as error:
            return unreadable_metadata(saga_id, name, status, at_us, error)

    def _state(self, state: bytes | None, saga_id: str, seq: int, before: SagaMetadata | None = None) -> SagaMetadata:
        """The state of a saga since the append that ended with entry ``seq``, from what this append has packed and, if
        known, the state before it."""
        where = where_in(self._database, saga_id)
        return unpack_change(state, before, where) or unpack_state(self._states_before(saga_id, seq + 1), where)
