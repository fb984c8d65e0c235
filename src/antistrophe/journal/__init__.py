"""The journal: the append-only record of every saga, and the only truth about it."""

from __future__ import annotations

from pathlib import Path

from antistrophe.journal.group import GroupCommit
from antistrophe.journal.journal import Journal, JournalRecord, NewEvent, SagaPage, SeqConflictError
from antistrophe.journal.sqlite import SqliteJournal

FILE_NAME = "journal.db"


def journal_path(home: str | Path) -> Path:
    """Where the journal of a home is."""
    return Path(home) / FILE_NAME


__all__ = [
    "FILE_NAME",
    "GroupCommit",
    "Journal",
    "JournalRecord",
    "NewEvent",
    "SagaPage",
    "SeqConflictError",
    "SqliteJournal",
    "journal_path",
]
