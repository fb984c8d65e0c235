"""Acknowledges, before a system starts, that the journal in a database was put back to an earlier state: each saga that
goes on gets an entry that says so, and from then on takes nothing for not done that may have been done."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from antistrophe.client.stored_home import system_state
from antistrophe.client.user_name import user_name
from antistrophe.errors import RequestError, SystemStateError
from antistrophe.hosts.stored_restores import StoredRestores
from antistrophe.journal import JournalPlace, SeqConflictError, StoredJournal, journal_in, open_store, refuse_elsewhere
from antistrophe.saga.entries import RestoreAcknowledged
from antistrophe.saga.listed import row_after
from antistrophe.saga.state import evolve, replay


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
        live = [saga_id for saga_id, _ in journal.live()]
        for saga_id in live:
            _tell(journal, saga_id, restore, by)
        restores.done(restore)
    return len(live)


def _tell(journal: StoredJournal, saga_id: str, restore: str, by: str) -> None:
    """Write the entry into the saga, once."""
    while True:
        entries = journal.load(saga_id)
        if any(isinstance(entry, RestoreAcknowledged) and entry.restore == restore for entry in entries):
            return
        before = replay(entries)
        if before.ended or before.parked:
            return
        told = RestoreAcknowledged(journal.clock() or 0.0, restore, by)
        after = evolve(before, told)
        try:
            journal.append(saga_id, expected_seq=before.seq, entries=(told,), row=row_after(before, after, (told,)))
        except SeqConflictError:  # a host goes on with it
            continue
        return
