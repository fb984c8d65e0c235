"""How the answer of an idempotency key is remembered: packed for an event store, or as it is for a bus without one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from antistrophe.definition.events import RawEvent, encode_event, is_version
from antistrophe.errors import UnreadableDataError
from antistrophe.eventstore.recorded import Upcasts, recorded
from antistrophe.serialization.payload import pack_payload, unpack_payload

_WHAT = "the answer that was stored for the key"


class Answers(Protocol):
    """Turns the answer of a key into the bytes in the key's row, and back."""

    def pack(self, token: str, events: Sequence[Any]) -> bytes:
        """The bytes for the events that the claim ``token`` ended with."""

    def unpack(self, answer: bytes) -> list[Any]:
        """The events for the bytes, in a new list."""

    def forget(self, answer: bytes | None) -> None:
        """The row with these bytes goes. None: the row had no answer."""


class PackedAnswers:
    """Answers as packed events. They are read as all events are: in their newest version, where it is known."""

    def __init__(self, versions: Upcasts | None) -> None:
        self._versions = versions

    def pack(self, token: str, events: Sequence[Any]) -> bytes:
        """See ``Answers``. Raises NotSerializableError for what is no event."""
        del token
        return pack_payload([_encoded(event) for event in events], what=_WHAT)

    def unpack(self, answer: bytes) -> list[Any]:
        """See ``Answers``. Raises UnreadableDataError for what ``pack`` can't have made."""
        rows = [(0, "", 0, *_event_in(each), None, 0) for each in _list_in(unpack_payload(answer, what=_WHAT))]
        return [each.event for each in recorded(rows, self._versions)]

    def forget(self, answer: bytes | None) -> None:
        """See ``Answers``."""


class LiveAnswers:
    """Answers as the very objects that the handler returned, which need not be events: a bus without an event store
    stores nothing."""

    def __init__(self) -> None:
        self._events: dict[bytes, list[Any]] = {}

    def pack(self, token: str, events: Sequence[Any]) -> bytes:
        """See ``Answers``."""
        answer = token.encode()
        self._events[answer] = list(events)
        return answer

    def unpack(self, answer: bytes) -> list[Any]:
        """See ``Answers``."""
        return list(self._events[answer])

    def forget(self, answer: bytes | None) -> None:
        """See ``Answers``."""
        if answer is not None:
            self._events.pop(answer, None)


def _encoded(event: Any) -> list[Any]:
    if isinstance(event, RawEvent):  # of a saga whose event classes this program does not have
        return [event.type, event.type_version, pack_payload(event.data, what=f"event {event.type}")]
    encoded = encode_event(event)
    return [encoded.type, encoded.type_version, encoded.data]


def _list_in(answer: Any) -> list[Any]:
    if isinstance(answer, list):
        return answer
    raise UnreadableDataError(f"{_WHAT} is no list of events")


def _event_in(encoded: Any) -> tuple[str, int, bytes]:
    match encoded:
        case [str(type_name), int(version), bytes(data)] if is_version(version):
            return type_name, version, data
    raise UnreadableDataError(f"{_WHAT} holds something that is no event")
