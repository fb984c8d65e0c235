"""What every journal does, and the records that it takes and gives."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from antistrophe.errors import AntistropheError
from antistrophe.eventstore import backend
from antistrophe.records import SagaChange, SagaMetadata, SagaStatus, TimelineEntry
from antistrophe.saga.entries import Entry, SagaAccepted
from antistrophe.saga.view import SagaView
from antistrophe.serialization.payload import pack_payload


class SeqConflictError(AntistropheError):
    """Somebody else has written to this saga: it is not at the seq that was expected, but at ``actual``."""

    def __init__(self, saga_id: str, *, expected: int, actual: int) -> None:
        super().__init__(f"saga {saga_id!r} is at seq {actual} of its journal, not {expected}: load it again")
        self.saga_id = saga_id
        self.expected = expected
        self.actual = actual


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event of a saga for the event store: ``data`` is packed, ``metadata`` plain values; ``event_id`` (a UUID in
    text) names it for ever, so that it is stored once."""

    stream: str
    type: str
    type_version: int
    data: bytes
    metadata: Mapping[str, Any]
    event_id: str


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One entry and its place: ``position`` over all sagas, ``seq`` within its saga, both from 1."""

    position: int
    saga_id: str
    seq: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class SagaPage:
    """A part of a list. ``cursor`` asks for the next part; None where there is none."""

    sagas: tuple[SagaMetadata, ...]
    cursor: str | None = None


class Journal(Protocol):
    """The record of every saga. Any thread may use it. Every method raises JournalError where the file can't be used,
    or holds what can't be read."""

    def append(
        self,
        saga_id: str,
        *,
        expected_seq: int,
        entries: Sequence[Entry],
        events: Sequence[NewEvent] = (),
        row: SagaMetadata,
    ) -> int:
        """Add entries to a saga that is at ``expected_seq`` (0: a new one), their events to the event store, and
        ``row`` as what is true of the saga since; all of it durably, or nothing.

        Answers with the position of the last entry; the first gets seq ``expected_seq + 1``. Raises SeqConflictError
        where the saga is at another seq.
        """

    def load(self, saga_id: str) -> tuple[Entry, ...]:
        """All entries of a saga, in order; none where there is no such saga."""

    def timeline(self, saga_id: str) -> builtins.list[TimelineEntry]:
        """All entries of a saga for people to read: inputs, outputs and events unpacked."""

    def records(self, after_position: int = 0, limit: int = 1000) -> builtins.list[JournalRecord]:
        """The entries of all sagas behind a position, in order, at most ``limit``."""

    def head(self) -> int:
        """The position of the last entry; 0 in a new journal."""

    def metadata(self, saga_id: str) -> SagaMetadata | None:
        """What is true of a saga, or None where there is no such saga."""

    def accepted(self, saga_id: str) -> SagaAccepted | None:
        """How a saga began, or None where there is no such saga."""

    def request_id(self, saga_id: str) -> str | None:
        """The request that the saga was accepted for, or None where there is no such saga."""

    def list(
        self,
        *,
        status: SagaStatus | None = None,
        name: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> SagaPage:
        """The sagas of that status and name, whose id, name, error or reason to wait contains ``text`` (ASCII letters
        in either case), the last accepted first. A saga that is accepted meanwhile moves no other to another page.

        Raises RequestError for a limit under 1 and for a cursor that is none.
        """

    def history(self, limit: int = 1000) -> builtins.list[SagaMetadata]:
        """The last ``limit`` sagas that have finished or are parked, in order of finishing."""

    def live(self) -> builtins.list[tuple[str, bool]]:
        """Id of each saga that is neither finished nor parked, and whether it is compensating; in order of
        acceptance."""

    def counts(self) -> dict[SagaStatus, int]:
        """How many sagas there are of each status, those of which there are none included."""

    def changes(self, after_position: int = 0, limit: int = 1000) -> builtins.list[SagaChange]:
        """What became true of sagas behind a position, in order, at most ``limit``: one for each append."""

    def close(self) -> None:
        """Close the file; a second time does nothing."""


def check_append(saga_id: str, expected_seq: int, entries: Sequence[Entry], row: SagaMetadata | SagaView) -> None:
    """Raise ValueError on what no journal can hold: a mistake of our own."""
    if not entries or row.id != saga_id:
        raise ValueError(f"an append to saga {saga_id!r} needs entries, and a row of that saga")
    if isinstance(entries[0], SagaAccepted) != (expected_seq == 0):
        raise ValueError(f"saga {saga_id!r} begins with its acceptance, and is accepted once")


def by_stream(events: Sequence[NewEvent]) -> builtins.list[tuple[str, builtins.list[backend.NewEvent]]]:
    """The events as the event store takes them, in runs of one stream."""
    runs: builtins.list[tuple[str, builtins.list[backend.NewEvent]]] = []
    for event in events:
        if not runs or runs[-1][0] != event.stream:
            runs.append((event.stream, []))
        metadata = pack_payload(dict(event.metadata), what="the metadata") if event.metadata else None
        event_id = uuid.UUID(event.event_id).bytes
        runs[-1][1].append(backend.NewEvent(event.type, event.type_version, event.data, metadata, event_id))
    return runs
