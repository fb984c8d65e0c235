"""Writes appends to the journal in PostgreSQL, and finds out what became of those whose answer was lost.

An append is one statement. It may be sent again as it is: if the first one was done after all, the saga is no longer at
the expected seq, and what stands there is compared byte by byte with what was sent. If it comes late, it finds the same
condition unmet, and does nothing. So nothing is written twice, and nothing is reported as unwritten that was.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from antistrophe.errors import CommitUnknownError, JournalBusyError, JournalError, RequestError
from antistrophe.journal.journal import Row, SeqConflictError
from antistrophe.journal.journal_questions import LIVE
from antistrophe.journal.saga_owner import SagaOwner, SagaTakenError
from antistrophe.journal.shapes import Shape
from antistrophe.journal.tombstones import Tombstones, digest_of, was_purged
from antistrophe.saga.entries import Entry, SagaAccepted
from antistrophe.saga.listed import Listed
from antistrophe.storage.portable_sql import SCHEMA
from antistrophe.storage.postgres_database import PostgresDatabase

CALL = (
    f"SELECT outcome, xid, at_position, at_seq, at_host, at_token FROM {SCHEMA}.append_1(?::text, ?::bigint, ?::text,"
    " ?::bigint, ?::bigint, ?::bigint[], ?::text[], ?::bytea[], ?::bytea, ?::boolean, ?::text, ?::boolean, ?::boolean,"
    " ?::text, ?::text, ?::text, ?::text, ?::text[], ?::bytea, ?::bytea, ?::bytea)"
)
"""The statement of an append. ``Append.values`` are its values."""

_WRITTEN = "SELECT position, at, kind, entry FROM journal WHERE saga_id = ? AND seq > ? AND seq <= ? ORDER BY seq"
_PROOF = "SELECT 1 FROM journal WHERE position = ? AND saga_id = ? AND seq = ? AND entry = ?"

_AGAIN_S = 0.05
_TIMES = 3


@dataclass(frozen=True, slots=True)
class Append:
    """What one append writes: the rows of its entries as ``pack_append`` makes them, and the row of the saga."""

    saga_id: str
    expected_seq: int
    rows: Sequence[Sequence[Any]]
    first: Entry
    shape: Shape | None
    row: Row

    @property
    def name(self) -> tuple[str, int]:
        """What tells it from other appends: the saga, and the seq that it goes on from."""
        return self.saga_id, self.expected_seq

    def values(self, owner: SagaOwner | None, wait_ms: int | None) -> list[Any]:
        """The values of the statement."""
        row, accepted = self.row, self.first if isinstance(self.first, SagaAccepted) else None
        accepts = accepted is not None
        return [
            self.saga_id,
            self.expected_seq,
            None if owner is None else owner.host,
            None if owner is None or accepts else owner.token_of(self.saga_id),
            wait_ms,
            [each[2] for each in self.rows],
            [each[3] for each in self.rows],
            [each[4] for each in self.rows],
            self.rows[-1][5],
            not (isinstance(row, Listed) and not row.changed),
            row.status.value,
            row.status.value in LIVE,
            row.status.final,
            _searchable(row.error),
            _searchable(row.waiting),
            None if accepted is None else accepted.request_id,
            None if accepted is None else _searchable(accepted.spec.name),
            [] if accepted is None else sorted({label for step in accepted.spec.steps for label in step.runs_on}),
            digest_of(self.saga_id) if accepts else None,
            None if self.shape is None else self.shape.name,
            None if self.shape is None else self.shape.packed,
        ]


class PostgresAppends:
    """The appends of one connection. ``owner``: the host that writes; None: whoever knows the seq may."""

    def __init__(self, database: PostgresDatabase, owner: SagaOwner | None) -> None:
        self._database = database
        self._owner = owner
        self._tombstones = Tombstones(database)
        self._unknown: dict[str, set[int]] = {}
        self._transaction: tuple[int, list[tuple[str, int]]] = (0, [])

    def write(self, append: Append) -> int:
        """Write an append in a transaction of its own. Returns the position of the last entry. Raises
        CommitUnknownError where nobody can say whether it was written; to make the same append again tells."""
        self._refuse_unstorable(append)
        values = append.values(self._owner, self._database.lock_ms)
        until = time.monotonic() + self._database.answer_s
        left = _TIMES
        while True:
            left -= 1
            try:
                position = self._outcome(append, self._database.returning(CALL, values)[0])
                self._unknown.get(append.saga_id, set()).discard(append.expected_seq)
                return position
            except CommitUnknownError:
                self._note(append.name)
                if time.monotonic() > until or not left:
                    raise
            except JournalBusyError as error:
                # Two that wait for each other, of which the server ends one, are the one case that another try mends.
                if getattr(error.__cause__, "sqlstate", None) not in {"40P01", "40001"} or not left:
                    raise
            except JournalError:
                if self._is_unknown(append) and time.monotonic() < until and left:
                    time.sleep(_AGAIN_S)  # the server has gone away with the answer, and may be back soon
                    continue
                raise

    def write_in(self, append: Append) -> int:
        """Write an append in the open transaction. Returns the position of its last entry."""
        self._refuse_unstorable(append)
        found = self._database.returning(CALL, append.values(self._owner, None))[0]
        position = self._outcome(append, found)
        last = append.rows[-1]
        if found[1] != self._transaction[0]:
            self._transaction = (found[1], [])
        self._transaction[1].append(append.name)
        self._database.prove(found[1], _PROOF, (position, append.saga_id, last[1], last[4]))
        return position

    def are_unknown(self) -> None:
        """Nobody can say whether the last transaction was committed. Each of its appends tells that, made again."""
        for name in self._transaction[1]:
            self._note(name)

    def _note(self, name: tuple[str, int]) -> None:
        saga_id, expected_seq = name
        self._unknown.setdefault(saga_id, set()).add(expected_seq)

    def _is_unknown(self, append: Append) -> bool:
        return append.expected_seq in self._unknown.get(append.saga_id, ())

    def _outcome(self, append: Append, found: Sequence[Any]) -> int:
        outcome, _, position, seq, host, token = found
        if outcome == "written":
            self._unknown.pop(append.saga_id, None)  # what this append goes on from is known now
            return int(position)
        # What was unknown stays in mind: a transaction around it may break, and then it is made once more.
        if self._is_unknown(append) and (own := self._own_position(append)) is not None:
            return own
        if outcome == "taken":
            raise SagaTakenError(append.saga_id, host=host, token=token)
        if outcome == "purged" and (purged := self._tombstones.find(append.saga_id)) is not None:
            raise was_purged(append.saga_id, purged)
        raise SeqConflictError(append.saga_id, expected=append.expected_seq, actual=seq or 0)

    def _own_position(self, append: Append) -> int | None:
        """The position of the last entry where what stands in the place of this append is this append."""
        seq = append.expected_seq
        found = self._database.rows(_WRITTEN, (append.saga_id, seq, seq + len(append.rows)))
        same = [tuple(row[1:]) for row in found] == [tuple(row[2:5]) for row in append.rows]
        return int(found[-1][0]) if same else None

    def _refuse_unstorable(self, append: Append) -> None:
        first = append.first
        if isinstance(first, SagaAccepted):
            for what, text in (("id of a saga", append.saga_id), ("id of a request", first.request_id)):
                if not self._database.holds(text):
                    raise RequestError(f"PostgreSQL can't store this {what}, which has a zero character: {text!r}")


def _searchable(text: str | None) -> str | None:
    """A text of the list of sagas, where a zero character, which PostgreSQL can't store, has its picture in its place.
    The entries have the text itself."""
    return None if text is None else text.replace("\0", "\N{SYMBOL FOR NULL}")
