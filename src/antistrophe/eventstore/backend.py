"""What an event store needs of the place where its events lie: the protocol of a backend, and the rows it deals in.

A backend knows bytes only. Whoever writes one runs ``antistrophe.testing.store_contract`` over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from antistrophe.storage.database import Database

StoredEvent: TypeAlias = tuple[int, str, int, str, int, bytes, bytes | None, int]
"""One stored event: position, stream, version, type, type_version, data, metadata, recorded_at (microseconds since the
epoch). A tuple, because it is what SQLite hands out, by the hundred thousand."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be appended: its fields and its metadata are packed msgpack. One with an ``event_id`` (16 bytes) that
    is stored already, in any stream, is passed over."""

    type: str
    type_version: int
    data: bytes
    metadata: bytes | None = None
    event_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """The packed state of a stream as of ``version``; ``recorded_at`` in microseconds since the epoch."""

    stream: str
    version: int
    state: bytes
    recorded_at: int


@dataclass(frozen=True, slots=True)
class StoreStats:
    """How much a store holds, and what else its ``backend`` tells (for people, not for programs)."""

    events: int
    streams: int
    snapshots: int
    backend: dict[str, object] = field(default_factory=dict)


class EventWriter(Protocol):
    """What can be done within a backend's transaction."""

    @property
    def database(self) -> Database | None:
        """The connection of the transaction, for other rows in it. None if the backend has no such connection."""

    def append(self, stream: str, events: Sequence[NewEvent], expected_version: int | None = None) -> int:
        """Add the events to the end of the stream and answer with its version. Raises ConcurrencyError where
        ``expected_version`` is given and is not the stream's."""


class EventBackend(Protocol):
    """Where events lie. Any thread may call anything at any time; what ``transaction`` has not committed is not seen.

    Positions count from 1 over all streams, versions from 1 within each, both without a gap and in the order of the
    commits.
    """

    def transaction(self) -> AbstractContextManager[EventWriter]:
        """All that is appended within is there at the end, or (after an exception) nothing of it."""

    def read(self, after_position: int, limit: int | None) -> list[StoredEvent]:
        """The events behind that position, at most ``limit``."""

    def read_stream(self, stream: str, after_version: int) -> list[StoredEvent]:
        """The events of a stream behind that version."""

    def version(self, stream: str) -> int:
        """The version of a stream: that of its last event, 0 where there is none."""

    def head(self) -> int:
        """The position of the last event, 0 where there is none."""

    def save_snapshot(self, snapshot: StoredSnapshot) -> None:
        """Keep it, in place of an older one of the same stream and version."""

    def latest_snapshot(self, stream: str) -> StoredSnapshot | None:
        """The one of the highest version."""

    def flush(self) -> None:
        """Come back when everything that is committed will survive a power loss."""

    def stats(self) -> StoreStats:
        """How much there is."""

    def close(self) -> None:
        """Give back files and connections; a second time does nothing."""
