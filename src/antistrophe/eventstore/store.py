"""The event store: streams of events, versions, one order over all of them, snapshots and subscriptions."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from antistrophe.definition.events import encode_event
from antistrophe.errors import CqrsError
from antistrophe.eventstore.backend import EventBackend, EventWriter, NewEvent, StoredEvent, StoredSnapshot, StoreStats
from antistrophe.eventstore.recorded import RecordedEvent, Snapshot, Upcasts, moment_of, recorded
from antistrophe.eventstore.sqlite import SqliteEvents
from antistrophe.eventstore.subscription import Commits, Subscription
from antistrophe.serialization.payload import pack_payload, unpack_payload
from antistrophe.storage.database import Database
from antistrophe.storage.opening import open_in_memory

_LAST_POSITION = 2**63 - 1


class EventStore:
    """Events in a SQLite file, or with ``":memory:"`` in this process alone; or in a backend of your own.

    ``versions`` (a VersionRegistry) brings old events up to date whenever events are read. ``synchronous`` is FULL
    (what ``append`` has written survives a power loss) or NORMAL. One store may be used from many threads, and several
    processes may open one file; a fork must open it anew. Raises JournalError where the file can't be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | EventBackend,
        versions: Upcasts | None = None,
        *,
        synchronous: str = "FULL",
    ) -> None:
        if isinstance(path, str) and path == ":memory:":
            self.backend: EventBackend = SqliteEvents(open_in_memory())
        elif isinstance(path, str | os.PathLike):
            self.backend = SqliteEvents(path, synchronous=synchronous)
        else:
            self.backend = path
        self.versions = versions
        self._commits = Commits()
        self._pid = os.getpid()

    # --- writing -----------------------------------------------------------------------------------------------

    def append(
        self,
        stream: str,
        events: Iterable[object],
        expected_version: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """Add ``@event`` objects to the end of a stream, all or none; answers with the stream's new version.

        With ``expected_version`` (0: the stream is empty) only if the stream is at that version, else ConcurrencyError.
        ``metadata``: plain values that every one of the events carries. Raises NotSerializableError, before anything is
        written, for what is no event or can't be stored.
        """
        encoded = _encode(events, metadata)
        with self.transaction() as transaction:
            return transaction.append_encoded(stream, encoded, expected_version)

    @contextmanager
    def transaction(self) -> Iterator[StoreTransaction]:
        """``with store.transaction() as transaction:`` what is appended within is there together at the end, or (after
        an exception) nothing of it. Other writers wait meanwhile, so be quick; the events are not seen before the end.
        """
        self._check_usable()
        with self.backend.transaction() as writer:
            yield StoreTransaction(writer)
        self._commits.tell()

    # --- reading -----------------------------------------------------------------------------------------------

    def get_events(self, stream: str) -> list[RecordedEvent]:
        """All events of a stream, in order; none for a stream that does not exist."""
        return self.get_events_after(stream, 0)

    def get_events_after(self, stream: str, version: int) -> list[RecordedEvent]:
        """The events of a stream behind that version."""
        self._check_usable()
        return recorded(self.backend.read_stream(stream, _not_negative("version", version)), self.versions)

    def get_all_events(self) -> list[RecordedEvent]:
        """Every event, in order of position. With many, read in parts or subscribe."""
        return self.read()

    def read(self, from_position: int = 0, limit: int | None = None) -> list[RecordedEvent]:
        """The events behind a position (the last one already seen), at most ``limit``, in order of position.

        Raises UnknownVersionError where one is of a newer version than this program knows.
        """
        self._check_usable()
        after = _not_negative("from_position", from_position)
        most = None if limit is None else _not_negative("limit", limit)
        return recorded(self.backend.read(after, most), self.versions)

    def subscribe(self, from_position: int = 0) -> Subscription:
        """Every event behind a position (the last one already seen), then the new ones as they are committed, by any
        process. Ends when it is closed, or the store is."""
        self._check_usable()
        return Subscription(
            self._rows_behind,
            lambda rows: recorded(rows, self.versions),
            self._commits,
            _not_negative("from_position", from_position),
        )

    def version(self, stream: str) -> int:
        """The version of a stream: how many events it has."""
        self._check_usable()
        return self.backend.version(stream)

    def head(self) -> int:
        """The position of the last event; 0 where there is none."""
        self._check_usable()
        return self.backend.head()

    # --- snapshots ---------------------------------------------------------------------------------------------

    def save_snapshot(self, stream: str, version: int, state: Any) -> None:
        """Keep ``state`` (a plain value, such as a dict) as what the first ``version`` events of the stream amount to.

        Raises CqrsError where the stream has not come to that version, NotSerializableError for what is no plain value.
        """
        packed = pack_payload(state, what="the snapshot")
        actual = self.version(stream)
        if not 1 <= version <= actual:
            raise CqrsError(f"no snapshot of version {version} can be saved: stream {stream!r} is at version {actual}")
        self.backend.save_snapshot(StoredSnapshot(stream, version, packed, time.time_ns() // 1000))

    def get_latest_snapshot(self, stream: str) -> Snapshot | None:
        """The snapshot of the highest version, or None; go on with ``get_events_after(stream, snapshot.version)``."""
        self._check_usable()
        found = self.backend.latest_snapshot(stream)
        if found is None:
            return None
        state = unpack_payload(found.state, what=f"the snapshot of stream {stream!r} at version {found.version}")
        return Snapshot(found.stream, found.version, state, moment_of(found.recorded_at))

    # --- the store itself --------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Come back when everything that is committed will survive a power loss, with NORMAL too."""
        self._check_usable()
        self.backend.flush()

    def stats(self) -> StoreStats:
        """How many events, streams and snapshots there are, and what the backend says of itself."""
        self._check_usable()
        return self.backend.stats()

    def close(self) -> None:
        """End the subscriptions and close the file; a second time does nothing."""
        if not self._commits.over:
            self._commits.end()
            self.backend.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed: it can't be used any more."""
        return self._commits.over

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _rows_behind(self, position: int, limit: int) -> Sequence[StoredEvent]:
        self._check_process()
        return self.backend.read(position, limit)

    def _check_usable(self) -> None:
        if self._commits.over:
            raise CqrsError("this event store is closed")
        self._check_process()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise CqrsError(f"this event store was opened by process {self._pid}; open it again in its fork")


class StoreTransaction:
    """What ``EventStore.transaction`` gives.

    ``database`` is the connection of the store's SQLite database, in a file or in memory: other rows that are written
    through it are committed together with the events. It is None for a store with a backend of your own.
    """

    def __init__(self, writer: EventWriter) -> None:
        self._writer = writer

    @property
    def database(self) -> Database | None:
        return self._writer.database

    def append(
        self,
        stream: str,
        events: Iterable[object],
        expected_version: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """See ``EventStore.append``."""
        return self.append_encoded(stream, _encode(events, metadata), expected_version)

    def append_encoded(self, stream: str, events: Sequence[NewEvent], expected_version: int | None = None) -> int:
        """The same for events that are encoded already."""
        if not isinstance(stream, str) or not stream:
            raise ValueError(f"a stream is named by a text that is not empty, not by {stream!r}")
        if expected_version is not None:
            _not_negative("expected_version", expected_version)
        return self._writer.append(stream, events, expected_version)


def _encode(events: Iterable[object], metadata: Mapping[str, Any] | None) -> list[NewEvent]:
    packed = pack_payload(dict(metadata), what="the metadata") if metadata else None
    encoded = map(encode_event, events)
    return [NewEvent(each.type, each.type_version, each.data, packed) for each in encoded]


def _not_negative(what: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{what} must be a whole number from 0 on, not {value!r}")
    return min(value, _LAST_POSITION)
