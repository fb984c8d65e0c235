"""How entries and sagas are packed for a journal, and read back.

The view of a short saga is folded from its entries; its appends keep ``FOLDED`` in its place. That of a long saga is
packed whole (a map) where it turns back or ends, and now and then; every other append packs what it has changed (a
list). Whoever reads it starts at the last whole one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from antistrophe.errors import JournalError, UnreadableDataError, UnreadableEntryError
from antistrophe.exception_text import name_and_text, own_text
from antistrophe.journal.journal import Row
from antistrophe.journal.short_entries import is_short, unpack_short
from antistrophe.journal.typed_values import is_a, may_be
from antistrophe.records import SagaMetadata, SagaStatus, StepRecord, StepStatus
from antistrophe.saga.entries import ENTRY_TYPES, Entry
from antistrophe.saga.listed import Listed
from antistrophe.saga.view import SagaView, ViewChange
from antistrophe.serialization.payload import pack_payload, pack_record, unpack_payload, unpack_record

FOLDED = b""
"""What an append keeps in place of a view that is to be folded."""

ADVICE = (
    "if a newer release wrote it, upgrade this one; else the file is damaged: restore it from a backup (it was left"
    " as it is)"
)

_UNREADABLE = (UnreadableDataError, LookupError, TypeError, ValueError, OverflowError, OSError)


def pack_entry(entry: Entry) -> bytes:
    """Pack an entry with the names of its kind and fields."""
    return pack_record(entry)


def unpack_entry(data: bytes, where: str) -> Entry:
    """Read a packed entry, of either form. Raises UnreadableEntryError, which says ``where`` the entry is."""
    try:
        return unpack_short(data) if is_short(data) else cast("Entry", unpack_record(data, ENTRY_TYPES))
    except _UNREADABLE as error:
        raise UnreadableEntryError(f"{where} can't be read ({own_text(error)}): {ADVICE}") from error


def pack_state(row: Row) -> bytes:
    """Pack the state of a saga as monitoring shows it, or what has changed of it.

    It is made of plain values and is no record: a datetime costs twenty times as much as a number.
    """
    if isinstance(row, Listed):
        return FOLDED
    if isinstance(row, ViewChange):
        return pack_payload([row.status.value, row.steps_executed, row.updated_at, row.waiting, row.steps])
    shot = row if isinstance(row, SagaView) else _snapshot_of(row)
    return pack_payload(
        {
            "id": shot.id,
            "name": shot.name,
            "status": shot.status.value,
            "steps_executed": shot.steps_executed,
            "total_steps": len(shot.steps),
            "created_at": shot.created_at,
            "updated_at": shot.updated_at,
            "error": shot.error,
            "waiting": shot.waiting,
            "steps": shot.steps,
        }
    )


def _snapshot_of(row: SagaMetadata) -> SagaView:
    return SagaView(
        id=row.id,
        name=row.name,
        status=row.status,
        steps_executed=row.steps_executed,
        created_at=row.created_at.timestamp(),
        updated_at=row.updated_at.timestamp(),
        error=row.error,
        waiting=row.waiting,
        steps=[_step_out(step) for step in row.steps],
    )


def unpack_state(states: Iterable[bytes | None], where: str) -> SagaMetadata:
    """Read the state of a saga from the packed states of its appends, the last first; those before the last whole one
    are not asked for. Raises JournalError, which says ``where`` they are."""
    try:
        header: list[Any] | None = None
        changed: dict[int, list[Any]] = {}
        for state in states:
            row = unpack_payload(state or b"")
            if isinstance(row, dict):
                return _whole(row) if header is None else _whole(_with_changes(row, header, changed))
            header = header or row
            for index, values in _changed(row[4]).items():
                changed.setdefault(index, values)
        raise LookupError("there is no whole state to begin with")
    except _UNREADABLE as error:
        raise unreadable_state(where, error) from error


def unpack_change(state: bytes | None, before: SagaMetadata | None, where: str) -> SagaMetadata | None:
    """Read the packed state of one append, where ``before`` is the saga as it was; None where that is needed and not
    given. Raises JournalError, which says ``where`` the state is."""
    try:
        row = unpack_payload(state or b"")
        if isinstance(row, dict):
            return _whole(row)
        if before is None:
            return None
        status, steps_executed, updated_at, waiting, changed = row
        steps = list(before.steps)
        for index, values in _changed(changed).items():
            steps[index] = _step_in(index, [steps[index].name, *values])
        return replace(
            before,
            status=SagaStatus(status),
            steps_executed=is_a(int, steps_executed),
            updated_at=datetime.fromtimestamp(updated_at, UTC),
            waiting=may_be(str, waiting),
            steps=tuple(steps),
        )
    except _UNREADABLE as error:
        raise unreadable_state(where, error) from error


def _changed(rows: Any) -> dict[int, list[Any]]:
    """The values of each step that one append has changed, by its index. Raises ValueError for an index that can't be,
    and for one that stands twice."""
    changed: dict[int, list[Any]] = {}
    for index, *values in is_a(list, rows):
        if is_a(int, index) < 0 or index in changed:
            raise ValueError(f"{index} is no step that has changed once")
        changed[index] = values
    return changed


def _with_changes(row: dict[str, Any], header: list[Any], changed: dict[int, list[Any]]) -> dict[str, Any]:
    """The whole state of later, with the last header and the last values of each step that changed."""
    status, steps_executed, updated_at, waiting, _ = header
    steps = row["steps"]
    for index, values in changed.items():
        steps[index] = [steps[index][0], *values]
    later = {"status": status, "steps_executed": steps_executed, "updated_at": updated_at, "waiting": waiting}
    return row | later


def _whole(row: dict[str, Any]) -> SagaMetadata:
    return SagaMetadata(
        id=is_a(str, row["id"]),
        name=is_a(str, row["name"]),
        status=SagaStatus(row["status"]),
        steps_executed=is_a(int, row["steps_executed"]),
        total_steps=is_a(int, row["total_steps"]),
        created_at=datetime.fromtimestamp(row["created_at"], UTC),
        updated_at=datetime.fromtimestamp(row["updated_at"], UTC),
        error=may_be(str, row["error"]),
        waiting=may_be(str, row["waiting"]),
        steps=tuple(_step_in(index, step) for index, step in enumerate(row["steps"])),
    )


def unreadable_state(where: str, error: Exception) -> JournalError:
    """Make the error for a view that can't be read, or folded."""
    return JournalError(f"{where}: the state of the saga can't be read ({name_and_text(error)}): {ADVICE}")


def unreadable_metadata(saga_id: str, name: str, status: str, at_us: int, error: JournalError) -> SagaMetadata:
    """What a list shows of a saga whose packed state can't be read: what stands beside the state, and the error. Where
    that can't be read either, the saga is one that needs a person, since the epoch."""
    try:
        at = datetime.fromtimestamp(at_us / 1e6, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        at = datetime.fromtimestamp(0, UTC)
    stands = SagaStatus(status) if status in set(SagaStatus) else SagaStatus.FAILED
    return SagaMetadata(str(saga_id), str(name), stands, 0, 0, at, at, error=f"unreadable: {error}")


def _step_out(step: StepRecord) -> list[Any]:
    return [
        step.name,
        step.status.value,
        step.attempts,
        step.in_doubt,
        None if step.started_at is None else step.started_at.timestamp(),
        None if step.finished_at is None else step.finished_at.timestamp(),
        step.error,
        step.pid,
        step.undo_failures,
        *([] if step.host is None else [step.host]),
    ]


def _step_in(index: int, step: list[Any]) -> StepRecord:
    name, status, attempts, in_doubt, started_at, finished_at, error, pid, *later = step
    undo_failures = later[0] if later else 0  # rows of the first release end before this value
    host = later[1] if len(later) > 1 else None
    return StepRecord(
        name=is_a(str, name),
        index=index,
        status=StepStatus(status),
        attempts=is_a(int, attempts),
        in_doubt=is_a(bool, in_doubt),
        started_at=None if started_at is None else datetime.fromtimestamp(started_at, UTC),
        finished_at=None if finished_at is None else datetime.fromtimestamp(finished_at, UTC),
        error=may_be(str, error),
        pid=may_be(int, pid),
        undo_failures=is_a(int, undo_failures),
        host=may_be(str, host),
    )


def missing(where: str) -> JournalError:
    """Make the error for an entry that is missing although later ones exist."""
    return JournalError(f"{where} is missing: {ADVICE}")
