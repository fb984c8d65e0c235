"""Removes the shapes that no saga names any more, once in a while, at the end of a purge.

Nobody counts how many sagas name a shape. So all acceptances are looked at, and the shapes go that none of them names.
That happens once for as many purged sagas as there are others, so a purged saga pays for one look.

PostgreSQL keeps its shapes: a transaction that nobody else can see yet may name one of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from antistrophe.errors import UnreadableDataError
from antistrophe.journal.saga_counts import FINAL
from antistrophe.journal.shapes import BEGINNING_BYTES, shape_named_in
from antistrophe.storage.connection import SqlDatabase
from antistrophe.storage.database import Database

FEWEST = 1_000
"""Fewer shapes than that stay, and after fewer purged sagas nothing is looked at."""

_LOOKED_AT_ONCE = 500
_DELETED_AT_ONCE = 50
_MOST_NAMES = 50_000
_MOST_WHOLE = 1_000
"""An acceptance that is stored whole names no shape until its saga is erased, so it is looked at again and again. Where
there are more of them, all shapes stay."""

_FIRST = f"substr(journal.entry, 1, {BEGINNING_BYTES})"


class Shapes(Protocol):
    """What a purge asks of the shapes of a database."""

    def tidy(self) -> bool:
        """Do the next small part, where it is time for one. False once there is no more to do."""


class _KeptShapes:
    def tidy(self) -> bool:
        """See ``Shapes``."""
        return False


class UnusedShapes:
    """One look at the shapes of a SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._looked_up_to = 0
        self._whole: list[int] = []
        self._parts = self._walk()

    def tidy(self) -> bool:
        """See ``Shapes``. Each part takes the file's write lock once at most."""
        return next(self._parts, False)

    def _walk(self) -> Iterator[bool]:
        purged = self._purged_since()
        if purged is None:
            return
        with contextlib.suppress(_NotKnownError):
            yield from self._remove_unnamed()
        self._database.execute(
            "INSERT INTO purges(what, number, position) VALUES ('shapes', ?, 0)"
            " ON CONFLICT(what) DO UPDATE SET number = excluded.number",
            (purged,),
        )

    def _purged_since(self) -> int | None:
        """How many sagas have ever been purged; None where it is not time to look."""
        purged, looked_at = self._database.row(
            f"SELECT coalesce(sum(CASE WHEN what IN {FINAL} THEN number END), 0),"
            " coalesce(sum(CASE WHEN what = 'shapes' THEN number END), 0) FROM purges"
        )
        if purged - looked_at < FEWEST:
            return None
        (shapes,) = self._database.row("SELECT count(*) FROM (SELECT 1 FROM shapes LIMIT ?)", (FEWEST,))
        if shapes < FEWEST or purged - looked_at < self._database.row("SELECT count(*) FROM sagas")[0]:
            return None
        return int(purged)

    def _remove_unnamed(self) -> Iterator[bool]:
        unnamed: set[bytes] = set()
        after = b""
        while rows := self._database.rows(
            "SELECT hash FROM shapes WHERE hash > ? ORDER BY hash LIMIT ?", (after, _LOOKED_AT_ONCE)
        ):
            unnamed.update(name for (name,) in rows)
            after = rows[-1][0]
            yield True
            if len(unnamed) >= _MOST_NAMES:
                yield from self._delete(unnamed)
        yield from self._delete(unnamed)

    def _look(self, unnamed: set[bytes]) -> bool:
        """Take the names out that the next acceptances have. False where there are no more."""
        rows = self._database.rows(
            f"SELECT journal.position, {_FIRST} FROM sagas JOIN journal ON journal.position = sagas.accepted"
            " WHERE sagas.accepted > ? ORDER BY sagas.accepted LIMIT ?",
            (self._looked_up_to, _LOOKED_AT_ONCE),
        )
        for position, beginning in rows:
            self._looked_up_to = position
            name = _name_in(beginning)
            if name is None:
                self._whole.append(position)
            else:
                unnamed.discard(name)
        if len(self._whole) > _MOST_WHOLE:
            raise _NotKnownError
        return bool(rows)

    def _delete(self, unnamed: set[bytes]) -> Iterator[bool]:
        """Delete those of these shapes that no acceptance names."""
        self._looked_up_to, self._whole = 0, []
        while unnamed:
            while self._look(unnamed):
                yield True
            with self._database.transaction():  # nobody accepts or erases a saga meanwhile
                while self._look(unnamed):
                    pass
                self._look_again(unnamed)
                for _ in range(min(len(unnamed), _DELETED_AT_ONCE)):
                    self._database.execute("DELETE FROM shapes WHERE hash = ?", (unnamed.pop(),))
            yield True

    def _look_again(self, unnamed: set[bytes]) -> None:
        """An acceptance that was whole may name a shape by now."""
        for position in self._whole:
            row = self._database.row(f"SELECT {_FIRST} FROM journal WHERE position = ?", (position,))
            if row is not None and (name := _name_in(row[0])) is not None:
                unnamed.discard(name)


class _NotKnownError(Exception):
    """Nobody can say which shapes are named."""


def _name_in(beginning: object) -> bytes | None:
    try:
        return shape_named_in(beginning)
    except UnreadableDataError as error:
        raise _NotKnownError from error


def unused_shapes_of(database: SqlDatabase) -> Shapes:
    """What removes the unused shapes of that database."""
    return UnusedShapes(database) if isinstance(database, Database) else _KeptShapes()
