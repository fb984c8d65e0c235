"""Events in memory: a backend for tests, and for what need not outlive its process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from antistrophe.errors import ConcurrencyError
from antistrophe.eventstore.backend import NewEvent, StoredEvent, StoredSnapshot, StoreStats


class MemoryEvents:
    """The memory variant of ``EventBackend``."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._events: list[StoredEvent] = []
        self._streams: dict[str, list[StoredEvent]] = {}
        self._ids: set[bytes] = set()
        self._snapshots: dict[str, dict[int, StoredSnapshot]] = {}
        self._pending: _MemoryTransaction | None = None

    @contextmanager
    def transaction(self) -> Iterator[_MemoryTransaction]:
        """See ``EventBackend``."""
        with self._lock:
            if self._pending is not None:
                raise RuntimeError("this thread has a transaction open already")
            pending = self._pending = _MemoryTransaction(self._streams, self._ids, len(self._events))
            try:
                yield pending
            finally:
                self._pending = None
            self._events.extend(pending.events)
            self._ids.update(pending.ids)
            for event in pending.events:
                self._streams.setdefault(event[1], []).append(event)

    def read(self, after_position: int, limit: int | None) -> list[StoredEvent]:
        """See ``EventBackend``."""
        with self._lock:
            stop = None if limit is None else after_position + limit
            return self._events[after_position:stop]

    def read_stream(self, stream: str, after_version: int) -> list[StoredEvent]:
        """See ``EventBackend``."""
        with self._lock:
            return list(islice(self._streams.get(stream, ()), after_version, None))

    def version(self, stream: str) -> int:
        """See ``EventBackend``."""
        with self._lock:
            return len(self._streams.get(stream, ()))

    def head(self) -> int:
        """See ``EventBackend``."""
        with self._lock:
            return len(self._events)

    def save_snapshot(self, snapshot: StoredSnapshot) -> None:
        """See ``EventBackend``."""
        with self._lock:
            self._snapshots.setdefault(snapshot.stream, {})[snapshot.version] = snapshot

    def latest_snapshot(self, stream: str) -> StoredSnapshot | None:
        """See ``EventBackend``."""
        with self._lock:
            versions = self._snapshots.get(stream)
            return versions[max(versions)] if versions else None

    def flush(self) -> None:
        """Nothing here survives the process."""

    def stats(self) -> StoreStats:
        """See ``EventBackend``."""
        with self._lock:
            snapshots = sum(map(len, self._snapshots.values()))
            return StoreStats(len(self._events), len(self._streams), snapshots, {"kind": "memory"})

    def close(self) -> None:
        """The events stay for as long as the object does."""


class _MemoryTransaction:
    """What is to be added when the transaction ends well."""

    database = None

    def __init__(self, streams: dict[str, list[StoredEvent]], ids: set[bytes], head: int) -> None:
        self._streams = streams
        self._known_ids = ids
        self._head = head
        self._versions: dict[str, int] = {}
        self.events: list[StoredEvent] = []
        self.ids: set[bytes] = set()

    def append(self, stream: str, events: Sequence[NewEvent], expected_version: int | None = None) -> int:
        """See ``EventWriter``."""
        version = self._versions.get(stream, len(self._streams.get(stream, ())))
        if expected_version is not None and expected_version != version:
            raise ConcurrencyError(stream, expected=expected_version, actual=version)
        now = time.time_ns() // 1000
        for event in events:
            if event.event_id is not None:
                if event.event_id in self._known_ids or event.event_id in self.ids:
                    continue
                self.ids.add(event.event_id)
            version += 1
            position = self._head + len(self.events) + 1
            self.events.append(
                (position, stream, version, event.type, event.type_version, event.data, event.metadata, now)
            )
        self._versions[stream] = version
        return version
