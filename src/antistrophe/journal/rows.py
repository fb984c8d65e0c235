"""How entries and sagas are stored in a journal: as packed records."""

from __future__ import annotations

from typing import cast

from antistrophe.errors import JournalError, UnreadableDataError
from antistrophe.plain import pack_record, unpack_record
from antistrophe.records import SagaMetadata
from antistrophe.saga.entries import ENTRY_TYPES, Entry


def pack_entry(entry: Entry) -> bytes:
    """An entry as it is stored."""
    return pack_record(entry)


def unpack_entry(data: bytes, where: str) -> Entry:
    """The entry that was stored. Raises JournalError, which says ``where`` it stands."""
    try:
        return cast("Entry", unpack_record(data, ENTRY_TYPES))
    except UnreadableDataError as error:
        raise JournalError(
            f"{where} can't be read ({error}); it was left as it is. If a newer release wrote it, upgrade; else restore"
            " the file from a backup"
        ) from error


def pack_metadata(row: SagaMetadata) -> bytes:
    """A saga as monitoring shows it, as it is stored."""
    return pack_record(row)


def unpack_metadata(data: bytes, where: str) -> SagaMetadata:
    """The same, read again. Raises JournalError, which says ``where`` it stands."""
    try:
        return unpack_record(data, (SagaMetadata,))
    except UnreadableDataError as error:
        raise JournalError(f"{where}: its state can't be read ({error}); restore the file from a backup") from error
