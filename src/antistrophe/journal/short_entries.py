"""Packs the entries of the ordinary course as lists of values: nearly all of a journal is made of them.

The first value says which kind it is. The others stand in the order of ``_started`` and ``_succeeded``; those at the
end that are as usual are left out. Every other entry is packed with the names of its kind and fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from uuid import UUID

from antistrophe.definition.events import EncodedEvent
from antistrophe.journal.typed_values import NUMBER, is_a, may_be
from antistrophe.saga.entries import Action, AttemptStarted, AttemptSucceeded, Entry, Lease, SagaCompleted
from antistrophe.serialization.payload import pack_plain, unpack_payload

# The numbers are the file format, and so is the order of the actions.
STARTED, SUCCEEDED, COMPLETED = 1, 2, 3
ACTIONS = (Action.EXECUTE, Action.COMPENSATE, Action.VERIFY)
_ACTION_OF = dict(enumerate(ACTIONS))
_NUMBER_OF = {action: number for number, action in enumerate(ACTIONS)}
_BOOT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LISTS = range(0x90, 0xA0)
"""The first byte of a packed list of up to 15 values."""

_MOST_WHOLE_S = 1e9


def pack_short(entry: Entry) -> bytes | None:
    """Pack an entry as a list of values; None where its kind has no such form."""
    if isinstance(entry, AttemptStarted):
        return pack_plain(_started(entry))
    if isinstance(entry, AttemptSucceeded):
        return pack_plain(_succeeded(entry))
    return pack_plain([COMPLETED, entry.at]) if isinstance(entry, SagaCompleted) else None


def is_short(data: bytes) -> bool:
    """Whether this is a packed list of values."""
    return isinstance(data, bytes) and len(data) > 1 and data[0] in _LISTS and data[1] in _READERS


def unpack_short(data: bytes) -> Entry:
    """Read a list of values. Raises UnreadableDataError, TypeError, ValueError or LookupError where it is of no
    entry."""
    kind, at, *values = unpack_payload(data)
    return _READERS[kind](is_a(NUMBER, at), *values)


def _started(entry: AttemptStarted) -> list[Any]:
    lease, limit_s = entry.lease, entry.limit_s
    whole = isinstance(limit_s, float) and limit_s.is_integer() and abs(limit_s) < _MOST_WHOLE_S
    return _without_end(
        [
            *_attempt(STARTED, entry),
            int(limit_s) if whole else limit_s,
            None if entry.deadline == entry.at + limit_s else entry.deadline,
            lease.name,
            lease.pid,
            lease.start_ticks,
            _short_boot_id(lease.boot_id),
            lease.attempt_file,
            lease.shared,
            lease.host,
        ],
        usual=(False, ""),
    )


@lru_cache(maxsize=64)
def _short_boot_id(boot_id: str) -> bytes | str:
    return bytes.fromhex(boot_id.replace("-", "")) if _BOOT_ID.fullmatch(boot_id) else boot_id


def _succeeded(entry: AttemptSucceeded) -> list[Any]:
    events = [
        [event.type, event.type_version, event.data, *([list(event.masked)] if event.masked else [])]
        for event in entry.events
    ]
    return _without_end(
        [*_attempt(SUCCEEDED, entry), entry.output, events, entry.warning, entry.adopted],
        usual=(None, [], None, False),
    )


def _attempt(kind: int, entry: AttemptStarted | AttemptSucceeded) -> list[Any]:
    return [kind, entry.at, entry.step, _NUMBER_OF[entry.action], entry.attempt]


def _without_end(values: list[Any], usual: tuple[Any, ...]) -> list[Any]:
    """The values without those at the end that are ``usual``."""
    for value in reversed(usual):
        if values[-1] != value:
            break
        values.pop()
    return values


def _read_started(
    at: float,
    step: Any,
    action: Any,
    attempt: Any,
    limit_s: Any,
    deadline: Any,
    lease: Any,
    pid: Any,
    start_ticks: Any,
    boot_id: Any,
    attempt_file: Any,
    shared: Any = False,
    host: Any = "",
) -> AttemptStarted:
    limit_s = float(limit_s) if type(limit_s) is int else is_a(float, limit_s)
    return AttemptStarted(
        at=at,
        step=is_a(int, step),
        action=_ACTION_OF[action],
        attempt=is_a(int, attempt),
        limit_s=limit_s,
        deadline=at + limit_s if deadline is None else is_a(NUMBER, deadline),
        lease=Lease(
            name=is_a(str, lease),
            pid=is_a(int, pid),
            start_ticks=is_a(int, start_ticks),
            boot_id=str(UUID(bytes=boot_id)) if isinstance(boot_id, bytes) else is_a(str, boot_id),
            shared=is_a(bool, shared),
            attempt_file=is_a(str, attempt_file),
            host=is_a(str, host),
        ),
    )


def _read_succeeded(
    at: float,
    step: Any,
    action: Any,
    attempt: Any,
    output: Any = None,
    events: Any = (),
    warning: Any = None,
    adopted: Any = False,
) -> AttemptSucceeded:
    return AttemptSucceeded(
        at=at,
        step=is_a(int, step),
        action=_ACTION_OF[action],
        attempt=is_a(int, attempt),
        output=may_be(bytes, output),
        events=tuple([_read_event(*is_a(list, event)) for event in is_a((list, tuple), events)]),
        warning=may_be(str, warning),
        adopted=is_a(bool, adopted),
    )


def _read_event(type_: Any, version: Any, data: Any, masked: Any = ()) -> EncodedEvent:
    paths = tuple([is_a(str, path) for path in is_a((list, tuple), masked)])
    return EncodedEvent(is_a(str, type_), is_a(int, version), is_a(bytes, data), paths)


_READERS: dict[int, Callable[..., Entry]] = {
    STARTED: _read_started,
    SUCCEEDED: _read_succeeded,
    COMPLETED: SagaCompleted,
}
