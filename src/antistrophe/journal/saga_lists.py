"""Lists sagas by status, name and text, a page at a time.

A text is searched for in the last sagas first. Where they don't fill the page, the index of texts says which of the
finished sagas may have it. Without the index all rows are read, in parts: where an answer has to come soon, a page ends
after some time, with a cursor that says how far it has looked.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from datetime import datetime

from antistrophe.errors import JournalError
from antistrophe.journal.dialect import Dialect, dialect_of
from antistrophe.journal.journal import SagaPage
from antistrophe.journal.moments import last_before
from antistrophe.journal.paging import check_page, cursor_before
from antistrophe.journal.saga_counts import PARKED
from antistrophe.journal.stored_states import StoredStates
from antistrophe.journal.text_index import can_look_up
from antistrophe.journal.texts import Texts
from antistrophe.records import SagaMetadata, SagaStatus
from antistrophe.serialization.struct_dataclass import dataclass
from antistrophe.serialization.whole_numbers import LARGEST_INTEGER
from antistrophe.storage.connection import SqlDatabase

LONGEST_S = 0.1
"""So long a page looks for a text where an answer has to come soon."""

MOST_BEHIND = 20_000
"""With more finished sagas that are not in the index yet, all rows are read."""

_AT_ONCE = 1_000
_FIRST = 250
"""Where none of so many sagas has a text, the index is asked; else not before so many more."""

_RUNNING = tuple(status.value for status in SagaStatus if status.running)
_NOT_FINAL = (*_RUNNING, PARKED)


@dataclass(frozen=True, slots=True)
class Which:
    """Which sagas a list shows: those of that status and name, that have that text; those that run or are parked; and
    those that were accepted before that moment."""

    status: SagaStatus | None = None
    name: str | None = None
    text: str | None = None
    unfinished: bool = False
    accepted_by: datetime | None = None

    def condition(self, words: Dialect) -> tuple[str, tuple[str, ...]]:
        """The SQL for those of that status and name, which goes before other conditions, and its values."""
        conditions: list[str] = []
        values: list[str] = []
        # Search by the better of two indexes: there may be any number of final sagas, and there are few others. A plus
        # sign hides the other index from SQLite.
        by_name = self.status is None or self.status.final
        if self.status is not None:
            conditions.append(f"{words.off_index if by_name and self.name is not None else ''}sagas.status = ? AND ")
            values.append(self.status.value)
        if self.name is not None:
            conditions.append(f"{'' if by_name else words.off_index}sagas.name = ? AND ")
            values.append(self.name)
        if self.unfinished:
            conditions.append(f"sagas.status IN {_NOT_FINAL} AND ")
        return "".join(conditions), tuple(values)

    @property
    def may_be_indexed(self) -> bool:
        """Whether the index of texts can say which of them have a text."""
        return not self.unfinished and (self.status is None or not self.status.running)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which sagas are searched for a text. ``where`` and ``values``: the condition of ``which``; ``contains``: the
    values of that for the text."""

    which: Which
    text: str
    where: str
    values: tuple[str, ...]
    contains: tuple[str, ...]


def _wanted(which: Which, text: str, words: Dialect) -> _Wanted:
    return _Wanted(which, text, *which.condition(words), words.searched(text))


@dataclass(frozen=True, slots=True)
class _Found:
    """Positions of acceptance, the last first. ``down_to``: the position down to which was looked; None: all."""

    accepted: list[int]
    down_to: int | None


class SagaLists:
    """The lists of one database."""

    def __init__(self, database: SqlDatabase, states: StoredStates, index: Texts) -> None:
        self._database = database
        self._states = states
        self._index = index
        self._words = dialect_of(database.kind)

    def page(self, which: Which, limit: int, cursor: str | None, part_bytes: int | None) -> SagaPage:
        """See ``Journal.list``."""
        before = check_page(limit, cursor)
        if not all(self._database.holds(each) for each in (which.name, which.text) if each is not None):
            return SagaPage(())  # no saga has a text that can't be stored
        with self._database.one_moment():  # a saga may be purged meanwhile
            if which.accepted_by is not None:
                last = last_before(self._database, int(which.accepted_by.timestamp() * 1e6))
                before = last + 1 if before is None else min(before, last + 1)
            if which.text:
                return self._with_text(_wanted(which, which.text, self._words), before, limit, part_bytes)
            return self._states.page("accepted", which.condition(self._words), before, limit, part_bytes)

    def _with_text(self, wanted: _Wanted, before: int | None, limit: int, part_bytes: int | None) -> SagaPage:
        """A page of the sagas with a text, of whole pages of what the search finds."""
        until = None if part_bytes is None else time.monotonic() + LONGEST_S
        position = LARGEST_INTEGER if before is None else before
        sagas: list[SagaMetadata] = []
        while True:
            number = min(limit - len(sagas), _AT_ONCE)
            found = self._search(wanted, position, number + 1, until)
            shown = found.accepted[:number]
            page = SagaPage(())
            if shown:
                here = f"sagas.accepted IN ({', '.join(map(str, shown))}) AND "
                page = self._states.page("accepted", (here, ()), None, number, part_bytes)
                sagas += page.sagas
            if page.cursor is not None:  # as much as fits into a message
                return SagaPage(tuple(sagas), page.cursor)
            if len(found.accepted) <= number and found.down_to is None:
                return SagaPage(tuple(sagas))
            position = shown[-1] if len(found.accepted) > number or found.down_to is None else found.down_to
            if part_bytes is not None or len(sagas) == limit:
                return SagaPage(tuple(sagas), cursor_before(position))

    def _search(self, wanted: _Wanted, before: int, number: int, until: float | None) -> _Found:
        """The last sagas before that position that are wanted, at most so many. After ``until`` (the monotonic clock)
        the search ends wherever it is."""
        found: list[int] = []
        use_index = can_look_up(wanted.text) and wanted.which.may_be_indexed
        looked_at = 0
        while True:
            most = _FIRST if use_index and not looked_at else _AT_ONCE
            rows = self._database.rows(
                f"SELECT accepted, {self._words.contains} FROM sagas WHERE {wanted.where}accepted < ?"
                " ORDER BY accepted DESC LIMIT ?",
                (*wanted.contains, *wanted.values, before, most),
            )
            looked_at += len(rows)
            found += [accepted for accepted, contains in rows if contains]
            if len(found) >= number:
                return _Found(found[:number], found[number - 1])
            if len(rows) < most:
                return _Found(found, None)
            before = rows[-1][0]
            if use_index and found and looked_at < _AT_ONCE:
                continue
            if use_index and (rest := self._by_index(wanted, before, number - len(found), until)) is not None:
                return _Found(found + rest.accepted, rest.down_to)
            use_index = False
            if until is not None and time.monotonic() > until:
                return _Found(found, before)

    def _by_index(self, wanted: _Wanted, before: int, number: int, until: float | None) -> _Found | None:
        """As ``_search``, with the index; None where there is none that helps."""
        end, parked_end = self._index.ends()
        if not end or self._index.behind(MOST_BEHIND) >= MOST_BEHIND:
            return None
        which = wanted.which
        texts = [wanted.text] if which.name is None else [wanted.text, which.name]
        status = None if which.status is None else which.status.value
        left = self._not_indexed(wanted, end, parked_end, before, number)
        found: list[int] = []
        down_to: int | None = before
        while down_to is not None and len(found) < number:
            try:
                maybe = self._index.candidates(texts, status, down_to, _AT_ONCE)
            except JournalError:  # it is damaged
                return None
            found += self._those_of(wanted, maybe)
            down_to = maybe[-1] if len(maybe) == _AT_ONCE else None
            if until is not None and time.monotonic() > until:
                break
        both = [each for each in heapq.merge(found, left, reverse=True) if down_to is None or each >= down_to]
        return _Found(both[:number], both[number - 1] if len(both) >= number else down_to)

    def _not_indexed(self, wanted: _Wanted, end: int, parked_end: int, before: int, number: int) -> list[int]:
        """The wanted sagas that are not in the index: those that run, and the last ones that finished or were parked;
        of an index that an older release has made all that are parked."""
        statuses = _RUNNING if parked_end == end else _NOT_FINAL
        rows = self._database.rows(
            f"SELECT accepted FROM sagas NOT INDEXED WHERE {wanted.where}accepted < ? AND ({self._words.contains})"
            f" AND accepted IN (SELECT accepted FROM sagas WHERE status IN {statuses}"
            " UNION SELECT accepted FROM sagas WHERE finished > ?) ORDER BY accepted DESC LIMIT ?",
            (*wanted.values, before, *wanted.contains, end, number),
        )
        return [accepted for (accepted,) in rows]

    def _those_of(self, wanted: _Wanted, maybe: Sequence[int]) -> list[int]:
        """The wanted ones of the indexed sagas that were accepted at these positions."""
        rows = self._database.rows(
            f"SELECT accepted FROM sagas NOT INDEXED WHERE {wanted.where}accepted IN ({', '.join(map(str, maybe))})"
            f" AND ({self._words.contains}) ORDER BY accepted DESC",
            (*wanted.values, *wanted.contains),
        )
        return [accepted for (accepted,) in rows]
