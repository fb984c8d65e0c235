"""Erases the data of one finished saga: what its steps were given, returned and raised. Its course stays.

All of its entries are written anew in one transaction, so a process that is killed leaves the saga whole or erased.
SQLite overwrites what stood there before. Pages of before are in the log until that is cut off. PostgreSQL keeps rows
of before until it vacuums the table, and in its write-ahead log, archives and backups as long as these are kept.
"""

from __future__ import annotations

from functools import reduce

from antistrophe.errors import RequestError, SagaNotFoundError
from antistrophe.eventstore.erasing import erase_events
from antistrophe.journal.packed_append import pack_stored
from antistrophe.journal.rows import FOLDED
from antistrophe.journal.stored_entries import StoredEntries
from antistrophe.journal.texts import texts_of
from antistrophe.journal.tombstones import Tombstones, was_purged
from antistrophe.records import SagaStatus
from antistrophe.saga.erased import without_data
from antistrophe.saga.state import Saga, evolve
from antistrophe.saga.view import metadata_of
from antistrophe.storage.connection import SqlDatabase


def erase(database: SqlDatabase, saga_id: str, *, events: bool = False) -> bool:
    """Erase a saga that has finished, with ``events`` also what it has put into the event store. False where all of
    that was erased before.

    Raises SagaNotFoundError, SagaExistsError where it was purged, and RequestError for a saga that is not final.
    """
    if database.kind == "sqlite":
        database.row("PRAGMA secure_delete = ON")
    with database.transaction():
        _refuse(database, saga_id)
        blanked = events and erase_events(database, saga_id)
        erased = _erase_entries(database, saga_id)
    while erased and texts_of(database).tidy():  # what was taken out of the index leaves the file, too
        pass
    return erased or blanked


def _erase_entries(database: SqlDatabase, saga_id: str) -> bool:
    entries = StoredEntries(database)
    found = entries.of(saga_id)
    left = [without_data(record.entry) for record in found]
    if left == [record.entry for record in found]:
        return False
    for record, entry in zip(found, left, strict=True):
        packed, shape = pack_stored(entry)
        if shape is not None:
            entries.shapes.keep(shape)
        database.execute(
            "UPDATE journal SET entry = ?, state = CASE WHEN state IS NULL THEN NULL ELSE ? END WHERE position = ?",
            (packed, FOLDED, record.position),
        )
    folded: Saga | None = reduce(evolve, left, None)
    assert folded is not None  # a final saga has entries
    shown = metadata_of(folded)
    texts, (accepted,) = texts_of(database), database.row("SELECT accepted FROM sagas WHERE id = ?", (saga_id,))
    texts.remove(accepted)
    database.execute("UPDATE sagas SET error = ?, waiting = ? WHERE id = ?", (shown.error, shown.waiting, saga_id))
    texts.add_again(accepted)
    return True


def _refuse(database: SqlDatabase, saga_id: str) -> None:
    """Raise the error for a saga that can't be erased."""
    found = database.row("SELECT status FROM sagas WHERE id = ?", (saga_id,)) if database.holds(saga_id) else None
    if found is None:
        if (purged := Tombstones(database).find(saga_id)) is not None:
            raise was_purged(saga_id, purged)
        raise SagaNotFoundError(f"there is no saga {saga_id!r} in {database.where}")
    status = found[0]
    if status not in {each.value for each in SagaStatus if each.final}:
        how = "retry or resolve its compensation first" if status == SagaStatus.FAILED.value else "wait for its end"
        raise RequestError(
            f"saga {saga_id!r} is {status}, and only a saga that has finished (completed or compensated) can be erased:"
            f" its data are needed until then; {how}"
        )
