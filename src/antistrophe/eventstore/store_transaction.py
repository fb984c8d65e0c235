"""What ``EventStore.transaction`` gives: a writer of events, and the checks of what is to be stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from antistrophe.definition.events import encode_event, event_key
from antistrophe.definition.validation import is_text
from antistrophe.errors import NotSerializableError
from antistrophe.eventstore.backend import EventWriter, NewEvent
from antistrophe.serialization.payload import pack_payload
from antistrophe.serialization.type_hints import short
from antistrophe.serialization.whole_numbers import LARGEST_INTEGER, check_whole_number
from antistrophe.storage.connection import SqlDatabase


class StoreTransaction:
    """What ``EventStore.transaction`` gives.

    ``database`` is the connection of the store's database: other rows that are written through it are committed
    together with the events. It is None for a store with a backend of your own, and in a transaction on a connection of
    your own, which is itself the one to write through.
    """

    def __init__(self, writer: EventWriter) -> None:
        self._writer = writer

    @property
    def database(self) -> SqlDatabase | None:
        return self._writer.database

    def append(
        self,
        stream: str,
        events: Iterable[object],
        expected_version: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """See ``EventStore.append``."""
        return self.append_encoded(stream, encode(events, metadata), expected_version)

    def append_encoded(self, stream: str, events: Sequence[NewEvent], expected_version: int | None = None) -> int:
        """Append events that are encoded already. Raises ValueError if ``stream`` is no text or is empty."""
        check_name(stream)
        return self._writer.append(stream, events, expected(expected_version))


def database_of(transaction: StoreTransaction) -> SqlDatabase:
    """The database of a transaction, for a store that is known to have one."""
    assert transaction.database is not None, "a store with a backend of its user's own has no database"
    return transaction.database


def encode(events: Iterable[object], metadata: Mapping[str, Any] | None) -> list[NewEvent]:
    """The events as they are stored. Raises NotSerializableError."""
    packed = pack_payload(dict(metadata), what="the metadata") if metadata else None
    if event_key(type(events)) is not None or not isinstance(events, Iterable):
        raise NotSerializableError(f"the events to append come in a list, as [event]: this is {short(events)}")
    encoded = map(encode_event, events)
    return [NewEvent(each.type, each.type_version, each.data, packed) for each in encoded]


def check_name(stream: str) -> None:
    """Raise ValueError where no stream can be called that."""
    if not isinstance(stream, str) or not stream:
        raise ValueError(f"the name of a stream must be a text of at least one character, not {stream!r}")
    check_storable(stream)


def check_storable(stream: str) -> None:
    """Raise ValueError where a text can't be the name of a stream."""
    if isinstance(stream, str) and not is_text(stream):
        raise ValueError(
            f"no stream can be called {stream!a}: a text with a lone surrogate can't be stored; a name from bytes that"
            " are no UTF-8 has some"
        )


def expected(version: int | None) -> int | None:
    """The version that a stream is expected to have. Raises ValueError for what no version can be."""
    return None if version is None else not_negative("expected_version", version)


def not_negative(what: str, value: int) -> int:
    """The number, or the largest that is stored where it is larger. Raises ValueError."""
    check_whole_number(value, what, 0)
    return min(value, LARGEST_INTEGER)
