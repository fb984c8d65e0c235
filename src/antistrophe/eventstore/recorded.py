"""What readers of an event store get: recorded events, which are decoded when they are used, and snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from antistrophe.definition.events import RawEvent, decode_event, decode_fields, newest_version
from antistrophe.errors import UnknownVersionError, UnreadableDataError
from antistrophe.eventstore.backend import StoredEvent
from antistrophe.fast_dataclass import dataclass
from antistrophe.serialization.payload import unpack_payload

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Upcasts(Protocol):
    """Brings the data of old events up to date. ``VersionRegistry`` does."""

    def upcast(self, event_type: str, version: int, data: dict[str, Any], /) -> tuple[int, dict[str, Any]]:
        """Return the newest version of that type, and the data in its form. Raises UnknownVersionError if ``version``
        is newer than any known one."""


def unknown_version(event_type: str, version: int, newest_known: int) -> UnknownVersionError:
    """Make the error for an event of a newer version than this program knows."""
    return UnknownVersionError(
        f"an event of type {event_type!r} is of version {version}; this program knows versions up to {newest_known}: a"
        " newer release wrote the event, so upgrade this one"
    )


def moment_of(microseconds: int) -> datetime:
    """Turn microseconds since the epoch into an aware UTC datetime. Raises UnreadableDataError if a datetime can't hold
    that time."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError as error:
        raise UnreadableDataError(
            f"a time of {microseconds} microseconds since 1970 is outside the years 1 to 9999"
        ) from error


def _map_of(data: bytes, what: str) -> dict[str, Any]:
    fields = unpack_payload(data, what=what)
    if not isinstance(fields, dict):
        raise UnreadableDataError(f"{what} is not a map of fields")
    return fields


class RecordedEvent:
    """One event as it is stored.

    ``position`` is its place in the store and ``version`` its place in its ``stream``; both count from 1. ``type`` and
    ``type_version`` say what it is. ``data`` is the map of its fields, ``event`` the object made from them (a RawEvent
    if this program has no class for the type), ``metadata`` what its writer added, and ``recorded_at`` an aware UTC
    datetime. An upcast event has the version, data and event of the newest version.

    An event that was erased together with its saga is ``erased``: it has no data any more, and its ``event`` is a
    RawEvent of its type.

    The bytes are decoded at the first use of ``data``, ``event`` or ``metadata``, which raises UnreadableDataError if
    they can't be read, or do not fit the class. Don't change what you get: other readers may hold the same objects.
    """

    __slots__ = ("_data", "_event", "_metadata", "_row")

    _row: StoredEvent
    # None means not decoded yet. No event is None.
    _data: dict[str, Any] | None
    _event: object
    _metadata: dict[str, Any] | None

    def __init__(
        self,
        position: int,
        stream: str,
        version: int,
        type: str,  # noqa: A002 - the field's name in the API
        type_version: int,
        data: dict[str, Any],
        event: object,
        metadata: dict[str, Any],
        recorded_at: datetime,
    ) -> None:
        microseconds = (recorded_at - _EPOCH) // _MICROSECOND
        self._row = (position, stream, version, type, type_version, b"", None, microseconds)
        self._data = data
        self._event = event
        self._metadata = metadata

    @property
    def position(self) -> int:
        return self._row[0]

    @property
    def stream(self) -> str:
        return self._row[1]

    @property
    def version(self) -> int:
        return self._row[2]

    @property
    def type(self) -> str:
        return self._row[3]

    @property
    def type_version(self) -> int:
        return self._row[4]

    @property
    def erased(self) -> bool:
        return self._data is None and not self._row[5]

    @property
    def data(self) -> dict[str, Any]:
        if self.erased:
            return {}
        if self._data is None:
            self._data = _map_of(self._row[5], self._row[3])
        return self._data

    @property
    def event(self) -> object:
        event = self._event
        if event is None:
            row = self._row
            if self._data is not None:
                event = decode_fields(row[3], row[4], self._data)
            elif self.erased:
                event = RawEvent(row[3], row[4], {})
            else:  # the map is not kept, for a reader of the object seldom needs it
                event = decode_event(row[3], row[4], row[5])
            self._event = event
        return event

    @property
    def metadata(self) -> dict[str, Any]:
        if self._metadata is None:
            packed = self._row[6]
            self._metadata = {} if packed is None else _map_of(packed, f"the metadata of {self._row[3]}")
        return self._metadata

    @property
    def recorded_at(self) -> datetime:
        return moment_of(self._row[7])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RecordedEvent):
            return NotImplemented
        return self._row[:5] == other._row[:5] and (self._row[7], self.data, self.metadata) == (
            other._row[7],
            other.data,
            other.metadata,
        )

    def __hash__(self) -> int:
        return hash(self._row[:5])

    def __repr__(self) -> str:
        return (
            f"RecordedEvent(position={self.position}, stream={self.stream!r}, version={self.version},"
            f" type={self.type!r}, type_version={self.type_version}, event={self.event!r},"
            f" metadata={self.metadata!r}, recorded_at={self.recorded_at.isoformat()})"
        )


def recorded(rows: Sequence[StoredEvent], versions: Upcasts | None) -> list[RecordedEvent]:
    """Make recorded events of stored rows. Raises UnknownVersionError if a row is of a newer version than is known, and
    what the upcasters raise."""
    old = {kind for kind in {(row[3], row[4]) for row in rows} if not _is_newest(kind, versions)}
    if not old or versions is None:
        return [_lazy(row) for row in rows]
    return [_upcast(row, versions) if row[5] and (row[3], row[4]) in old else _lazy(row) for row in rows]


def _is_newest(kind: tuple[str, int], versions: Upcasts | None) -> bool:
    type_name, version = kind
    newest = newest_version(type_name)
    if versions is None and newest is not None and version > newest:
        raise unknown_version(type_name, version, newest)
    return version == newest


def _lazy(row: StoredEvent, _new: Any = object.__new__) -> RecordedEvent:
    event: RecordedEvent = _new(RecordedEvent)
    event._row = row
    event._data = event._event = event._metadata = None
    return event


def _upcast(row: StoredEvent, versions: Upcasts) -> RecordedEvent:
    event = _lazy(row)
    version, data = versions.upcast(row[3], row[4], event.data)
    if version != row[4]:
        event = _lazy((*row[:4], version, *row[5:]))
        event._data = data
    return event


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The ``state`` of a stream (a plain value) at ``version``. ``recorded_at`` is an aware UTC datetime."""

    stream: str
    version: int
    state: Any
    recorded_at: datetime
