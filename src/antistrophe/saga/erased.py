"""What stays of an entry when its saga is erased: the course, and nothing that user code was given or has said."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar

from antistrophe.serialization.fast_records import changed

T = TypeVar("T")

ERASED = "(erased)"
"""What people read in the place of a text that was erased."""

_BYTES = {"input", "computed"}
_RESULTS: dict[str, object] = {"output": None, "events": ()}
_TEXTS = {"error", "reason", "note", "detail", "warning", "stack", "no_stack", "traceback"}


def without_data(record: T) -> T:
    """A record of the journal without its data. A text that was there is ``ERASED``. The course is as it was, so that
    the fold of the entries is in the same status after each of them."""
    given: Any = record
    changes = {field.name: _left(field.name, getattr(record, field.name)) for field in fields(given)}
    return changed(record, **changes)


def _left(name: str, value: Any) -> Any:
    if name in _BYTES:
        return b""
    if name in _RESULTS:
        return _RESULTS[name]
    if name in _TEXTS and isinstance(value, str) and not isinstance(value, Enum):
        return ERASED
    if name == "steps" and isinstance(value, tuple):
        return tuple([without_data(each) for each in value])
    return without_data(value) if is_dataclass(value) else value
