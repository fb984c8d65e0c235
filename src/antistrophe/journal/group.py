"""Group commit: what several appends write becomes durable in one transaction, or nothing of it does."""

from __future__ import annotations

from types import TracebackType

from antistrophe.storage.database import Database


class GroupCommit:
    """Appends between ``open`` and its end share one transaction, and so one sync of the log.

    What they write is seen by this connection alone until ``commit``. Once one of them has failed, the group is
    ``broken``: it can't be committed any more, for nobody knows what the failed one has left in the transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._begun = False
        self.broken = False

    def open(self) -> None:
        """Let appends share from now on. The file's lock is taken by the first of them."""
        self.broken = False
        self._database.share(self)

    def commit(self) -> None:
        """Make all of it durable, and let no more take part. Raises JournalError where the file can't be written, or
        RuntimeError where the group is broken; nothing of it counts then, and the journal stays usable."""
        if self.broken:
            self.roll_back()
            raise RuntimeError("one of the appends has failed; the group can only be rolled back")
        self._database.share(None)
        if self._begun:
            self._begun = False
            self._database.end(commit=True)

    def roll_back(self) -> None:
        """Undo all of it, and let no more take part."""
        self._database.share(None)
        if self._begun:
            self._begun = False
            self._database.end(commit=False)

    def __enter__(self) -> Database:
        if not self._begun:
            self._database.begin()
            self._begun = True
        return self._database

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.broken = True
