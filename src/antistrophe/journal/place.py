"""Where a journal is, so that nobody but the opener has to know what kind of store that is."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from antistrophe.errors import JournalError
from antistrophe.settings.journal_url import SCHEMES, is_url, shown
from antistrophe.storage.own_transactions import refuse_while_writing, writes_to

FILE_NAME = "journal.db"


def journal_path(home: str | os.PathLike[str]) -> Path:
    """Where the file of a home's journal is."""
    return Path(home) / FILE_NAME


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """The place of a journal: a SQLite file, or a database at a URL. ``str`` of it is for messages, and tells nothing
    that is secret. ``home``: the home whose logs belong to this journal; None where there is none on this machine."""

    file: Path | None = None
    url: str | None = field(default=None, repr=False)
    home: Path | None = None

    @classmethod
    def of_home(cls, home: str | os.PathLike[str], url: str | None = None) -> JournalPlace:
        """The place of a home's journal: its file, or where a URL is given, the database there."""
        return cls(journal_path(home) if url is None else None, url, Path(home))

    @classmethod
    def at(cls, where: Where) -> JournalPlace:
        """The place that was given: as itself, as a URL, or as the path of the file of a home. Raises JournalError for
        a URL that can't be read, and does not repeat it."""
        if isinstance(where, JournalPlace):
            return where
        if isinstance(where, str) and where.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
            if not is_url(where):
                raise JournalError("the URL of the journal can't be read: it has to be postgresql://HOST/DATABASE")
            return cls(url=where)
        return cls(Path(where), home=Path(where).parent)

    def __str__(self) -> str:
        return shown(self.url) if self.url is not None else str(self.file)

    @property
    def where(self) -> Path | str:
        """What a store is opened with: the path of the file, or the URL."""
        return self.url if self.url is not None else self.existing_file()

    def existing_file(self) -> Path:
        """The file. Raises JournalError where the journal is in no file."""
        if self.file is None:
            raise JournalError(f"the journal is in the database {self}, and not in a file of its own")
        return self.file

    def exists(self) -> bool:
        """Whether something was journaled there, as far as can be said without opening it."""
        return self.file is None or self.file.exists()

    def size_bytes(self) -> int | None:
        """The size of the file; None where there is no file. Raises OSError."""
        return None if self.file is None else self.file.stat().st_size

    def log_bytes(self) -> int:
        """The size of the file's write-ahead log; 0 where there is none."""
        try:
            return os.stat(f"{self.file}-wal").st_size
        except OSError:
            return 0

    # --- the caller's own transaction ------------------------------------------------------------------------------

    @property
    def is_written_by_caller(self) -> bool:
        """Whether the calling thread or task has a transaction open that keeps all others from writing there."""
        return self.file is not None and writes_to(self.file)

    def refuse_in_transaction(self, what: str) -> None:
        """Raise RequestError where the calling thread or task has such a transaction open: ``what`` would wait for its
        end."""
        if self.file is not None:
            refuse_while_writing(self.file, what)


Where: TypeAlias = JournalPlace | str | os.PathLike[str]
