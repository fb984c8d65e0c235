"""Sagas that finished in each minute of the last hour, and how long they took: from the file alone."""

from __future__ import annotations

import threading
import time
from math import ceil

from antistrophe.dashboard.look import Look
from antistrophe.journal.moments import last_before

MINUTES = 60
_SAMPLE = 200
"""Of so many sagas of a minute the durations are read, the last ones: enough for percentiles."""

_TAKEN = (
    "SELECT CAST(ended.at AS BIGINT) - CAST(began.at AS BIGINT) FROM sagas"
    " JOIN journal AS ended ON ended.position = sagas.finished JOIN journal AS began ON began.position = sagas.accepted"
    " WHERE sagas.finished > ? AND sagas.finished <= ? ORDER BY sagas.finished DESC LIMIT ?"
)
_NUMBER = "SELECT count(*) FROM sagas WHERE finished > ? AND finished <= ?"

Minute = tuple[int, float | None, float | None]
"""How many sagas finished or were parked, and the durations in seconds that half of them, and 95 in a hundred, did not
exceed; None where there were none."""


class Throughput:
    """The last hour of one journal. A minute that is over is read once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[int, Minute] = {}

    def series(self, look: Look) -> dict[str, list[float | int | None]]:
        """The minutes (seconds since the epoch), the sagas a second in each, and p50 and p95 of their durations."""
        now = int(time.time()) // 60
        with self._lock:
            self._known = {minute: known for minute, known in self._known.items() if minute > now - MINUTES}
            known = dict(self._known)
        bounds: dict[int, int] = {}
        for minute in range(now - MINUTES + 1, now + 1):
            if minute not in known:
                known[minute] = _minute(look, minute, bounds)
        with self._lock:
            self._known.update({minute: read for minute, read in known.items() if minute < now - 1})
        minutes = sorted(known)
        passed = {now: max(1.0, time.time() - now * 60)}
        return {
            "at": [minute * 60 for minute in minutes],
            "rate": [round(known[minute][0] / passed.get(minute, 60.0), 3) for minute in minutes],
            "p50": [known[minute][1] for minute in minutes],
            "p95": [known[minute][2] for minute in minutes],
        }

    def forget(self) -> None:
        """Another file has the journal's name now."""
        with self._lock:
            self._known = {}


def _minute(look: Look, minute: int, bounds: dict[int, int]) -> Minute:
    low, high = (_position(look, each, bounds) for each in (minute, minute + 1))
    if low == high:
        return (0, None, None)
    number = look.database.row(_NUMBER, (low, high))[0]
    taken = sorted(max(0.0, row[0] / 1e6) for row in look.database.rows(_TAKEN, (low, high, _SAMPLE)))
    return (number, _share(taken, 0.5), _share(taken, 0.95))


def _position(look: Look, minute: int, bounds: dict[int, int]) -> int:
    if minute not in bounds:
        bounds[minute] = last_before(look.database, minute * 60_000_000)
    return bounds[minute]


def _share(taken: list[float], share: float) -> float | None:
    return round(taken[max(0, ceil(share * len(taken)) - 1)], 4) if taken else None
