"""The statement by which appends are written to the journal in PostgreSQL, and its values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from antistrophe.eventstore.backend import NewEvent
from antistrophe.eventstore.postgres_rows import locks_of
from antistrophe.journal.journal import Row
from antistrophe.journal.journal_questions import LIVE
from antistrophe.journal.shapes import Shape
from antistrophe.journal.tombstones import digest_of
from antistrophe.saga.entries import Entry, SagaAccepted
from antistrophe.saga.listed import Listed
from antistrophe.storage.database import now_us
from antistrophe.storage.portable_sql import SCHEMA

_OUTCOME = "SELECT outcome, xid, at_position, at_seq, at_host, at_token FROM"
CALL = (
    f"{_OUTCOME} {SCHEMA}.append_2(?::text, ?::bigint, ?::text,"
    " ?::bigint, ?::bigint, ?::bigint[], ?::text[], ?::bytea[], ?::bytea, ?::boolean, ?::text, ?::boolean, ?::boolean,"
    " ?::text, ?::text, ?::text, ?::text, ?::text[], ?::bytea, ?::bytea, ?::bytea, ?::bytea)"
)
"""The statement of one append without events. ``Append.values`` are its values."""

_GROUP = (
    f"{_OUTCOME} {SCHEMA}.append_group_2(?::bigint, ?::text,"
    " ?::text[], ?::bigint[], ?::bigint[], ?::int[], ?::boolean[], ?::text[], ?::boolean[],"
    " ?::boolean[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bytea[], ?::bytea[], ?::bytea[],"
    " ?::bytea[],"
    " ?::text[], ?::bigint[], ?::bigint[], ?::text[], ?::bytea[], ?::bytea[],"
    " ?::int[], ?::text[], ?::text[], ?::bigint[], ?::bytea[], ?::bytea[], ?::bytea[], ?::bigint)"
)


@dataclass(frozen=True, slots=True)
class Append:
    """What one append writes: the rows of its entries as ``pack_append`` makes them, the row of the saga, and events in
    runs of one stream. ``host`` and ``token``: whose the saga has to be; ``last``: the digest of the entry that it has
    to go on from; None: nobody asks."""

    saga_id: str
    expected_seq: int
    rows: Sequence[Sequence[Any]]
    first: Entry
    shape: Shape | None
    row: Row
    host: str | None = None
    token: int | None = None
    last: bytes | None = None
    events: Sequence[tuple[str, Sequence[NewEvent]]] = ()

    @property
    def name(self) -> tuple[str, int]:
        """What tells it from other appends: the saga, and the seq that it goes on from."""
        return self.saga_id, self.expected_seq

    @property
    def needs(self) -> list[str]:
        """The labels that a host must have for this saga."""
        return self.first.spec.runs_on if isinstance(self.first, SagaAccepted) else []

    def of_saga(self) -> tuple[Any, ...]:
        """Of the row of the saga: whether it changes, its status, whether it is live and final, what is searched, the
        request that it was accepted for, and its name."""
        row, accepted = self.row, self.first if isinstance(self.first, SagaAccepted) else None
        return (
            not (isinstance(row, Listed) and not row.changed),
            row.status.value,
            row.status.value in LIVE,
            row.status.final,
            searchable(row.error),
            searchable(row.waiting),
            None if accepted is None else accepted.request_id,
            None if accepted is None else searchable(accepted.spec.name),
        )

    def of_acceptance(self) -> tuple[Any, ...]:
        """What a new saga brings: the digest of its id, the name of its shape, and the shape."""
        return (
            digest_of(self.saga_id) if isinstance(self.first, SagaAccepted) else None,
            None if self.shape is None else self.shape.name,
            None if self.shape is None else self.shape.packed,
        )

    def values(self, wait_ms: int | None) -> list[Any]:
        """The values of the statement, for an append without events."""
        return [
            self.saga_id,
            self.expected_seq,
            self.host,
            self.token,
            wait_ms,
            [each[2] for each in self.rows],
            [each[3] for each in self.rows],
            [each[4] for each in self.rows],
            self.rows[-1][5],
            *self.of_saga(),
            self.needs,
            *self.of_acceptance(),
            self.last,
        ]


def statement(appends: Sequence[Append], wait_ms: int | None) -> tuple[str, list[Any]]:
    """The statement that writes appends of one host, all or none, and its values. ``wait_ms``: how long it waits for a
    lock; None: as the transaction around it says."""
    if len(appends) == 1 and not appends[0].events:
        return CALL, appends[0].values(wait_ms)
    return _GROUP, [wait_ms, appends[0].host, *_of_sagas(appends), *_of_entries(appends), *_of_events(appends)]


def _of_sagas(appends: Sequence[Append]) -> list[list[Any]]:
    """What is said of each append. One that goes on from another of them finds no other entry there: the server writes
    all entries together, and so has none of them yet."""
    made: set[tuple[str, int]] = {(each.saga_id, each.rows[-1][1]) for each in appends}
    rows = [
        (
            each.saga_id,
            each.expected_seq,
            each.token,
            len(each.rows),
            *each.of_saga(),
            json.dumps(each.needs),
            *each.of_acceptance(),
            None if each.name in made else each.last,
        )
        for each in appends
    ]
    return list(map(list, zip(*rows, strict=True)))


def _of_entries(appends: Sequence[Append]) -> list[list[Any]]:
    return list(map(list, zip(*(row for each in appends for row in each.rows), strict=True)))


def _of_events(appends: Sequence[Append]) -> list[Any]:
    events = [(stream, event) for append in appends for stream, run in append.events for event in run]
    return [
        locks_of({stream for stream, _ in events}),
        [stream for stream, _ in events],
        [event.type for _, event in events],
        [event.type_version for _, event in events],
        [event.data for _, event in events],
        [event.metadata for _, event in events],
        [event.event_id for _, event in events],
        now_us(),
    ]


def searchable(text: str | None) -> str | None:
    """A text of the list of sagas, where a zero character, which PostgreSQL can't store, has its picture in its place.
    The entries have the text itself."""
    return None if text is None else text.replace("\0", "\N{SYMBOL FOR NULL}")
