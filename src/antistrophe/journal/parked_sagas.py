"""Keeps what the file knows of parked sagas up to date, in the transaction in which a saga is parked or goes on."""

from __future__ import annotations

from antistrophe.journal.saga_counts import PARKED
from antistrophe.journal.text_index import TextIndex
from antistrophe.storage.database import Database


class ParkedSagas:
    """The number of parked sagas in one database, and their texts in its index."""

    def __init__(self, database: Database, texts: TextIndex) -> None:
        self._database = database
        self._texts = texts

    def leave(self, saga_id: str) -> None:
        """A row is about to change: where its saga is parked, it is one less, and what it says leaves the index."""
        found = self._database.row("SELECT accepted FROM sagas WHERE id = ? AND status = ?", (saga_id, PARKED))
        if found is not None:
            self._texts.remove(found[0])
            self._database.execute("UPDATE parked SET number = number - 1")

    def enter(self, saga_id: str) -> None:
        """The row says now that the saga is parked. Where the index has come as far, it gets what the row says."""
        (accepted,) = self._database.row("SELECT accepted FROM sagas WHERE id = ?", (saga_id,))
        self._texts.add_again(accepted)
        self._database.execute("UPDATE parked SET number = number + 1")
