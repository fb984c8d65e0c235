"""Opens the newest snapshot of a stream that can be read."""

from __future__ import annotations

import logging
from typing import Protocol

from antistrophe.errors import UnreadableDataError
from antistrophe.eventstore.backend import OlderSnapshots, StoredSnapshot
from antistrophe.eventstore.recorded import Snapshot, moment_of
from antistrophe.serialization.payload import unpack_payload

_log = logging.getLogger("antistrophe.eventstore")


class HasSnapshots(Protocol):
    """The part of an ``EventBackend`` that is asked."""

    def latest_snapshot(self, stream: str) -> StoredSnapshot | None:
        """Return the snapshot of the highest version, or None."""


def newest_readable(backend: HasSnapshots, stream: str) -> Snapshot | None:
    """The snapshot of the highest version that can be read, or None where the stream has none. One that can't be read
    is passed over, with a warning in the log. Raises UnreadableDataError where none of them can be read."""
    found, unreadable = backend.latest_snapshot(stream), None
    while found is not None:
        try:
            return _opened(found)
        except UnreadableDataError as error:
            _log.warning("%s; the snapshot before it is used, where there is one", error)
            unreadable = unreadable or error
        found = backend.snapshot_before(stream, found.version) if isinstance(backend, OlderSnapshots) else None
    if unreadable is not None:
        raise unreadable
    return None


def _opened(stored: StoredSnapshot) -> Snapshot:
    """The snapshot as its reader gets it. Raises UnreadableDataError."""
    what = f"the snapshot of stream {stored.stream!r} at version {stored.version}"
    if not isinstance(stored.state, bytes):
        raise UnreadableDataError(f"{what} is damaged: it holds no bytes")
    return Snapshot(
        stored.stream, stored.version, unpack_payload(stored.state, what=what), moment_of(stored.recorded_at)
    )
