"""What a journal does: its protocol, and the records that go in and come out."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from antistrophe.errors import AntistropheError
from antistrophe.eventstore.backend import NewEvent
from antistrophe.fast_dataclass import dataclass
from antistrophe.records import PurgedSaga, SagaChange, SagaMetadata, SagaStatus, TimelineEntry
from antistrophe.saga.entries import Entry, SagaAccepted
from antistrophe.saga.listed import Listed
from antistrophe.saga.view import SagaView, ViewChange
from antistrophe.serialization.payload import pack_payload

Row: TypeAlias = SagaMetadata | SagaView | ViewChange | Listed
"""A saga as monitoring shows it since an append, whole or what has changed; or what lists search of it, where the view
is to be folded from the entries."""


PackedEntry: TypeAlias = tuple[int, int, bytes, int]
"""The position of an entry, its seq, the entry as it is packed, and the machine's time at its writing in microseconds
since the epoch."""


class SeqConflictError(AntistropheError):
    """Somebody else has written to this saga. It is at seq ``actual``, not at the ``expected`` one. Where these are the
    same, another entry stands there than the one that was known: another server has taken over."""

    def __init__(self, saga_id: str, *, expected: int, actual: int) -> None:
        is_at = f"seq {actual} of its journal, not {expected}"
        if actual == expected:
            is_at = f"seq {actual} of its journal, where another entry stands than the one that was read"
        super().__init__(f"saga {saga_id!r} is at {is_at}: load it again")
        self.saga_id = saga_id
        self.expected = expected
        self.actual = actual


class EarlierTryError(SeqConflictError):
    """What stands in the place of this append may be another one that this process has tried, and whose answer was
    lost."""


@dataclass(frozen=True, slots=True)
class SagaEvent:
    """An event of a saga for the event store. ``data`` is packed, and ``metadata`` are plain values. ``event_id`` (a
    UUID as text) names the event for ever, so that it is stored once."""

    stream: str
    type: str
    type_version: int
    data: bytes
    metadata: Mapping[str, Any]
    event_id: str


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """One entry and its place. ``position`` counts over all sagas, ``seq`` within its saga; both begin at 1.
    ``wall_at``: the machine's time at its writing, in seconds since the epoch; None: the same as the system's."""

    position: int
    saga_id: str
    seq: int
    entry: Entry
    wall_at: float | None = None


@dataclass(frozen=True, slots=True)
class SagaPage:
    """One page of a list. ``cursor`` asks for the next page; None after the last one."""

    sagas: tuple[SagaMetadata, ...]
    cursor: str | None = None


class Journal(Protocol):
    """The record of every saga. Any thread may use it. Every method raises JournalError if the file can't be used, or
    if something in it can't be read."""

    def append(
        self,
        saga_id: str,
        *,
        expected_seq: int,
        entries: Sequence[Entry],
        events: Sequence[SagaEvent] = (),
        row: Row,
        ahead_s: float = 0.0,
    ) -> int:
        """Add entries to a saga that is at ``expected_seq`` (0: a new saga), their events to the event store, and
        ``row``, the saga's state since, what has changed of it, or what lists search of it. All of this becomes
        durable, or nothing. What has changed is not enough where the saga is new, or its error is another one.
        ``ahead_s``: how far the machine's clock is ahead of the system's, whose time the entries have; people see the
        former.

        The first entry gets seq ``expected_seq + 1``. Returns the position of the last entry. Raises SeqConflictError
        if the saga is at another seq, and SagaExistsError for a new saga whose id was purged.
        """

    def load(self, saga_id: str) -> tuple[Entry, ...]:
        """Return all entries of a saga, in order. There are none if there is no such saga."""

    def entry(self, saga_id: str, seq: int) -> Entry | None:
        """Return one entry of a saga, or None if there is no such entry."""

    def entries_after(
        self, saga_id: str, after_seq: int = 0, kinds: Sequence[str] = (), offset: int = 0
    ) -> tuple[tuple[PackedEntry, ...], bool, int]:
        """Return the entries of a saga behind ``after_seq``, in order, as they are packed, and whether more follow.
        ``kinds``: only entries of these classes. As many are returned as fit into a message: at least one, where there
        is one, and of one that does not fit a piece from byte ``offset`` on. The last number says how many of its
        bytes are still to come; 0 where all entries are whole, or this was the last piece."""

    def results(self, saga_id: str, after_seq: int = 0) -> Iterator[JournalRecord]:
        """Return the entries of a saga behind ``after_seq`` that may hold what a step has returned, in order. Few of
        them are in memory at a time."""

    def timeline(self, saga_id: str, *, unmasked: bool = False) -> builtins.list[TimelineEntry]:
        """Return all entries of a saga for people to read, with inputs, outputs and events unpacked. ``unmasked``: with
        the fields that their classes hide."""

    def records(self, after_position: int = 0, limit: int = 1000) -> builtins.list[JournalRecord]:
        """Return the entries of all sagas behind a position, in order, at most ``limit``."""

    def head(self) -> int:
        """Return the position of the last entry, or 0 in a new journal."""

    def status(self, saga_id: str) -> SagaStatus | None:
        """Return the status of a saga, or None if there is no such saga."""

    def metadata(self, saga_id: str) -> SagaMetadata | None:
        """Return the state of a saga as monitoring shows it, or None if there is no such saga."""

    def purged(self, saga_id: str) -> PurgedSaga | None:
        """Return what is known of a saga that was purged, or None where no saga of that id was."""

    def accepted(self, saga_id: str) -> SagaAccepted | None:
        """Return the first entry of a saga, or None if there is no such saga."""

    def request_id(self, saga_id: str) -> str | None:
        """Return the id of the request that started the saga, or None if there is no such saga."""

    def list(
        self,
        *,
        status: SagaStatus | None = None,
        name: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        part_bytes: int | None = None,
    ) -> SagaPage:
        """Return a page of the sagas of that status and name, the last accepted first. ``text`` must occur in their id,
        name, error or reason to wait; the case of ASCII letters does not matter. That a saga waits for nothing but a
        free step process is a reason that is not searched. A saga whose state can't be read is listed with that as its
        error, and without its steps.

        ``part_bytes``: the page ends with the saga that brings it to about so many bytes in a message. A saga that is
        accepted meanwhile moves no other saga to another page. Raises RequestError for a limit under 1, and for a text
        that is no cursor.
        """

    def history(self, limit: int = 1000) -> builtins.list[SagaMetadata]:
        """Return the last ``limit`` sagas that have finished or are parked, in order of finishing."""

    def history_page(self, limit: int, cursor: str | None = None, part_bytes: int | None = None) -> SagaPage:
        """Return a page of the sagas that have finished or are parked, the last one to finish first. ``part_bytes`` and
        errors are as in ``list``."""

    def live(self) -> builtins.list[tuple[str, bool]]:
        """Return the id of each saga that is neither finished nor parked, and whether it compensates, in order of
        acceptance."""

    def counts(self) -> dict[SagaStatus, int]:
        """Count the sagas of each status. A status without sagas counts 0."""

    def changes(self, after_position: int = 0, limit: int = 1000) -> builtins.list[SagaChange]:
        """Return the state of the saga after each append behind a position, in order, at most ``limit``, and no more
        than fit into a message: at least one, where there is one. A state that can't be read is shown as that, and
        hides no other."""

    def close(self) -> None:
        """Close the file. A second call does nothing."""


def check_append(saga_id: str, expected_seq: int, entries: Sequence[Entry], row: Row) -> None:
    """Raise ValueError for an append that no journal can hold. Such an append is a mistake in this program."""
    if not entries or row.id != saga_id:
        raise ValueError(f"an append to saga {saga_id!r} needs entries, and a row of that saga")
    if isinstance(entries[0], SagaAccepted) != (expected_seq == 0):
        raise ValueError(f"saga {saga_id!r} begins with its acceptance, and is accepted once")


def by_stream(events: Sequence[SagaEvent]) -> builtins.list[tuple[str, builtins.list[NewEvent]]]:
    """Turn events into those of the event store, in runs of one stream."""
    runs: builtins.list[tuple[str, builtins.list[NewEvent]]] = []
    for event in events:
        if not runs or runs[-1][0] != event.stream:
            runs.append((event.stream, []))
        metadata = pack_payload(dict(event.metadata), what="the metadata") if event.metadata else None
        event_id = uuid.UUID(event.event_id).bytes
        runs[-1][1].append(NewEvent(event.type, event.type_version, event.data, metadata, event_id))
    return runs
