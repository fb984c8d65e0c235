"""A backend of one's own: events in lists, with as little code as the contract allows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from antistrophe.errors import ConcurrencyError
from antistrophe.eventstore.backend import NewEvent, StoredEvent, StoredSnapshot, StoreStats


class ListedEvents:
    """An ``EventBackend`` without a database."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._events: list[StoredEvent] = []
        self._ids: set[bytes] = set()
        self._snapshots: dict[tuple[str, int], StoredSnapshot] = {}

    @contextmanager
    def transaction(self) -> Iterator[ListedWriter]:
        with self._lock:
            writer = ListedWriter(list(self._events), set(self._ids))
            yield writer
            self._events, self._ids = writer.events, writer.ids

    def read(self, after_position: int, limit: int | None) -> list[StoredEvent]:
        with self._lock:
            return self._events[after_position : None if limit is None else after_position + limit]

    def read_stream(self, stream: str, after_version: int) -> list[StoredEvent]:
        with self._lock:
            return [row for row in self._events if row[1] == stream and row[2] > after_version]

    def version(self, stream: str) -> int:
        return len(self.read_stream(stream, 0))

    def head(self) -> int:
        with self._lock:
            return len(self._events)

    def save_snapshot(self, snapshot: StoredSnapshot) -> None:
        with self._lock:
            self._snapshots[snapshot.stream, snapshot.version] = snapshot

    def latest_snapshot(self, stream: str) -> StoredSnapshot | None:
        with self._lock:
            found = [each for each in self._snapshots.values() if each.stream == stream]
        return max(found, key=lambda each: each.version, default=None)

    def flush(self) -> None:
        pass

    def stats(self) -> StoreStats:
        with self._lock:
            return StoreStats(len(self._events), len({row[1] for row in self._events}), len(self._snapshots))

    def close(self) -> None:
        pass


class ListedWriter:
    """What is there when the transaction ends."""

    database = None

    def __init__(self, events: list[StoredEvent], ids: set[bytes]) -> None:
        self.events = events
        self.ids = ids

    def append(self, stream: str, events: Sequence[NewEvent], expected_version: int | None = None) -> int:
        version = sum(row[1] == stream for row in self.events)
        if expected_version is not None and expected_version != version:
            raise ConcurrencyError(stream, expected=expected_version, actual=version)
        for event in events:
            if event.event_id is not None and event.event_id in self.ids:
                continue
            if event.event_id is not None:
                self.ids.add(event.event_id)
            version += 1
            content = (event.type, event.type_version, event.data, event.metadata)
            self.events.append((len(self.events) + 1, stream, version, *content, time.time_ns() // 1000))
        return version
