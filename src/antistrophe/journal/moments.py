"""Where in the journal a moment is: its positions grow with its times."""

from __future__ import annotations

from antistrophe.storage.connection import SqlDatabase

_NEXT = "SELECT position, CAST(at AS BIGINT) FROM journal WHERE position > ? ORDER BY position LIMIT 1"


def last_before(database: SqlDatabase, moment_us: int) -> int:
    """The position of the last entry that was written before that moment (microseconds since the epoch, by the
    machine's clock); 0 where there is none. A clock that was set moves it by that."""
    low, high = 0, int(database.row("SELECT max(position) FROM journal")[0] or 0)
    while low < high:
        middle = (low + high) // 2
        found = database.row(_NEXT, (middle,))
        if found is None or found[1] >= moment_us:
            high = middle
        else:
            low = found[0]
    return low
