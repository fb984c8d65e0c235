"""What is true of all sagas of a journal at this moment, in numbers: for metrics and overviews.

No question here reads a long history: finished sagas are counted on from the last count, and of unfinished ones a
bounded number is looked at one by one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from antistrophe.errors import JournalError
from antistrophe.journal.dialect import dialect_of
from antistrophe.journal.safe_head import SafeHead
from antistrophe.journal.saga_counts import FINAL, NOTHING_COUNTED, counted_after
from antistrophe.journal.stored_entries import StoredEntries
from antistrophe.journal.stored_states import StoredStates
from antistrophe.records import SagaStatus, StepStatus
from antistrophe.saga.entries import AttemptExpired, AttemptStarted, CancelRequested
from antistrophe.saga.wait_reasons import WaitReason, reason_in
from antistrophe.storage.connection import SqlDatabase

NAMED_FINISHED = 20_000
"""Finished sagas are counted by name where there are no more."""

LOOKED_AT = 1_000
"""Of each status so many unfinished sagas are looked at one by one, the first to be accepted. What comes behind them
counts as waiting for its turn."""

_FOLDED_AT_ONCE = 300
_RUNNING = tuple(status.value for status in SagaStatus if status.running)
_OF_A_CALL = (AttemptStarted.__name__, AttemptExpired.__name__, CancelRequested.__name__)
_SETTLED = (StepStatus.COMPENSATED, StepStatus.RESOLVED)


@dataclass(slots=True)
class PresentNumbers:
    """``sagas``: by status and name; the name is None of finished sagas that are too many to be counted by name.
    ``waiting``: sagas by what they wait for. ``steps_in_doubt``: those of unfinished and parked sagas. Moments are
    seconds since the epoch by the machine's clock; None where no saga is parked, or waits for more than its retry."""

    sagas: Counter[tuple[SagaStatus, str | None]] = field(default_factory=Counter)
    waiting: Counter[WaitReason] = field(default_factory=Counter)
    steps_in_doubt: int = 0
    oldest_parked_at: float | None = None
    oldest_waiting_at: float | None = None


class PresentNumbersReader:
    """Reads them from one journal again and again, which may be opened anew for each time. For one caller at a time."""

    def __init__(self) -> None:
        self._counted = NOTHING_COUNTED
        self._safe = SafeHead()
        self._doubts: dict[str, tuple[int, int]] = {}

    def forget(self) -> None:
        """What comes next is another journal."""
        self._counted, self._doubts = NOTHING_COUNTED, {}

    def read(self, database: SqlDatabase) -> PresentNumbers:
        """The numbers now. Raises JournalError where the file can't be read."""
        numbers = PresentNumbers()
        safe = self._safe.of(database)
        with database.one_moment():
            self._counted, counts = counted_after(database, self._counted, safe)
            _count_finished(database, counts, numbers)
            _count_unfinished(database, numbers)
            rows = [row for status in (*_RUNNING, SagaStatus.FAILED.value) for row in looked_at(database, status)]
            _count_waiting(rows, counts, numbers)
            numbers.steps_in_doubt = self._in_doubt(database, rows)
        return numbers

    def _in_doubt(self, database: SqlDatabase, rows: list[Any]) -> int:
        """How many steps of these sagas are in doubt. Only a saga that has gone on since the last time is folded."""
        before, self._doubts = self._doubts, {}
        folded = 0
        states = StoredStates(database, StoredEntries(database))
        for saga_id, _, _, seq, _, _ in rows:
            known = before.get(saga_id, (0, 0))
            if known[0] != seq and seq > 2 and folded < _FOLDED_AT_ONCE:
                folded += 1
                known = (seq, _steps_in_doubt(states, saga_id))
            self._doubts[saga_id] = known
        return sum(number for _, number in self._doubts.values())


def _count_finished(database: SqlDatabase, counts: dict[SagaStatus, int], numbers: PresentNumbers) -> None:
    final = {status: number for status, number in counts.items() if status.final and number}
    if sum(final.values()) > NAMED_FINISHED:
        numbers.sagas.update({(status, None): number for status, number in final.items()})
        return
    rows = database.rows(f"SELECT status, name, count(*) FROM sagas WHERE status IN {FINAL} GROUP BY status, name")
    numbers.sagas.update({(SagaStatus(status), name): number for status, name, number in rows})


def _count_unfinished(database: SqlDatabase, numbers: PresentNumbers) -> None:
    rows = database.rows(
        "SELECT status, name, count(*), min(finished) FROM sagas WHERE status IN"
        f" {(*_RUNNING, SagaStatus.FAILED.value)} GROUP BY status, name"
    )
    numbers.sagas.update({(SagaStatus(status), name): number for status, name, number, _ in rows})
    parked = [finished for status, _, _, finished in rows if status == SagaStatus.FAILED.value and finished is not None]
    if parked:
        found = database.row("SELECT CAST(at AS BIGINT) FROM journal WHERE position = ?", (min(parked),))
        numbers.oldest_parked_at = None if found is None else found[0] / 1e6


def looked_at(database: SqlDatabase, status: str) -> list[Any]:
    """The id, status, reason to wait, seq, kind and time of the last entry of sagas of that status."""
    return database.rows(
        "SELECT sagas.id, sagas.status, sagas.waiting, journal.seq, journal.kind, CAST(journal.at AS BIGINT)"
        " FROM (SELECT * FROM sagas WHERE status = ? ORDER BY accepted LIMIT ?) AS sagas"
        " JOIN journal ON journal.saga_id = sagas.id"
        f" AND journal.seq = {dialect_of(database.kind).last_seq}",
        (status, LOOKED_AT),
    )


def _count_waiting(rows: list[Any], counts: dict[SagaStatus, int], numbers: PresentNumbers) -> None:
    running = 0
    since: list[int] = []
    for _, status, waiting, _, kind, at_us in rows:
        if status not in _RUNNING:
            continue
        running += 1
        if waiting is None and kind in _OF_A_CALL:
            continue
        reason = WaitReason.PROCESS if waiting is None else reason_in(waiting)
        numbers.waiting[reason] += 1
        if reason is not WaitReason.RETRY:
            since.append(at_us)
    numbers.waiting[WaitReason.TURN] += max(0, sum(counts[SagaStatus(status)] for status in _RUNNING) - running)
    numbers.oldest_waiting_at = min(since) / 1e6 if since else None


def _steps_in_doubt(states: StoredStates, saga_id: str) -> int:
    """How many steps of a saga are in doubt; of one that can't be read, none."""
    try:
        saga = states.of(saga_id)
    except JournalError:
        return 0
    return 0 if saga is None else sum(step.in_doubt and step.status not in _SETTLED for step in saga.steps)
