"""The index of texts: finds finished and parked sagas by any three characters in a row of id, name, error or reason to
wait.

It is a part of the file that may be missing, behind, or dropped at any time. What it finds is looked at again, and what
it does not have yet is searched without it, so no answer depends on it but by its time. It has no texts, only which
sagas have which three characters (FTS5, "trigram"). Sagas that have finished or are parked are in it, in the order in
which they did, up to a position that it keeps. Final sagas never change; a parked one that goes on is taken out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from antistrophe.errors import JournalError
from antistrophe.journal.saga_counts import FINAL, PARKED
from antistrophe.storage.database import Database

LENGTH = 3
"""A shorter text can't be looked up."""

_TEXTS = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS saga_texts USING fts5(id, name, error, waiting, status,"
    " content='', detail=none, columnsize=0, tokenize='trigram')"
)
_END = "CREATE TABLE IF NOT EXISTS texts_indexed(finished INTEGER NOT NULL, parked INTEGER NOT NULL DEFAULT 0)"
_MARKED = (*FINAL, PARKED)
_ROWS = "SELECT finished, accepted, id, name, error, waiting, status FROM sagas"
_PAGES_AT_ONCE = 16
_MOST_TRIGRAMS = 24
"""More do not make the sagas that have all of them fewer."""

_PROBED = 16
"""So many of the last sagas that have three characters tell how often they come."""

_RARE, _FREQUENT = 64, 4
"""Of so many sagas one has three characters that are rare, or more than one has those that are frequent."""

_ENOUGH = 3
"""So many rare ones are as good as all: each further one is looked up for each saga that has the others."""

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}
"""The errors of an index that is damaged or gone. After each of them the transaction can go on."""


class TextIndex:
    """The index in one SQLite database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._merge_pages = -_PAGES_AT_ONCE  # below zero: begin with all that there is

    def end(self) -> int:
        """Each final saga that finished at this position or before is in the index; 0 where there is no index, or none
        that this SQLite can read."""
        return self.ends()[0]

    def ends(self) -> tuple[int, int]:
        """As ``end``, for final sagas and for parked ones."""
        try:
            self._database.rows("SELECT rowid FROM saga_texts LIMIT 0")
            found = self._database.row("SELECT finished, parked FROM texts_indexed")
        except JournalError:
            return 0, 0
        return (0, 0) if found is None else (int(found[0]), int(found[1]))

    def behind(self, most: int) -> int:
        """How many sagas have finished or were parked behind the end of the index, counted up to ``most``."""
        sql = "SELECT count(*) FROM (SELECT 1 FROM sagas WHERE finished > ? LIMIT ?)"
        return int(self._database.row(sql, (self.end(), most))[0])

    def lacks_parked(self) -> bool:
        """Whether an older release has made the index, and the sagas that were parked then are still to be added."""
        end, parked_end = self.ends()
        return parked_end < end

    def add(self, most: int) -> int:
        """Add the next sagas that have finished or are parked, at most so many, in one transaction. Returns how many
        there were. Raises JournalError where the file can't be written, or this SQLite has no such index."""
        with self._database.transaction() as database:
            for statement in (_END, _TEXTS):
                database.execute(statement)
            end, parked_end = self.ends()
            if parked_end < end:
                sql = f"{_ROWS} WHERE status = '{PARKED}' AND finished > ? AND finished <= ? ORDER BY finished LIMIT ?"
                rows = database.rows(sql, (parked_end, end, most))
                parked_end = rows[-1][0] if len(rows) == most else end
            else:
                rows = database.rows(f"{_ROWS} WHERE finished > ? ORDER BY finished LIMIT ?", (end, most))
                end = parked_end = rows[-1][0] if rows else end
            self._insert(rows)
            database.execute("DELETE FROM texts_indexed")
            database.execute("INSERT INTO texts_indexed(finished, parked) VALUES (?, ?)", (end, parked_end))
        return len(rows)

    def _has(self, finished: int | None, status: str) -> bool:
        """Whether the index has sagas of that status that finished, or were parked, at that position."""
        end, parked_end = self.ends()
        return finished is not None and status in _MARKED and finished <= (parked_end if status == PARKED else end)

    def add_again(self, accepted: int) -> None:
        """Add a saga that was removed, with the texts that it has now, within the same transaction. A damaged index is
        left as it is."""
        row = self._database.row(f"{_ROWS} WHERE accepted = ?", (accepted,))
        if row is not None and self._has(row[0], row[-1]):
            try:
                self._insert([row])
            except JournalError as error:
                if not _is_damaged(error):
                    raise

    def _insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._database.execute_many(
            "INSERT INTO saga_texts(rowid, id, name, error, waiting, status) VALUES (?, ?, ?, ?, ?, ?)",
            [(*texts, _mark(status)) for _, *texts, status in rows],
        )

    def remove(self, accepted: int) -> None:
        """Take the saga that was accepted at that position out of the index, within the transaction that deletes the
        saga or changes its texts, and before that. What is left of it in a damaged index does no harm."""
        row = self._database.row(f"{_ROWS} WHERE accepted = ?", (accepted,))
        if row is None or not self._has(row[0], row[-1]):
            return
        _, _, *texts, status = row
        try:
            self._database.execute(
                "INSERT INTO saga_texts(saga_texts, rowid, id, name, error, waiting, status)"
                " VALUES ('delete', ?, ?, ?, ?, ?, ?)",
                (accepted, *texts, _mark(status)),
            )
        except JournalError as error:
            if not _is_damaged(error):
                raise

    def tidy(self) -> bool:
        """Let what was taken out really go, a few pages at a time, in a transaction of its own. False once there is no
        more to do; True asks for another call."""
        if not self.end():
            return False
        try:
            with self._database.transaction() as database:
                (before,) = database.row("SELECT total_changes()")
                database.execute("INSERT INTO saga_texts(saga_texts, rank) VALUES ('merge', ?)", (self._merge_pages,))
                (after,) = database.row("SELECT total_changes()")
        except JournalError as error:
            if _is_damaged(error):
                return False
            raise
        self._merge_pages = _PAGES_AT_ONCE
        return bool(after - before > 1)  # the statement itself counts as one

    def candidates(self, texts: Sequence[str], status: str | None, before: int, most: int) -> list[int]:
        """The positions before that one at which sagas were accepted that may have all these texts, and that
        status; the last one first, at most so many. Raises JournalError where the index is damaged."""
        parts = dict.fromkeys(part for text in texts for part in _trigrams(text))
        wanted = [*parts][-_MOST_TRIGRAMS:] + ([] if status is None else [_mark(status)])
        return self._with_all(self._rarest(wanted, before), before, most)

    def _rarest(self, parts: Sequence[str], before: int) -> list[str]:
        """Those of these parts that few sagas have, judged by how far the last ones are apart that have them. A part
        that nearly all have costs a look for each saga that has the others, and rules out none."""
        sagas = self._database.rows(
            "SELECT accepted FROM sagas WHERE accepted < ? ORDER BY accepted DESC LIMIT ?", (before, _PROBED)
        )
        usual = before - sagas[-1][0] if sagas else 1
        apart: dict[str, int] = {}
        for number in reversed(range(len(parts))):  # ids differ at their ends
            part = parts[number]
            last = self._with_all([part], before, _PROBED)
            if len(last) < _PROBED:  # then the others cost little; the last part stands for a status that is wanted
                return [*dict.fromkeys([part, parts[-1], *parts[max(0, number - _ENOUGH + 1) : number]])]
            apart[part] = before - last[-1]
            if sum(each >= _RARE * usual for each in apart.values()) == _ENOUGH:
                break
        rarest = sorted(apart, key=lambda part: -apart[part])[:_ENOUGH]
        return [part for part in rarest if part == rarest[0] or apart[part] >= _FREQUENT * usual]

    def _with_all(self, parts: Sequence[str], before: int, most: int) -> list[int]:
        match = " AND ".join('"' + part.replace('"', '""') + '"' for part in parts)
        sql = "SELECT rowid FROM saga_texts WHERE saga_texts MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?"
        return [accepted for (accepted,) in self._database.rows(sql, (match, before, most))]


def _is_damaged(error: JournalError) -> bool:
    return (getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF) in _DAMAGED


def can_look_up(text: str) -> bool:
    """Whether the index can tell which sagas have that text."""
    return len(text) >= LENGTH and "\0" not in text  # behind a zero, neither the index nor LIKE reads on


def _trigrams(text: str) -> list[str]:
    return [text[start : start + LENGTH] for start in range(len(text) - LENGTH + 1)] if can_look_up(text) else []


def _mark(status: str) -> str:
    """Three characters that stand for a status."""
    return f"\x02\x02{_MARKED.index(status)}"
