"""How far those may go who read a journal by positions, each time on another connection."""

from __future__ import annotations

from antistrophe.storage.connection import SqlDatabase
from antistrophe.storage.postgres_feed import OrderedFeed


class SafeHead:
    """Remembers what an earlier look has found out. Any thread may use it."""

    def __init__(self) -> None:
        self._feed = OrderedFeed("journal", "journal_positions")

    def of(self, database: SqlDatabase) -> int | None:
        """The last position up to which nothing comes any more; None where positions are seen in their order, in a
        file. Ask before a transaction begins. Raises JournalError."""
        return self._feed.safe_head(database) if database.kind == "postgresql" else None
