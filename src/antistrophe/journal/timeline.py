"""A saga's entries for people to read: values are unpacked, times are datetimes, hidden fields are masked, and bytes
that can't be read are shortened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from antistrophe.definition.events import EncodedEvent
from antistrophe.errors import UnreadableDataError
from antistrophe.journal.journal import JournalRecord
from antistrophe.records import TimelineEntry
from antistrophe.saga.entries import AttemptSucceeded, SagaAccepted, VerdictGiven
from antistrophe.serialization.masks import MASK, masked
from antistrophe.serialization.msgpack_values import MODEL, read_model
from antistrophe.serialization.payload import unpack_payload

_BYTES_SHOWN = 16
_MOMENTS = {"deadline", "not_before"}
"""Fields with a moment by the system's clock."""


def timeline_entry(record: JournalRecord, *, unmasked: bool = False) -> TimelineEntry:
    """Make the timeline's entry of one record. ``data`` holds the fields of the entry without its time. ``unmasked``:
    what the user's classes declare as hidden is in it."""
    at = record.entry.at if record.wall_at is None else record.wall_at
    data = _fields(record.entry, at - record.entry.at)
    if not unmasked:
        _mask(record.entry, data)
    del data["at"]
    moment = datetime.fromtimestamp(at, UTC)
    return TimelineEntry(record.position, record.seq, moment, type(record.entry).__name__, data)


def _mask(entry: Any, data: dict[str, Any]) -> None:
    """Mask the inputs, the output and the events in the data of an entry."""
    if isinstance(entry, SagaAccepted):
        for step, shown in zip(entry.spec.steps, data["spec"]["steps"], strict=True):
            if step.masked:
                shown["input"] = masked(shown["input"], step.masked)
                shown["computed"] = MASK if step.computed else None  # it may be made of anything in the input
    elif isinstance(entry, AttemptSucceeded | VerdictGiven):
        for event, shown in zip(entry.events, data["events"], strict=True):
            shown["data"] = masked(shown["data"], event.masked)
        if entry.output is not None:
            data["output"] = _unpacked(entry.output, _masked_model)


def _masked_model(code: int, packed: bytes) -> object:
    if code != MODEL:
        raise ValueError(f"code {code} is none of an output")
    _, values, hidden = read_model(packed)
    return masked(values, hidden)


def _fields(value: Any, ahead_s: float) -> dict[str, Any]:
    return {field.name: _shown(getattr(value, field.name), field.name, ahead_s) for field in fields(value)}


def _shown(value: Any, name: str, ahead_s: float) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, EncodedEvent):
        return {"type": value.type, "type_version": value.type_version, "data": _unpacked(value.data)}
    if isinstance(value, bytes):
        return _unpacked(value)
    if isinstance(value, tuple):
        return [_shown(each, "", ahead_s) for each in value]
    if is_dataclass(value):
        return _fields(value, ahead_s)
    if name in _MOMENTS and isinstance(value, float):
        return datetime.fromtimestamp(value + ahead_s, UTC)
    if name == "created_at" and isinstance(value, float):
        return datetime.fromtimestamp(value, UTC)
    return value


def _unpacked(data: bytes, models: Callable[[int, bytes], object] | None = None) -> object:
    try:
        return unpack_payload(data, models=models)
    except UnreadableDataError:
        more = "..." if len(data) > _BYTES_SHOWN else ""
        return f"<{len(data)} bytes: {data[:_BYTES_SHOWN].hex()}{more}>"
