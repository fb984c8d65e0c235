"""What finished sagas take on the disk, all in all: rows, indexes with that of texts, and pages that are not full."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

from antistrophe.definition.spec import Origin
from antistrophe.journal import SqliteJournal
from antistrophe.saga.entries import Action, AttemptStarted, AttemptSucceeded, Entry, Lease, SagaAccepted, SagaCompleted
from antistrophe.saga.state import Saga, evolve
from tests.contract.journal_sagas import accepted, as_kept

SAGAS = 400
A_SAGA_BYTES = 2048
"""A finished saga of three steps without outputs and events takes no more."""


def parts(saga_id: str, now: float) -> list[list[Entry]]:
    """The appends of a saga of three steps, with names, ids and numbers as long as those of a real system."""
    first = accepted(saga_id, "transfer", ("first", "second", "third"))
    paths = tuple(f"/srv/release/lib/python3.11/site-packages/{number}" for number in range(8))
    spec = replace(first.spec, origin=Origin(None, paths, "/srv/release"))
    accept = SagaAccepted(now, uuid.uuid4().hex, spec, now)
    lease = Lease("2c8271c39011-1", 28262, 2565182, str(uuid.uuid4()), False, "fe00:2e64a8:450561a6aed17e84")
    made: list[list[Entry]] = [[accept, AttemptStarted(now, 0, Action.EXECUTE, 1, 30.0, now + 30.0, lease)]]
    for step in range(3):
        done = AttemptSucceeded(now, step, Action.EXECUTE, 1)
        later = AttemptStarted(now, step + 1, Action.EXECUTE, 1, 30.0, now + 30.0, lease)
        made.append([done, SagaCompleted(now) if step == 2 else later])
    return made


def test_a_finished_saga_of_three_steps_takes_two_kilobytes(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db", synchronous="NORMAL")
    group = journal.group()
    group.open()
    for number in range(SAGAS):
        saga_id = uuid.uuid4().hex
        saga: Saga | None = None
        for entries in parts(saga_id, 1_795_909_760.0123456 + number):
            before = saga
            for entry in entries:
                saga = evolve(saga, entry)
            row = as_kept(before, entries)
            journal.append(saga_id, expected_seq=0 if before is None else before.seq, entries=entries, row=row)
    group.commit()
    assert journal.texts.add(SAGAS) == SAGAS
    (pages,) = journal._database.row("PRAGMA page_count")
    (page_bytes,) = journal._database.row("PRAGMA page_size")
    journal.close()
    assert pages * page_bytes / SAGAS <= A_SAGA_BYTES
