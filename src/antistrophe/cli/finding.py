"""What one check of `doctor` has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Health(str, Enum):
    """The result of one check."""

    WELL = "well"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found."""

    health: Health
    subject: str
    says: str
    what_to_do: str | None = None


def well(subject: str, says: str) -> Finding:
    """There is nothing to do."""
    return Finding(Health.WELL, subject, says)


def note(subject: str, says: str, what_to_do: str) -> Finding:
    """Somebody should know, or look."""
    return Finding(Health.NOTE, subject, says, what_to_do)


def wrong(subject: str, says: str, what_to_do: str) -> Finding:
    """Something has to be done."""
    return Finding(Health.WRONG, subject, says, what_to_do)
