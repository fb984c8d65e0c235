"""The ids of the sagas that a session has started or joined."""

from __future__ import annotations

import threading
from collections.abc import Iterator

CHUNK = 500
"""How many ids go into one message."""

_FIRST_LOOK = 1_000


class HeldIds:
    """Ids of sagas, until they are known to have ended. Any thread may use it.

    Nobody tells a session that a saga has ended for which it does not wait. So when there are many ids, it is time to
    ask which of their sagas are live; each time the next such moment is as far away as there are ids left.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: dict[str, None] = {}
        self._look_at = _FIRST_LOOK

    def add(self, saga_id: str) -> bool:
        """Hold that saga. True when it is time to ask which of the sagas are live."""
        with self._lock:
            self._ids[saga_id] = None
            due = len(self._ids) >= self._look_at
            if due:
                self._look_at = 2 * len(self._ids)
            return due

    def remove(self, *saga_ids: str) -> None:
        """These sagas have ended."""
        with self._lock:
            for saga_id in saga_ids:
                self._ids.pop(saga_id, None)
            self._look_at = min(self._look_at, max(_FIRST_LOOK, 2 * len(self._ids)))

    def chunks(self) -> Iterator[tuple[tuple[str, ...], bool]]:
        """All ids in chunks, and of each whether it is the last. There is one, even if there are no ids."""
        with self._lock:
            ids = tuple(self._ids)
        for start in range(0, max(len(ids), 1), CHUNK):
            yield ids[start : start + CHUNK], start + CHUNK >= len(ids)
