"""Group commit: several appends become durable in one transaction, or none of them does."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from antistrophe.errors import CommitUnknownError
from antistrophe.storage.connection import SqlDatabase


class Group(Protocol):
    """Appends between ``open`` and ``commit`` become durable together."""

    @property
    def begun(self) -> bool:
        """There was an append."""

    @property
    def broken(self) -> bool:
        """An append has failed, so that the group can only be rolled back."""

    @property
    def position(self) -> int | None:
        """The position of the last entry, where the commit itself has written it; None where each append has told."""

    def open(self) -> None:
        """Let appends take part from now on."""

    def commit(self) -> None:
        """Make all of them durable. Raises JournalError; then none of them counts, and the journal stays usable.
        CommitUnknownError says that all of them may count: each tells that, where it is made again as it was."""

    def roll_back(self) -> None:
        """Undo all of them."""


class GroupCommit:
    """Appends between ``open`` and ``commit`` share one transaction, and so one sync of the log.

    Until ``commit`` this connection alone sees what they write. When one of them fails, the group is ``broken`` and
    can't be committed any more: the failed append may have left a part of its rows in the transaction. ``begun``: an
    append has opened the transaction.
    """

    position: int | None = None
    """See ``Group``."""

    def __init__(self, database: SqlDatabase, unknown: Callable[[], None] | None = None) -> None:
        """``unknown`` is called where nobody can say whether the group was committed."""
        self._database = database
        self._unknown = unknown
        self.begun = False
        self.broken = False

    def open(self) -> None:
        """Let appends share a transaction from now on. The first of them takes the file's lock."""
        self.broken = False
        self._database.share(self)

    def commit(self) -> None:
        """Make all appends durable and end the group. Raises JournalError if the file can't be written, and
        RuntimeError if the group is broken. Then none of the appends counts, and the journal stays usable. Raises
        CommitUnknownError where all of them may count: each tells that, where it is made again as it was."""
        if self.broken:
            self.roll_back()
            raise RuntimeError("an append of this group has failed; the group can only be rolled back")
        self._database.share(None)
        if self.begun:
            self.begun = False
            try:
                self._database.end(commit=True)
            except CommitUnknownError:
                if self._unknown is not None:
                    self._unknown()
                raise

    def roll_back(self) -> None:
        """Undo all appends and end the group."""
        self._database.share(None)
        if self.begun:
            self.begun = False
            self._database.end(commit=False)

    def __enter__(self) -> SqlDatabase:
        if not self.begun:
            self._database.begin()
            self.begun = True
        return self._database

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.broken = True
