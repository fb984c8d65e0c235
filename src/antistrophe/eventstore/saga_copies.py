"""Refuses a second copy of what a saga has stored: an application that appends the events of ``execute`` by hand would
have each of them twice."""

from __future__ import annotations

from collections.abc import Sequence

from antistrophe.errors import RequestError, UnreadableDataError
from antistrophe.eventstore.backend import EventBackend, NewEvent, StoredEvent
from antistrophe.serialization.payload import unpack_payload


def refuse_copy(backend: EventBackend, stream: str, events: Sequence[NewEvent]) -> None:
    """Raise RequestError where the stream ends with just these events, and the saga of that id has stored them."""
    version, number = backend.version(stream), len(events)
    if not 0 < number <= version:
        return
    last = backend.read_stream(stream, version - 1)[:1]
    if not is_copy(last, events[-1:], stream):  # one row tells it for almost every append
        return
    if is_copy(backend.read_stream(stream, version - number)[:number], events, stream):
        raise copy_refused(stream, version)


def copy_refused(stream: str, version: int) -> RequestError:
    """What to raise for a copy of the last events of a stream of that version."""
    return RequestError(
        f"stream {stream!r} has these events already: saga {stream!r} has stored what its steps returned, in the "
        "same commit as their results, under its id. Leave this append out; if you do want a second copy, append "
        f"it with expected_version={version}"
    )


def is_copy(stored: Sequence[StoredEvent], events: Sequence[NewEvent], stream: str) -> bool:
    """Whether these events are the stored ones, one by one, and the saga of that id has stored them."""
    return len(stored) == len(events) and all(
        row[3:6] == (event.type, event.type_version, event.data) and _saga_of(row[6]) == stream
        for row, event in zip(stored, events, strict=True)
    )


def _saga_of(metadata: bytes | None) -> object:
    """The saga that has stored an event, by the event's metadata."""
    try:
        found = None if metadata is None else unpack_payload(metadata)
    except UnreadableDataError:
        return None
    return found.get("saga_id") if type(found) is dict else None
