"""Counts the sagas of each status, without reading all of a long history again each time."""

from __future__ import annotations

from typing import Any, TypeAlias

from antistrophe.records import SagaStatus
from antistrophe.storage.connection import SqlDatabase

Counted: TypeAlias = tuple[int, dict[SagaStatus, int], int]
"""How many sagas of each final status there have ever been that finished up to a position, the purged ones included.
Final sagas stay final, so these numbers only grow. Then, how many more sagas are parked than the number in the file
says: each append changes that number, so its differences are right, whatever it began with."""

NOTHING_COUNTED: Counted = (0, {}, 0)

FINAL = tuple(status.value for status in SagaStatus if status.final)
"""The final statuses, as the file has them."""

_LATE = -1
"""The position of what is counted anew each time."""

PARKED = SagaStatus.FAILED.value
"""The status of a parked saga, as the file has it."""

_LIVE = tuple(status.value for status in SagaStatus if status.running)

# The index of statuses alone is read for it, once. A parked saga that finishes later gets a later place then.
_EVERY = " UNION ALL ".join(
    f"SELECT '{status}', (SELECT count(*) FROM sagas WHERE status = '{status}'),"
    " (SELECT coalesce(max(finished), 0) FROM sagas WHERE finished > 0), 0"
    for status in (*FINAL, PARKED)
)


_NOW = (
    f"SELECT status, count(*), 0, 0 FROM sagas WHERE status IN {_LIVE} GROUP BY status"
    f" UNION ALL SELECT what, 0, position, number FROM purges WHERE what IN {FINAL}"
)


def counted_after(
    database: SqlDatabase, counted: Counted, safe: int | None = None
) -> tuple[Counted, dict[SagaStatus, int]]:
    """Count what has finished since the last count, and what has not finished. Returns what to count from the next
    time, and how many sagas there are now of each status. ``safe``: up to that position every transaction is over; what
    finished behind it is counted anew each time. None: no position is seen before a smaller one."""
    up_to, ever, parked_besides = counted
    rows = _rows(database, up_to) if safe is None else _safe_rows(database, up_to, safe)
    if up_to and any(purged and last > up_to for _, _, last, purged in rows):
        # Sagas were purged before they were counted: nobody can say how many of those that finished since are gone.
        return counted_after(database, NOTHING_COUNTED, safe)
    counts = dict.fromkeys(SagaStatus, 0) | ever
    gone = dict.fromkeys(SagaStatus, 0)
    late = dict.fromkeys(SagaStatus, 0)
    for status, number, last, purged in rows:
        if status == "parked":
            if not counted[0]:
                parked_besides = counts[SagaStatus.FAILED] - number
            counts[SagaStatus.FAILED] = number + parked_besides
            continue
        if last == _LATE:
            late[SagaStatus(status)] += number
            continue
        # The first count finds only what is left; what was purged before has to be added.
        counts[SagaStatus(status)] += number + (0 if counted[0] else purged)
        gone[SagaStatus(status)] += purged
        up_to = max(up_to, last)
    next_time = (up_to, {status: number for status, number in counts.items() if status.final}, parked_besides)
    return next_time, {status: number + late[status] - gone[status] for status, number in counts.items()}


# In each of them one statement sees one moment.


def _rows(database: SqlDatabase, up_to: int) -> list[Any]:
    """Of each status how many there are, up to which position, and how many of them were purged."""
    # The plus signs keep SQLite from reading each status from the beginning.
    since = (
        "SELECT status, count(*), max(finished), 0 FROM sagas"
        f" WHERE finished > ? AND +status IN {FINAL} GROUP BY +status"
    )
    return database.rows(
        f"{since if up_to else _EVERY} UNION ALL {_NOW} UNION ALL SELECT 'parked', number, 0, 0 FROM parked",
        (up_to,) if up_to else (),
    )


def _safe_rows(database: SqlDatabase, up_to: int, safe: int) -> list[Any]:
    """As ``_rows``, where positions behind ``safe`` may still be followed by smaller ones."""
    which = f"FROM sagas WHERE finished > ? AND status IN {FINAL}"
    return database.rows(
        f"SELECT status, count(*), max(finished), 0 {which} AND finished <= ? GROUP BY status"
        f" UNION ALL SELECT status, count(*), {_LATE}, 0 {which} GROUP BY status"
        f" UNION ALL SELECT status, count(*), {_LATE}, 0 FROM sagas WHERE status = '{PARKED}' GROUP BY status"
        f" UNION ALL {_NOW}",
        (up_to, safe, safe),
    )
