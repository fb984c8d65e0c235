"""The index of texts: finds finished sagas by any three characters in a row of id, name, error or reason to wait.

It is a part of the file that may be missing, behind, or dropped at any time. What it finds is looked at again, and what
it does not have yet is searched without it, so no answer depends on it but by its time. It has no texts, only which
sagas have which three characters (FTS5, "trigram"). Final sagas never change, and only they are in it, in the order in
which they finished, up to a position that it keeps.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from antistrophe.errors import JournalError
from antistrophe.journal.saga_counts import FINAL
from antistrophe.storage.database import Database

LENGTH = 3
"""A shorter text can't be looked up."""

_TEXTS = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS saga_texts USING fts5(id, name, error, waiting, status,"
    " content='', detail=none, columnsize=0, tokenize='trigram')"
)
_END = "CREATE TABLE IF NOT EXISTS texts_indexed(finished INTEGER NOT NULL)"
_PAGES_AT_ONCE = 16
_MOST_TRIGRAMS = 24
"""More do not make the sagas that have all of them fewer."""

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}
"""The errors of an index that is damaged or gone. After each of them the transaction can go on."""


class TextIndex:
    """The index in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._merge_pages = -_PAGES_AT_ONCE  # below zero: begin with all that there is

    def end(self) -> int:
        """Each final saga that finished at this position or before is in the index; 0 where there is no index, or none
        that this SQLite can read."""
        try:
            self._database.rows("SELECT rowid FROM saga_texts LIMIT 0")
            found = self._database.row("SELECT finished FROM texts_indexed")
        except JournalError:
            return 0
        return 0 if found is None else int(found[0])

    def behind(self, most: int) -> int:
        """How many sagas have finished that are not in the index, counted up to ``most``."""
        sql = "SELECT count(*) FROM (SELECT 1 FROM sagas WHERE finished > ? LIMIT ?)"
        return int(self._database.row(sql, (self.end(), most))[0])

    def add(self, most: int) -> int:
        """Add the next sagas that have finished, at most so many, in one transaction. Returns how many there were.
        Raises JournalError where the file can't be written, or this SQLite has no such index."""
        with self._database.transaction() as database:
            for statement in (_END, _TEXTS):
                database.execute(statement)
            end = self.end()
            rows = database.rows(
                f"SELECT finished, accepted, id, name, error, waiting, status FROM sagas WHERE finished > ?"
                f" AND +status IN {FINAL} ORDER BY finished LIMIT ?",
                (end, most),
            )
            if rows:
                self._insert(rows)
                database.execute("DELETE FROM texts_indexed")
                database.execute("INSERT INTO texts_indexed(finished) VALUES (?)", (rows[-1][0],))
        return len(rows)

    def add_again(self, accepted: int) -> None:
        """Add a saga that was removed, with the texts that it has now, within the same transaction. A damaged index is
        left as it is."""
        row = self._database.row(
            "SELECT finished, accepted, id, name, error, waiting, status FROM sagas WHERE accepted = ?", (accepted,)
        )
        if row is not None and row[-1] in FINAL and row[0] <= self.end():
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
        row = self._database.row(
            "SELECT finished, id, name, error, waiting, status FROM sagas WHERE accepted = ?", (accepted,)
        )
        if row is None or row[-1] not in FINAL or row[0] > self.end():
            return
        _, *texts, status = row
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
        """The positions before that one at which sagas were accepted that may have all these texts, and that final
        status; the last one first, at most so many. Raises JournalError where the index is damaged."""
        parts = dict.fromkeys(part for text in texts for part in _trigrams(text))
        wanted = [*parts][:_MOST_TRIGRAMS] + ([] if status is None else [_mark(status)])
        match = " AND ".join('"' + part.replace('"', '""') + '"' for part in wanted)
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
    """Three characters that stand for a final status."""
    return f"\x02\x02{FINAL.index(status)}"
