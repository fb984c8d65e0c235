"""The index of texts as those see it who use it, whether the database has one or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from antistrophe.journal.text_index import TextIndex
from antistrophe.storage.connection import SqlDatabase
from antistrophe.storage.database import Database


class Texts(Protocol):
    """What lists, purges and the registry ask of the index of a database, which may have none."""

    def ends(self) -> tuple[int, int]:
        """Up to which positions finished and parked sagas are in the index; 0 where there is no index."""

    def behind(self, most: int) -> int:
        """How many sagas have finished that are not in the index and should be, counted up to ``most``."""

    def lacks_parked(self) -> bool:
        """Whether sagas that were parked before are still to be added."""

    def add(self, most: int) -> int:
        """Add the next sagas that have finished, at most so many. Returns how many there were."""

    def add_again(self, accepted: int) -> None:
        """Add a saga that was removed, with the texts that it has now."""

    def remove(self, accepted: int) -> None:
        """Take a saga out of the index."""

    def tidy(self) -> bool:
        """Let what was taken out really go, a part at a time. False once there is no more to do."""

    def candidates(self, texts: Sequence[str], status: str | None, before: int, most: int) -> list[int]:
        """Where sagas were accepted that may have all these texts."""


class NoTexts:
    """The index of a database that has none: all rows are read."""

    def ends(self) -> tuple[int, int]:
        """See ``Texts``."""
        return 0, 0

    def lacks_parked(self) -> bool:
        """See ``Texts``."""
        return False

    def behind(self, most: int) -> int:
        """See ``Texts``."""
        return 0

    def add(self, most: int) -> int:
        """See ``Texts``."""
        return 0

    def add_again(self, accepted: int) -> None:
        """See ``Texts``."""

    def remove(self, accepted: int) -> None:
        """See ``Texts``."""

    def tidy(self) -> bool:
        """See ``Texts``."""
        return False

    def candidates(self, texts: Sequence[str], status: str | None, before: int, most: int) -> list[int]:
        """See ``Texts``."""
        return []


def texts_of(database: SqlDatabase) -> Texts:
    """The index of texts of that database."""
    return TextIndex(database) if isinstance(database, Database) else NoTexts()
