"""How entries and sagas are stored in a journal: as packed records."""

from __future__ import annotations

from typing import cast

from antistrophe.errors import JournalError, UnreadableDataError
from antistrophe.plain import pack_record, unpack_record
from antistrophe.records import SagaMetadata
from antistrophe.saga.entries import ENTRY_TYPES, Entry

_ADVICE = (
    "where a newer release wrote it, upgrade this one; else the file is damaged: restore it from a backup (it was left"
    " as it is)"
)


def pack_entry(entry: Entry) -> bytes:
    """An entry as it is stored."""
    return pack_record(entry)


def unpack_entry(data: bytes, where: str) -> Entry:
    """The entry that was stored. Raises JournalError, which says ``where`` it stands."""
    try:
        return cast("Entry", unpack_record(data, ENTRY_TYPES))
    except UnreadableDataError as error:
        raise JournalError(f"{where} can't be read ({error}): {_ADVICE}") from error


def pack_metadata(row: SagaMetadata) -> bytes:
    """A saga as monitoring shows it, as it is stored."""
    return pack_record(row)


def unpack_metadata(data: bytes | None, where: str) -> SagaMetadata:
    """The same, read again. Raises JournalError, which says ``where`` it stands."""
    try:
        return unpack_record(data or b"", (SagaMetadata,))
    except UnreadableDataError as error:
        raise JournalError(f"{where}: what was true of the saga can't be read ({error}): {_ADVICE}") from error


def missing(where: str) -> JournalError:
    """What to raise for an entry that is not there, although later ones are."""
    return JournalError(f"{where} is missing: {_ADVICE}")
