"""Where a journal is, so that nobody but the opener has to know what kind of store that is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

FILE_NAME = "journal.db"


def journal_path(home: str | os.PathLike[str]) -> Path:
    """Where the file of a home's journal is."""
    return Path(home) / FILE_NAME


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """The place of a journal: a SQLite file. ``str`` of it is for messages."""

    file: Path

    @classmethod
    def of_home(cls, home: str | os.PathLike[str]) -> JournalPlace:
        """The place of a home's journal."""
        return cls(journal_path(home))

    @classmethod
    def at(cls, where: Where) -> JournalPlace:
        """The place that was given, as itself or as the path of a file."""
        return where if isinstance(where, JournalPlace) else cls(Path(where))

    def __str__(self) -> str:
        return str(self.file)

    @property
    def home(self) -> Path:
        """The home whose journal this is."""
        return self.file.parent

    def exists(self) -> bool:
        """Whether something was journaled there, as far as can be said without opening it."""
        return self.file.exists()

    def size_bytes(self) -> int:
        """The size of the file. Raises OSError."""
        return self.file.stat().st_size

    def log_bytes(self) -> int:
        """The size of the file's write-ahead log; 0 where there is none."""
        try:
            return os.stat(f"{self.file}-wal").st_size
        except OSError:
            return 0


Where: TypeAlias = JournalPlace | str | os.PathLike[str]
