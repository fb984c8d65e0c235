"""What SQLite and PostgreSQL are told in different words, in SQL that is else the same."""

from __future__ import annotations

from dataclasses import dataclass

from antistrophe.journal.paging import like
from antistrophe.storage.connection import Kind

_SEARCHED = ("id", "name", "error", "waiting")
_C = '"C"'


@dataclass(frozen=True, slots=True)
class Dialect:
    """``off_index``: stands before a column whose index is not to be used. ``last_seq``: the seq of a row of ``sagas``.
    ``of_a_saga``: whether a row of ``journal`` is one of a saga, and not one that only keeps the last position.
    ``contains``: whether a row of ``sagas`` has a text in one of its columns. ``joined``: how ``journal`` is joined to
    ``sagas`` so that these are read first. ``host``: the id of the host that owns a saga. ``folds_case``: the text that
    is searched for is given in small letters."""

    off_index: str
    last_seq: str
    of_a_saga: str
    contains: str
    joined: str
    host: str
    folds_case: bool

    def searched(self, text: str) -> tuple[str, ...]:
        """The values of ``contains`` for a text."""
        folded = text.translate(_SMALL) if self.folds_case else text
        return (like(folded),) * len(_SEARCHED)


_SMALL = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}

_SQLITE = Dialect(
    off_index="+",
    last_seq="(SELECT max(seq) FROM journal AS its WHERE its.saga_id = sagas.id)",
    of_a_saga="saga_id <> x''",
    contains=" OR ".join(rf"sagas.{column} LIKE ? ESCAPE '\'" for column in _SEARCHED),
    joined="CROSS JOIN",
    host="NULL",
    folds_case=False,
)
_POSTGRESQL = Dialect(
    off_index="",
    last_seq="sagas.seq",
    of_a_saga="true",
    # With this collation small letters are made of ASCII letters alone, as SQLite does it.
    contains=" OR ".join(
        rf"coalesce(lower(sagas.{column} COLLATE {_C}) LIKE ? ESCAPE '\', false)" for column in _SEARCHED
    ),
    joined="JOIN",
    host="sagas.host",
    folds_case=True,
)
_DIALECTS: dict[Kind, Dialect] = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}


def dialect_of(kind: Kind) -> Dialect:
    """The words of that database."""
    return _DIALECTS[kind]
