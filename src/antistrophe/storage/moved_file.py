"""The note beside a SQLite file that says that its content is being moved, or was moved, into a database of PostgreSQL;
and the name under which the file is kept then.

The file is renamed before anything of it is copied. So no program, of this release or an older one, writes to it any
more, or runs its sagas. The note keeps programs of this release from making an empty file in its place.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from antistrophe.errors import JournalError
from antistrophe.linux.private_files import replace_private
from antistrophe.linux.procfs import read

_ADVICE = "restore it from a backup, or remove it if nothing was ever copied from there"


@dataclass(frozen=True, slots=True)
class Move:
    """What is noted. ``to``: the database, as messages name it. ``copy_id``: the name of the copy there. ``done``:
    what was in the file is in the database, and counts there alone."""

    to: str
    copy_id: str
    done: bool = False


def note_of(file: str | os.PathLike[str]) -> Path:
    """Where the note of that file is."""
    return Path(f"{os.fspath(file)}-moved")


def kept_file(file: Path) -> Path:
    """The name under which the file is kept."""
    return file.with_name(f"{file.stem}.moved{file.suffix}")


def read_move(file: str | os.PathLike[str]) -> Move | None:
    """What is noted beside that file, or None. Raises JournalError for a note that can't be read."""
    path = note_of(file)
    try:
        found = read(os.fspath(path))
        if found is None:
            return None
        noted = json.loads(found)
        return Move(str(noted["to"]), str(noted["copy_id"]), bool(noted["done"]))
    except OSError as error:
        raise JournalError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise JournalError(f"{path} is damaged ({error!r}): {_ADVICE}") from error


def write_move(file: Path, move: Move) -> None:
    """Note it, durably. Raises JournalError."""
    path = note_of(file)
    try:
        replace_private(path, json.dumps(asdict(move)).encode() + b"\n", synced=True)
        sync_folder(path.parent)
    except OSError as error:
        raise JournalError(f"{path} can't be written: {error.strerror}") from error


def forget_move(file: Path) -> None:
    """Remove the note. Raises JournalError."""
    path = note_of(file)
    try:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise JournalError(f"{path} can't be removed: {error.strerror}") from error


def refuse_moved(file: Path) -> None:
    """Raise JournalError where this file, which is missing, was moved into a database."""
    if (move := read_move(file)) is not None:
        raise JournalError(in_words(file, move))


def in_words(file: Path, move: Move) -> str:
    """What is told to whoever wants to open that file."""
    if move.done:
        return f"what was in {file} is in {move.to}: open it by that URL"
    return (
        f"{file} is being moved to {move.to}, and that is not complete: run `antistrophe copy` again with the same URL,"
        " which goes on with it, or call it off with --undo"
    )


def sync_folder(folder: Path) -> None:
    """Have what was renamed in that folder outlast a loss of power. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
