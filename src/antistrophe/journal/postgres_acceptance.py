"""Accepts a saga within a transaction of the application's own, on its own connection to the journal's database.

The saga is there once that transaction commits, and never was where it rolls back. It has no owner: the next host that
looks takes it. Until the end of the transaction, readers by positions wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from antistrophe.definition.spec import SagaSpec
from antistrophe.errors import RequestError
from antistrophe.journal.journal import SeqConflictError
from antistrophe.journal.packed_append import pack_append
from antistrophe.journal.postgres_statement import CALL, Append
from antistrophe.journal.tombstones import digest_of, purged_in, was_purged
from antistrophe.saga.entries import Entry, SagaAccepted, SagaWaits
from antistrophe.saga.listed import row_after
from antistrophe.saga.state import replay
from antistrophe.storage.connection import Questions
from antistrophe.storage.postgres_callers import checking_place
from antistrophe.storage.postgres_commits import CONFIRM

NO_HOST_YET = "its turn: no host has taken it yet"
"""What such a saga waits for."""

_PURGED = "SELECT status, finished_at FROM purged WHERE id_digest = ?"


def accepting(spec: SagaSpec, request_id: str, *, now: float | None = None) -> Questions[int]:
    """What it asks to accept a saga, on a connection to any database. Returns the position of the saga's last entry.
    ``now``: seconds since the epoch; None: by the server's clock.

    Raises SeqConflictError where there is a saga of that id, SagaExistsError where it was purged, RequestError for an
    id that PostgreSQL can't store, and JournalError where this is not the database of a journal of this release. After
    each of them the transaction can go on.
    """
    _, clock = yield from checking_place("journal", "the one that the orchestrator's URL names")
    append = _acceptance(spec, request_id, clock if now is None else now)
    (found,) = yield CALL, append.values(None)
    if found[0] != "written":
        yield CONFIRM, ()
    tombstones = (yield _PURGED, (digest_of(spec.id),)) if found[0] == "purged" else [None]
    return _position(append, found, tombstones[0])


def _acceptance(spec: SagaSpec, request_id: str, now: float) -> Append:
    for what, text in (("id of a saga", spec.id), ("id of a request", request_id)):
        if "\0" in text:
            raise RequestError(f"PostgreSQL can't store this {what}, which has a zero character: {text!r}")
    entries: tuple[Entry, ...] = (SagaAccepted(now, request_id, spec, now), SagaWaits(now, NO_HOST_YET))
    row = row_after(None, replay(entries), entries)
    rows, shape = pack_append(spec.id, 0, entries, row, 0.0)
    return Append(spec.id, 0, rows, entries[0], shape, row)


def _position(append: Append, found: Sequence[Any], tombstone: tuple[str, int] | None) -> int:
    outcome, _, position, seq, _, _ = found
    if outcome == "written":
        return int(position)
    if tombstone is not None:
        raise was_purged(append.saga_id, purged_in(tombstone, f"what is left of the purged saga {append.saga_id!r}"))
    raise SeqConflictError(append.saga_id, expected=0, actual=seq or 0)
