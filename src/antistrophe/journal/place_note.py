"""Notes in a home where its journal is, if not in its own file: so that nobody takes it for a home without a journal,
and begins another one there."""

from __future__ import annotations

from pathlib import Path

from antistrophe.errors import JournalError
from antistrophe.journal.place import JournalPlace, journal_path
from antistrophe.linux.private_files import replace_private
from antistrophe.settings.journal_url import JOURNAL_VARIABLE
from antistrophe.storage.moved_file import in_words, read_move

NOTE_NAME = "journal.where"

_HOW = f"name it with journal=, --journal URL, ${JOURNAL_VARIABLE}, or `journal =` in a profile"


def refuse_elsewhere(place: JournalPlace) -> None:
    """Raise JournalError where the home keeps its journal somewhere else than in this kind of place: its sagas would be
    divided."""
    if place.home is None:
        return
    move = read_move(journal_path(place.home))
    if move is not None and not move.done:
        raise JournalError(in_words(journal_path(place.home), move))
    if place.url is None:
        noted = None if place.exists() else _noted(place.home)
        if noted is not None:
            raise JournalError(f"the journal of {place.home} is in {noted}: {_HOW}")
    elif (file := journal_path(place.home)).exists():
        raise JournalError(
            f"{place.home} has a journal of its own, {file}, whose sagas would not go on in {place}: choose another"
            " home for the journal there, or go on without naming one"
        )


def note(place: JournalPlace) -> None:
    """Note the place in its home, where the journal is not in the home's file. Raises JournalError."""
    if place.url is None or place.home is None or _noted(place.home) == str(place):
        return
    try:
        replace_private(place.home / NOTE_NAME, f"{place}\n".encode())
    except OSError as error:
        raise JournalError(f"{place.home / NOTE_NAME} can't be written: {error.strerror}") from error


def forget(place: JournalPlace) -> None:
    """Remove the note of that place, where the journal is the home's file again. Raises JournalError."""
    if place.home is None or _noted(place.home) != str(place):
        return
    try:
        (place.home / NOTE_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise JournalError(f"{place.home / NOTE_NAME} can't be removed: {error.strerror}") from error


def _noted(home: Path) -> str | None:
    try:
        return (home / NOTE_NAME).read_text("utf-8", "replace").strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(f"{home / NOTE_NAME} can't be read: {error.strerror}") from error
