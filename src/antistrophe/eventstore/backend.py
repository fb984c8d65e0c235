"""The contract between an event store and its backend: the protocol, and the rows that go through it.

A backend knows bytes only. If you write one, run ``antistrophe.testing.store_contract`` over it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import field
from typing import Protocol, TypeAlias, runtime_checkable

from antistrophe.fast_dataclass import dataclass
from antistrophe.storage.connection import SqlDatabase

StoredEvent: TypeAlias = tuple[int, str, int, str, int, bytes, bytes | None, int]
"""One stored event: position, stream, version, type, type_version, data, metadata, recorded_at (microseconds since the
epoch). It is a tuple because SQLite returns tuples, and readers get hundreds of thousands of them."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append. ``data`` and ``metadata`` are packed msgpack. An event whose ``event_id`` (16 bytes) is
    stored already, in any stream, is not stored again."""

    type: str
    type_version: int
    data: bytes
    metadata: bytes | None = None
    event_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """The packed state of a stream at ``version``. ``recorded_at`` is in microseconds since the epoch."""

    stream: str
    version: int
    state: bytes
    recorded_at: int


@dataclass(frozen=True, slots=True)
class StoreStats:
    """How much a store holds, and what its ``backend`` adds for people to read."""

    events: int
    streams: int
    snapshots: int
    backend: dict[str, object] = field(default_factory=dict)


class EventWriter(Protocol):
    """Appends events within a backend's transaction."""

    @property
    def database(self) -> SqlDatabase | None:
        """The connection of the transaction, for other rows in it. None if the backend has no such connection."""

    def append(self, stream: str, events: Sequence[NewEvent], expected_version: int | None = None) -> int:
        """Append the events to the stream and return its version. Raises ConcurrencyError if ``expected_version`` is
        given and is not the stream's version."""


@runtime_checkable
class OlderSnapshots(Protocol):
    """What a backend may offer beside ``EventBackend``: then a snapshot that can't be read costs the events since the
    one before, and not the whole stream."""

    def snapshot_before(self, stream: str, version: int) -> StoredSnapshot | None:
        """Return the snapshot of the highest version below that one, or None."""


@runtime_checkable
class KnownStreams(Protocol):
    """What a backend may offer beside ``EventBackend``: writers of different streams don't wait for each other."""

    def transaction_on(self, streams: Collection[str]) -> AbstractContextManager[EventWriter]:
        """A transaction that appends to no other streams than these."""


@runtime_checkable
class AppendsAlone(Protocol):
    """What a backend may offer beside ``EventBackend``: one append in a transaction of its own, which asks less."""

    def append_alone(self, stream: str, events: Sequence[NewEvent], expected_version: int | None) -> int:
        """Append as an ``EventWriter`` does. Without an expected version it raises RequestError where a saga has stored
        the same events at the end of the stream."""


@runtime_checkable
class SharedPositions(Protocol):
    """What a backend says of itself where several transactions draw positions at once.

    ``positions_have_gaps``: those of transactions that were rolled back stay free. ``longest_wait_s``: how long a
    reader waits at most before it looks for commits of other processes.
    """

    positions_have_gaps: bool
    longest_wait_s: float


class EventBackend(Protocol):
    """Where events are stored. Any thread may call any method at any time. Nobody sees what is not committed.

    Positions count from 1 over all streams, and versions count from 1 within each stream. Both are without a gap, in
    the order of the commits. A backend with ``SharedPositions`` may have gaps between positions; whoever reads on from
    the last position that ``read`` gave it still misses no event.
    """

    def transaction(self) -> AbstractContextManager[EventWriter]:
        """Commit everything that is appended within at the end, or nothing after an exception."""

    def read(self, after_position: int, limit: int | None) -> list[StoredEvent]:
        """Return the events behind that position, at most ``limit``. None is returned before one with a smaller
        position is, so those that are committed may come a little later here than by stream."""

    def read_stream(self, stream: str, after_version: int) -> list[StoredEvent]:
        """Return the events of a stream behind that version."""

    def version(self, stream: str) -> int:
        """Return the version of a stream: that of its last event, or 0."""

    def head(self) -> int:
        """Return the position of the last event, or 0."""

    def save_snapshot(self, snapshot: StoredSnapshot) -> None:
        """Keep the snapshot. It replaces an older one of the same stream and version."""

    def latest_snapshot(self, stream: str) -> StoredSnapshot | None:
        """Return the snapshot of the highest version, or None."""

    def flush(self) -> None:
        """Return when everything that is committed will survive a power loss."""

    def stats(self) -> StoreStats:
        """Count what is stored."""

    def close(self) -> None:
        """Close files and connections. A second call does nothing."""


def checked_backend(thing: EventBackend) -> EventBackend:
    """The backend that a caller gave. Raises TypeError for what is none."""
    lacks = sorted(name for name in vars(EventBackend) if name[0] != "_" and not callable(getattr(thing, name, None)))
    if isinstance(thing, type) or lacks:
        raise TypeError(
            'EventStore takes the path of a file, ":memory:", "postgresql://HOST/DATABASE", or an EventBackend, not'
            f" {thing!a:.200}" + (f", which has no {', '.join(lacks)}" if 0 < len(lacks) < 4 else "")
        )
    return thing
