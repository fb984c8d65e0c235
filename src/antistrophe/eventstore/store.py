"""The event store: it appends events to streams, reads them in order, and keeps snapshots and subscriptions."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeGuard

from antistrophe.errors import CqrsError, RequestError
from antistrophe.eventstore.backend import (
    AppendsAlone,
    EventBackend,
    KnownStreams,
    SharedPositions,
    StoredEvent,
    StoredSnapshot,
    StoreStats,
    checked_backend,
)
from antistrophe.eventstore.recorded import RecordedEvent, Snapshot, Upcasts, recorded
from antistrophe.eventstore.saga_copies import refuse_copy
from antistrophe.eventstore.snapshots import newest_readable
from antistrophe.eventstore.sqlite import SqliteEvents
from antistrophe.eventstore.store_transaction import (
    StoreTransaction,
    check_name,
    check_storable,
    encode,
    expected,
    not_negative,
)
from antistrophe.eventstore.subscription import Commits, Subscription
from antistrophe.serialization.payload import pack_payload
from antistrophe.storage.database import now_us
from antistrophe.storage.opening import open_in_memory

if TYPE_CHECKING:
    from antistrophe.eventstore.callers_events import CallersEvents
    from antistrophe.eventstore.postgres import PostgresEvents

POSTGRES_SCHEMES = ("postgresql://", "postgres://")
"""How the URL of a PostgreSQL database begins."""


class EventStore:
    """Events in a SQLite file, in memory (``":memory:"``), in PostgreSQL, or in a backend of your own.

    ::

        with EventStore("events.db") as store:
            store.append("account A", [Credited("A", 5)], expected_version=0)
            store.get_events("account A")              # [Credited("A", 5)]
            for recorded in store.read_stream("account A"):
                print(recorded.position, recorded.recorded_at, recorded.event)

    ``versions`` (a VersionRegistry) brings old events up to date whenever events are read. ``synchronous`` is FULL
    (what ``append`` has written survives a power loss) or NORMAL. Many threads may use one store. Several processes may
    open one file, and a fork opens it again; what is in memory belongs to one process. Raises JournalError if the file
    can't be used.

    ``EventStore("postgresql://HOST/DATABASE")`` needs the extra ``antistrophe[postgres]``, and any number of hosts may
    open it. There positions have gaps, and ``read`` and subscriptions stop before an event that an open transaction
    could still commit; the events of a stream are read at once. CommitUnknownError says that the connection was lost
    during a commit, and that nobody can say whether it was written.
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
        elif isinstance(path, str) and path.startswith(POSTGRES_SCHEMES):
            from antistrophe.eventstore.postgres import PostgresEvents  # needs psycopg, which is an extra

            self.backend = PostgresEvents(path, synchronous=synchronous)
        elif isinstance(path, str | os.PathLike):
            self.backend = SqliteEvents(path, synchronous=synchronous)
        else:
            self.backend = checked_backend(path)
        # Asked once: to look whether an object has the methods of a protocol takes as long as a fifth of an append.
        self._alone = self.backend if isinstance(self.backend, AppendsAlone) else None
        self._by_stream = self.backend if isinstance(self.backend, KnownStreams) else None
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
        *,
        connection: Any = None,
    ) -> int:
        """Append ``@event`` objects to a stream, all or none, and return the stream's new version.

        With ``expected_version`` (0: the stream is empty) the stream must be at that version, else ConcurrencyError is
        raised. ``metadata`` are plain values that each of the events carries. Raises NotSerializableError, before
        anything is written, if an object is no event or can't be stored; and RequestError if the stream ends with the
        same events, stored by the saga of that id: a saga stores the events of its steps itself.

        ``connection``: one of psycopg to the store's database in PostgreSQL. The events are appended in the transaction
        that is open there, with all that the application writes in it, and never were there where it is rolled back:
        then the version that was returned is free again. After each of these errors that transaction can go on. What
        psycopg raises comes unchanged.
        """
        encoded = encode(events, metadata)
        check_name(stream)
        alone = self._alone if connection is None else self.postgres().on(connection)
        self._check_usable()
        if alone is not None:
            version = alone.append_alone(stream, encoded, expected(expected_version))
            self._commits.tell()
            return version
        if expected_version is None:
            refuse_copy(self.backend, stream, encoded)
        with self.transaction_on([stream]) as transaction:
            return transaction.append_encoded(stream, encoded, expected_version)

    async def append_async(
        self,
        stream: str,
        events: Iterable[object],
        expected_version: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        connection: Any,
    ) -> int:
        """``append`` in the transaction that is open on a ``psycopg.AsyncConnection``."""
        encoded = encode(events, metadata)
        check_name(stream)
        places = self.postgres().places
        from antistrophe.eventstore.callers_events import append_async  # needs psycopg, which is an extra

        version = await append_async(connection, places, stream, encoded, expected(expected_version))
        self._commits.tell()
        return version

    @contextmanager
    def transaction(self, *, connection: Any = None) -> Iterator[StoreTransaction]:
        """``with store.transaction() as transaction:`` commits everything that is appended within at the end, or
        nothing after an exception. Other writers wait meanwhile, so be quick. Nobody sees the events before the end.

        The store of an orchestrator is the journal of its sagas. So within a transaction the calls that start a saga,
        wait for its end or give it an order raise RequestError: the saga would wait for the end of the transaction.

        ``connection``: as for ``append``. The block is a part of the transaction that is open there, and what is
        appended within is committed with all of it; an exception undoes the block alone.
        """
        with self._on(connection).transaction() as writer:
            yield StoreTransaction(writer)
        self._commits.tell()

    @contextmanager
    def transaction_on(self, streams: Collection[str], *, connection: Any = None) -> Iterator[StoreTransaction]:
        """A ``transaction`` that appends to these streams and no others. In PostgreSQL only those wait who write to one
        of them, and not all other transactions; and no two of them wait for each other, in whatever order they
        append."""
        by_stream = self._by_stream if connection is None else self.postgres().on(connection)
        self._check_usable()
        if by_stream is None:
            with self.transaction() as transaction:
                yield transaction
            return
        for stream in streams:
            check_name(stream)
        with by_stream.transaction_on(streams) as writer:
            yield StoreTransaction(writer)
        self._commits.tell()

    # --- reading -----------------------------------------------------------------------------------------------

    def get_events(self, stream: str, *, connection: Any = None) -> list[object]:
        """Return all events of a stream as objects, in order; `read_stream` says when each was recorded, and by whom.

        A stream that does not exist has none. With a ``connection`` of psycopg they are what its open transaction sees,
        what it has appended itself included. Raises UnreadableDataError if an event can't be read.
        """
        return self.get_events_after(stream, 0, connection=connection)

    def get_events_after(self, stream: str, version: int, *, connection: Any = None) -> list[object]:
        """Return the events of a stream behind that version, as objects. ``connection``: as for ``get_events``."""
        found = self.read_stream(stream, not_negative("version", version), connection=connection)
        return [each.event for each in found]

    def get_all_events(self) -> list[object]:
        """Return every event as an object, in order of position. With many, read in parts or subscribe."""
        return [each.event for each in self.read()]

    def read_stream(self, stream: str, after_version: int = 0, *, connection: Any = None) -> list[RecordedEvent]:
        """Return the events of a stream behind that version, each with its position, metadata and time.

        A stream that does not exist has none. ``connection``: as for ``get_events``. Raises UnknownVersionError if an
        event is of a newer version than this program knows.
        """
        backend = self._on(connection)
        check_storable(stream)
        after = not_negative("after_version", after_version)
        return recorded(backend.read_stream(stream, after), self.versions)

    async def read_stream_async(self, stream: str, after_version: int = 0, *, connection: Any) -> list[RecordedEvent]:
        """``read_stream`` in the transaction that is open on a ``psycopg.AsyncConnection``."""
        places = self.postgres().places
        check_storable(stream)
        after = not_negative("after_version", after_version)
        from antistrophe.eventstore.callers_events import read_stream_async  # needs psycopg, which is an extra

        return recorded(await read_stream_async(connection, places, stream, after), self.versions)

    def read(self, from_position: int = 0, limit: int | None = None) -> list[RecordedEvent]:
        """Return the events behind a position (the last one already seen), at most ``limit``, in order of position,
        each with its stream, metadata and time.

        Raises UnknownVersionError if an event is of a newer version than this program knows.
        """
        self._check_usable()
        after = not_negative("from_position", from_position)
        most = None if limit is None else not_negative("limit", limit)
        return recorded(self.backend.read(after, most), self.versions)

    def subscribe(self, from_position: int = 0) -> Subscription:
        """Iterate over the events behind a position (the last one already seen), and then over new ones as any process
        commits them. The iteration ends when the subscription or the store is closed."""
        self._check_usable()
        return Subscription(
            self._rows_behind,
            lambda rows: recorded(rows, self.versions),
            self._commits,
            not_negative("from_position", from_position),
            *([self.backend.longest_wait_s] if isinstance(self.backend, SharedPositions) else []),
        )

    def version(self, stream: str, *, connection: Any = None) -> int:
        """Return the version of a stream: how many events it has. ``connection``: as for ``get_events``."""
        backend = self._on(connection)
        check_storable(stream)
        return backend.version(stream)

    def head(self) -> int:
        """Return the position of the last event that is committed, or 0 in an empty store."""
        self._check_usable()
        return self.backend.head()

    # --- snapshots ---------------------------------------------------------------------------------------------

    def save_snapshot(self, stream: str, version: int, state: Any, *, connection: Any = None) -> None:
        """Keep ``state`` (a plain value, such as a dict) as the result of the first ``version`` events of the stream.

        ``connection``: as for ``append``. Raises CqrsError if the stream has no such version, and NotSerializableError
        if ``state`` is no plain value.
        """
        packed = pack_payload(state, what="the snapshot")
        backend = self._on(connection)
        check_storable(stream)
        actual = backend.version(stream)
        if type(version) is not int or not 1 <= version <= actual:
            raise CqrsError(
                f"no snapshot of version {version!r} can be saved: stream {stream!r} is at version {actual}"
            )
        backend.save_snapshot(StoredSnapshot(stream, version, packed, now_us()))

    def get_latest_snapshot(self, stream: str, *, connection: Any = None) -> Snapshot | None:
        """The snapshot of the highest version, or None. Go on with ``get_events_after(stream, snapshot.version)``.

        One that can't be read is passed over, with a warning in the log, for the one before. Raises UnreadableDataError
        where the stream has snapshots and none of them can be read; its events can be read from the first on then.
        ``connection``: as for ``get_events``.
        """
        backend = self._on(connection)
        check_storable(stream)
        return newest_readable(backend, stream)

    # --- the store itself --------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Return when everything that is committed will survive a power loss, with ``synchronous="NORMAL"`` too, and a
        synchronous standby has it."""
        self._check_usable()
        self.backend.flush()

    def stats(self) -> StoreStats:
        """Count the events, streams and snapshots, and add what the backend says of itself."""
        self._check_usable()
        return self.backend.stats()

    def close(self) -> None:
        """End the subscriptions and close the file. A second call does nothing."""
        if not self._commits.over:
            self._commits.end()
            self.backend.close()

    @property
    def closed(self) -> bool:
        """Whether the store was closed. A closed store can't be used any more."""
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

    def _on(self, connection: Any) -> EventBackend | CallersEvents:
        """What asks and writes on that connection; None: the backend itself. Raises RequestError for what is no
        connection to this store's database."""
        if connection is not None:
            return self.postgres().on(connection)
        self._check_usable()
        return self.backend

    def postgres(self) -> PostgresEvents:
        """The backend of a store that works in transactions of the application. Raises RequestError for any other."""
        self._check_usable()
        if not is_postgres(self.backend):
            raise RequestError(
                "events can be appended and read in a transaction of the application only where the store is in the"
                ' same PostgreSQL database (EventStore("postgresql://...")); this one is not: leave connection= out'
            )
        return self.backend

    def _check_usable(self) -> None:
        if self._commits.over:
            raise CqrsError("this event store is closed")
        self._check_process()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise CqrsError(f"this event store was opened by process {self._pid}; open it again in its fork")


def is_postgres(backend: EventBackend) -> TypeGuard[PostgresEvents]:
    """Whether it is the backend for PostgreSQL, which needs psycopg and so is not imported to ask."""
    module = sys.modules.get("antistrophe.eventstore.postgres")
    return module is not None and isinstance(backend, module.PostgresEvents)
