"""Reads what monitoring shows of a saga of the ordinary course without folding its entries: nearly all sagas are such.

The ordinary course: each step succeeded at its first attempt, one after another, and the saga completed. About any
other saga, and about entries that are not exactly as they are packed here, this says nothing: those are folded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import product
from types import NoneType
from typing import Any, TypeAlias

from antistrophe.definition.events import is_version
from antistrophe.journal.short_entries import ACTIONS, COMPLETED, STARTED, SUCCEEDED
from antistrophe.records import SagaMetadata, SagaStatus, StepRecord, StepStatus
from antistrophe.saga.entries import Action
from antistrophe.serialization.fast_records import maker
from antistrophe.serialization.msgpack_values import unpack

StoredEntry: TypeAlias = tuple[int, bytes, int]
"""The seq of an entry, the entry as it is stored, and the machine's time at its writing in microseconds."""

ReadAccepted: TypeAlias = Callable[[bytes, str], tuple[float, float | None, str, list[str]]]
"""From an acceptance as it is stored, and the id of its saga: its time, the moment of creation that it has, the name of
the saga, and those of its steps."""

CLOCK_ROUNDING_S = 1e-6
"""Times are stored in microseconds: with a smaller difference two clocks agree."""

_ATTEMPT = (int, float, int, int, int)
_FIRST = [ACTIONS.index(Action.EXECUTE), 1]
_STARTED_TYPES: set[tuple[object, ...]] = {
    (*_ATTEMPT, limit_s, deadline, str, int, int, boot_id, str, *shared)
    for limit_s, deadline, boot_id, shared in product(
        (int, float), (NoneType, float), (bytes, str), ((), (bool,), (bool, str))
    )
}
_RESULT = ((NoneType, bytes), (list,), (NoneType, str), (bool,))
_SUCCEEDED_TYPES: set[tuple[object, ...]] = {
    (*_ATTEMPT, *values) for length in range(5) for values in product(*_RESULT[:length])
}
_EVENT_TYPES = (str, int, bytes)
_EVENTS, _BOOT_ID, _BOOT_ID_BYTES, _PID, _HOST = 6, 10, 16, 8, 13
_saga = maker(SagaMetadata)
_step = maker(StepRecord)


class _OtherCourseError(Exception):
    """The entries are of another course."""


def ordinary_view(saga_id: str, entries: Sequence[StoredEntry], accepted: ReadAccepted) -> SagaMetadata | None:
    """What monitoring shows of the saga that has these entries and no others; None where its entries are to be folded.
    ``accepted`` reads the first of them, or raises some error."""
    if len(entries) % 2 or len(entries) < 2 or entries[0][0] != 1 or entries[-1][0] != len(entries):
        return None
    try:
        return _view(saga_id, entries, accepted)
    except Exception:  # whoever folds the entries says what is wrong with them
        return None


def _view(saga_id: str, entries: Sequence[StoredEntry], accepted: ReadAccepted) -> SagaMetadata:
    _, first, first_us = entries[0]
    at, created_at, name, names = accepted(first, saga_id)
    accepted_at = _shown(at, first_us)
    created = datetime.fromtimestamp(accepted_at if created_at is None else created_at, UTC)
    if len(entries) != 2 * len(names) + 2:
        raise _OtherCourseError

    def moment(at: float, wall_us: int) -> datetime:  # see ``_shown`` of antistrophe.saga.view
        shown = _shown(at, wall_us)
        return created if shown == accepted_at else datetime.fromtimestamp(shown, UTC)

    steps = _steps(entries, names, moment)
    _, packed, last_us = entries[-1]
    kind, ended_at = unpack(packed)
    if kind != COMPLETED or type(ended_at) is not float:
        raise _OtherCourseError
    view: SagaMetadata = _saga(
        saga_id,
        name,
        SagaStatus.COMPLETED,
        len(steps),
        len(steps),
        created,
        moment(ended_at, last_us),
        None,
        None,
        tuple(steps),
        None,
    )
    return view


def _steps(
    entries: Sequence[StoredEntry], names: Sequence[str], moment: Callable[[float, int], datetime]
) -> list[StepRecord]:
    steps = []
    for index, step_name in enumerate(names):
        _, packed, at_us = entries[2 * index + 1]
        begun = _attempt(packed, STARTED, index, _STARTED_TYPES)
        if type(begun[_BOOT_ID]) is bytes and len(begun[_BOOT_ID]) != _BOOT_ID_BYTES:
            raise _OtherCourseError
        _, packed, done_us = entries[2 * index + 2]
        done = _attempt(packed, SUCCEEDED, index, _SUCCEEDED_TYPES)
        if len(done) > _EVENTS and not all(map(_is_event, done[_EVENTS])):
            raise _OtherCourseError
        started_at, finished_at = moment(begun[1], at_us), moment(done[1], done_us)
        pid, host = begun[_PID], begun[_HOST] if len(begun) > _HOST else None
        steps.append(
            _step(step_name, index, StepStatus.SUCCEEDED, 1, False, started_at, finished_at, None, pid, 0, host)
        )
    return steps


def _attempt(packed: bytes, kind: int, index: int, types: set[tuple[object, ...]]) -> list[Any]:
    values: list[Any] = unpack(packed)
    if values[0] != kind or values[2] != index or values[3:5] != _FIRST or tuple(map(type, values)) not in types:
        raise _OtherCourseError
    return values


def _is_event(values: list[Any]) -> bool:
    return tuple(map(type, values)) == _EVENT_TYPES and is_version(values[1])


def _shown(at: float, wall_us: int) -> float:
    """What people see of an entry's time: the machine's, where the system's is another one."""
    wall_at = wall_us / 1e6
    return at if abs(wall_at - at) <= CLOCK_ROUNDING_S else wall_at
