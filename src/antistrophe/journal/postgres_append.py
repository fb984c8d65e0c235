"""Writes appends to the journal in PostgreSQL, and finds out what became of those whose answer was lost.

An append is one statement, and so are several that count together. It may be sent again as it is: if the first one was
done after all, the saga is no longer at the expected seq, and what stands there is compared byte by byte with what was
sent. If it comes late, it finds the same condition unmet, and does nothing: also where another server has as many
entries again, for the condition is the last entry itself. So nothing is written twice, and nothing is
reported as unwritten that was. What is found so is told once a standby has it, too: see ``PostgresDatabase.confirm``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from antistrophe.errors import CommitUnknownError, JournalBusyError, JournalError, RequestError
from antistrophe.journal.journal import EarlierTryError, Row, SagaEvent, SeqConflictError, by_stream
from antistrophe.journal.last_entry import digest_of_entry
from antistrophe.journal.packed_append import pack_append
from antistrophe.journal.postgres_last_append import LastAppend
from antistrophe.journal.postgres_statement import Append, statement
from antistrophe.journal.saga_owner import SagaOwner, SagaTakenError
from antistrophe.journal.tombstones import Tombstones, was_purged
from antistrophe.saga.entries import Entry, SagaAccepted
from antistrophe.storage.postgres_database import PostgresDatabase
from antistrophe.storage.postgres_functions import REFUSED

_WRITTEN = "SELECT position, at, kind, entry FROM journal WHERE saga_id = ? AND seq > ? AND seq <= ? ORDER BY seq"
_PROOF = "SELECT 1 FROM journal WHERE position = ? AND saga_id = ? AND seq = ? AND entry = ?"

_AGAIN_S = 0.05
_TIMES = 3


class PostgresAppends:
    """The appends of one connection. ``owner``: the host that writes; None: whoever knows the seq may. ``last``: the
    last one that was confirmed. ``gathered``: those that the commit of a group is to write; None outside of such a
    group."""

    def __init__(self, database: PostgresDatabase, owner: SagaOwner | None) -> None:
        self._database = database
        self._owner = owner
        self._tombstones = Tombstones(database)
        self.last = LastAppend()
        self._unknown: dict[str, set[int]] = {}
        self._transaction: tuple[int, list[tuple[str, int]]] = (0, [])
        self.gathered: list[Append] | None = None

    def made(
        self,
        saga_id: str,
        expected_seq: int,
        entries: Sequence[Entry],
        events: Sequence[SagaEvent],
        row: Row,
        ahead_s: float,
    ) -> Append:
        """An append by the owner. Raises RequestError for one that PostgreSQL can't store."""
        first, owner = entries[0], self._owner
        if isinstance(first, SagaAccepted):
            for what, text in (("id of a saga", saga_id), ("id of a request", first.request_id)):
                if not self._database.holds(text):
                    raise RequestError(f"PostgreSQL can't store this {what}, which has a zero character: {text!r}")
        rows, shape = pack_append(saga_id, expected_seq, entries, row, ahead_s)
        if owner is None:
            return Append(saga_id, expected_seq, rows, first, shape, row, events=by_stream(events))
        goes_on = not isinstance(first, SagaAccepted)
        token, last = (owner.token_of(saga_id), owner.last_of(saga_id)) if goes_on else (None, None)
        owner.appends(saga_id, digest_of_entry(rows[-1][4]))
        return Append(saga_id, expected_seq, rows, first, shape, row, owner.host, token, last, by_stream(events))

    def write(self, appends: Sequence[Append]) -> int:
        """Write appends, all or none, in a transaction of their own. Returns the position of the last entry.

        Raises CommitUnknownError where nobody can say whether they were written; to make the same appends again tells.
        Where the server refuses one of several, it raises JournalError; where it refuses a single one,
        SeqConflictError, SagaTakenError or SagaExistsError.
        """
        sql, values = statement(appends, self._database.lock_ms)
        until = time.monotonic() + self._database.answer_s
        left = _TIMES
        while True:
            left -= 1
            try:
                position = self._outcome(appends, self._database.returning(sql, values)[0])
                self.last.confirmed([each.rows[-1] for each in appends], position)
                for each in appends:
                    self._unknown.get(each.saga_id, set()).discard(each.expected_seq)
                return position
            except CommitUnknownError:
                for each in appends:
                    self._note(each.name)
                if time.monotonic() > until or not left:
                    raise
            except JournalBusyError as error:
                # Two that wait for each other, of which the server ends one, are the one case that another try mends.
                if _code_of(error) not in {"40P01", "40001"} or not left:
                    if all(map(self._is_unknown, appends)):
                        raise _unknown(error) from error
                    raise
            except JournalError as error:
                if _code_of(error) == REFUSED:
                    return self._refused(appends)
                if not all(map(self._is_unknown, appends)):
                    raise
                if time.monotonic() > until or not left:
                    raise _unknown(error) from error
                time.sleep(_AGAIN_S)  # the server has gone away with the answer, and may be back soon

    def write_in(self, append: Append) -> int:
        """Write an append in the open transaction. Returns the position of its last entry."""
        sql, values = statement((append,), None)
        found = self._database.returning(sql, values)[0]
        position = self._outcome((append,), found)
        last = append.rows[-1]
        if found[1] != self._transaction[0]:
            self._transaction = (found[1], [])
        self._transaction[1].append(append.name)
        if found[0] == "written":  # what was there already proves nothing of this transaction
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

    def _outcome(self, appends: Sequence[Append], found: Sequence[Any]) -> int:
        outcome, _, position, seq, host, token = found
        if outcome == "written":
            for each in appends:
                self._unknown.pop(each.saga_id, None)  # what this append goes on from is known now
            return int(position)
        if len(appends) > 1:
            return self._refused(appends)
        # What was unknown stays in mind: a transaction around it may break, and then it is made once more.
        if (own := self._own_position(appends)) is not None:
            return own
        (append,) = appends
        if outcome == "taken":
            raise SagaTakenError(append.saga_id, host=host, token=token)
        if self._is_unknown(append):
            self._database.confirm()
        if outcome == "purged" and (purged := self._tombstones.find(append.saga_id)) is not None:
            raise was_purged(append.saga_id, purged)
        conflict = EarlierTryError if self._is_unknown(append) else SeqConflictError
        raise conflict(append.saga_id, expected=append.expected_seq, actual=seq or 0)

    def _refused(self, appends: Sequence[Append]) -> int:
        """The server refuses one of these appends: it was made already, with the others, or all of them fail."""
        if (own := self._own_position(appends)) is not None:
            return own
        raise JournalError(
            f"{self._database.where}: one of {len(appends)} appends that count together is refused, and none was"
            " written: make each alone, which tells"
        )

    def _own_position(self, appends: Sequence[Append]) -> int | None:
        """The position of the last entry, where nobody could say whether these appends were written, and what stands in
        their place are they."""
        last: int | None = None
        for append in appends:
            if not self._is_unknown(append):
                return None
            seq = append.expected_seq
            found = self._database.rows(_WRITTEN, (append.saga_id, seq, seq + len(append.rows)))
            if [tuple(row[1:]) for row in found] != [tuple(row[2:5]) for row in append.rows]:
                return None
            last = max(last or 0, int(found[-1][0]))
        self._database.confirm()
        return last


def _unknown(error: JournalError) -> CommitUnknownError:
    """What to raise where the last try has written nothing, and an earlier one may have."""
    return CommitUnknownError(f"{error}; an earlier try may have been written")


def _code_of(error: JournalError) -> str | None:
    """The code by which the server names the error."""
    code: str | None = getattr(error.__cause__, "sqlstate", None)
    return code
