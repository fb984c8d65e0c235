"""Acknowledges, before a system starts, that the journal in a database was put back to an earlier state: each saga that
goes on gets an entry that says so, and from then on takes nothing for not done that may have been done."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

from antistrophe.client.stored_home import system_state
from antistrophe.client.user_name import user_name
from antistrophe.errors import JournalError, RequestError, SystemStateError
from antistrophe.hosts.stored_restores import StoredRestores
from antistrophe.journal import JournalPlace, SeqConflictError, StoredJournal, journal_in, open_store, refuse_elsewhere
from antistrophe.journal.rows import unpack_entry
from antistrophe.records import SagaMetadata, SagaStatus
from antistrophe.saga.entries import RestoreAcknowledged
from antistrophe.saga.listed import Listed, row_after
from antistrophe.saga.state import Saga, evolve, replay

log = logging.getLogger("antistrophe")


def acknowledge_restore(home: Path, url: str | None) -> int:
    """Acknowledge it for the database at that URL. Returns how many sagas go on. Where a call is killed, the next one
    goes on. Raises RequestError where the journal is in a file, SystemStateError where the home's system runs,
    and JournalError."""
    if url is None:
        raise RequestError(
            "after_restore is for a journal in PostgreSQL, and this one is in a file of its home: a journal that was"
            " restored there is opened as it is"
        )
    if system_state(home) is not None:
        raise SystemStateError(
            f"the actor system of {home} runs: a restore is acknowledged before the first host starts. Stop all hosts,"
            " and open this one again"
        )
    by, place = user_name(), JournalPlace.of_home(home, url)
    refuse_elsewhere(place)
    with closing(open_store(place)) as store:
        restores, journal = StoredRestores(store), journal_in(store)
        restore = restores.begin(by)
        live = journal.live()
        if restores.is_done(restore):  # by another home at the same time, and sagas may have been accepted since
            return len(live)
        for saga_id, compensates in live:
            _tell(journal, saga_id, RestoreAcknowledged(journal.clock() or 0.0, restore, by), compensates=compensates)
        restores.done(restore)
    return len(live)


def _tell(journal: StoredJournal, saga_id: str, told: RestoreAcknowledged, *, compensates: bool) -> None:
    """Write the entry into the saga, once."""
    while True:
        try:
            before = _before(journal, saga_id, told.restore)
        except JournalError as error:
            _tell_unread(journal, _as_listed(journal, saga_id, compensates=compensates), told, error)
            return
        if before is None or before.ended or before.parked:
            return
        after = evolve(before, told)
        try:
            journal.append(saga_id, expected_seq=before.seq, entries=(told,), row=row_after(before, after, (told,)))
        except SeqConflictError:  # a host goes on with it
            continue
        return


def _before(journal: StoredJournal, saga_id: str, restore: str) -> Saga | None:
    """The saga as it is, or None where it has the entry."""
    entries = journal.load(saga_id)
    if any(isinstance(entry, RestoreAcknowledged) and entry.restore == restore for entry in entries):
        return None
    return replay(entries)


def _tell_unread(
    journal: StoredJournal, row: SagaMetadata | Listed, told: RestoreAcknowledged, why: JournalError
) -> None:
    """Write the entry into a saga that can't be read, once. Whoever reads it later, a newer release or after it was
    mended, takes nothing for not done either. Raises JournalError where the database does not answer."""
    log.error(
        "%s. Nothing of this saga is done until it can be read; the restore is acknowledged in it all the same", why
    )
    seq = 1
    while True:
        packed, _, _ = journal.entries_after(row.id, kinds=(RestoreAcknowledged.__name__,))
        if any(_restore_of(entry) == told.restore for _, _, entry, _ in packed):
            return
        try:
            journal.append(row.id, expected_seq=seq, entries=(told,), row=row)
        except SeqConflictError as error:
            seq = error.actual
            continue
        return


def _restore_of(packed: bytes) -> str:
    """Which acknowledgement an entry is of; an empty text where it can't be read."""
    try:
        entry = unpack_entry(packed, "an entry")
    except JournalError:
        return ""
    return entry.restore if isinstance(entry, RestoreAcknowledged) else ""


def _as_listed(journal: StoredJournal, saga_id: str, *, compensates: bool) -> SagaMetadata | Listed:
    """What lists show of a saga whose entries can't be read: the same as before."""
    try:
        found = journal.metadata(saga_id)
    except JournalError:  # it is folded from the entries
        found = None
    status = SagaStatus.COMPENSATING if compensates else SagaStatus.EXECUTING
    return found or Listed(saga_id, status, None, None, changed=False)
