"""Purges finished sagas, a few in each transaction, and gives the room in the file back.

A saga is purged whole, in one transaction: its entries and its row go, its tombstone comes. A process that is killed
leaves each saga either whole or purged, and the next purge goes on. Parked sagas and those that run are never purged.

No position is given twice: ``last_rows`` says what has to stay for that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from antistrophe.journal.last_rows import OF_SAGAS_ALONE, last_rows_of
from antistrophe.journal.texts import texts_of
from antistrophe.journal.tombstones import Tombstones
from antistrophe.journal.unused_shapes import unused_shapes_of
from antistrophe.records import PurgeReport, SagaStatus
from antistrophe.serialization.struct_dataclass import dataclass
from antistrophe.storage.connection import SqlDatabase

SAGAS_AT_ONCE = 20
ROWS_AT_ONCE = 400
"""A transaction ends with the saga that brings it to so many sagas or entries."""

_LOOKED_AT_ONCE = 500
_BYTES_PER_ROW = 40


@dataclass(frozen=True, slots=True)
class Purgeable:
    """Which finished sagas to purge: those that finished at ``finished_by_us`` (microseconds since the epoch, by the
    machine's clock) or before, of that name and status where one is given. ``events``: their events too."""

    finished_by_us: int
    name: str | None = None
    status: SagaStatus | None = None
    events: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    """A saga to purge; ``accepted`` and ``finished`` are positions."""

    accepted: int
    finished: int
    id: str
    status: str
    finished_at_us: int
    entries: int
    bytes: int


class Purge:
    """One walk over the finished sagas, the first to finish first.

    ``dry_run``: nothing is deleted, only counted. ``at_most``: how many sagas to purge; None: all that may be.
    ``whole``: walk to the end; else stop where a good many sagas after one another finished too late. Only a clock that
    was set makes a difference.
    """

    def __init__(
        self,
        database: SqlDatabase,
        which: Purgeable,
        *,
        dry_run: bool = False,
        at_most: int | None = None,
        whole: bool = True,
    ) -> None:
        self.report = PurgeReport(0, 0)
        self._database = database
        self._tombstones = Tombstones(database)
        self._texts = texts_of(database)
        self._last_rows = last_rows_of(database)
        self._which = which
        self._dry_run = dry_run
        self._at_most = at_most
        self._whole = whole
        self._parts = self._walk()
        self._tidying = self._tidy()

    def step(self) -> bool:
        """Look at some sagas, or purge a few. False once there are no more. Each step takes the file's write lock once
        at most, for a few milliseconds, or as long as one saga takes that is larger."""
        part = next(self._parts, None)
        if part:
            self._take(part)
        if part is None and self.report.sagas and not self._dry_run:
            return next(self._tidying, False)
        return part is not None

    def _tidy(self) -> Iterator[bool]:
        """Let go what the purged sagas have left. Each part is a transaction of its own."""
        while self._texts.tidy():
            yield True
        shapes = unused_shapes_of(self._database)
        while shapes.tidy():
            yield True

    def _walk(self) -> Iterator[list[_Found]]:
        """The sagas to purge, in parts for one transaction each. Those in between are empty."""
        after, left = 0, self._at_most
        while left is None or left > 0:
            looked_at, chosen, after = self._look(after)
            if not chosen and (not looked_at or not self._whole):
                return
            yield []
            for part in _parts(self._sized(each) for each in chosen[:left]):
                left = None if left is None else left - len(part)
                yield part

    def _look(self, after: int) -> tuple[int, list[_Found], int]:
        """How many sagas have been looked at that finished behind that position, those of them that are to be purged,
        and the position of the last one."""
        rows = self._database.rows(
            "SELECT sagas.finished, sagas.accepted, sagas.id, sagas.status, sagas.name, CAST(journal.at AS BIGINT)"
            " FROM sagas JOIN journal ON journal.position = sagas.finished WHERE sagas.finished > ?"
            f" ORDER BY sagas.finished LIMIT {_LOOKED_AT_ONCE}",
            (after,),
        )
        which = self._which
        statuses = {status.value for status in SagaStatus if status.final and which.status in (None, status)}
        chosen = [
            _Found(accepted, finished, saga_id, status, at_us, 0, 0)
            for finished, accepted, saga_id, status, name, at_us in rows
            if status in statuses and which.name in (None, name) and at_us <= which.finished_by_us
        ]
        return len(rows), chosen, rows[-1][0] if rows else after

    def _sized(self, found: _Found) -> _Found:
        """The same, with its number of entries and about the bytes that its rows take."""
        entries, size = self._database.row(
            "SELECT count(*), coalesce(sum(length(entry) + coalesce(length(state), 0)), 0) FROM journal"
            " WHERE saga_id = ?",
            (found.id,),
        )
        if self._which.events:
            number, of_events = self._database.row(
                "SELECT count(*), coalesce(sum(length(data) + coalesce(length(metadata), 0)), 0) FROM events"
                f" WHERE stream = ? AND {OF_SAGAS_ALONE}",
                (found.id, found.id),
            )
            size += of_events + number * (_BYTES_PER_ROW + 2 * len(found.id))
        size += (entries + 1) * (_BYTES_PER_ROW + 2 * len(found.id))
        return _Found(found.accepted, found.finished, found.id, found.status, found.finished_at_us, entries, size)

    def _take(self, part: list[_Found]) -> None:
        taken = part if self._dry_run else self._delete(part)
        self.report = PurgeReport(self.report.sagas + len(taken), self.report.bytes + sum(each.bytes for each in taken))

    def _delete(self, part: list[_Found]) -> list[_Found]:
        """Purge these sagas in one transaction, but for those that somebody else has purged meanwhile."""
        with self._database.transaction():
            self._last_rows.begin(events=self._which.events)
            taken: list[_Found] = []
            for each in part:
                if self._last_rows.may_go(each.id) and self._delete_row(each):
                    self._last_rows.keep(each.id)
                    self._delete_entries(each)
                    taken.append(each)
            if taken:
                numbers = Counter(each.status for each in taken)
                self._tombstones.count(numbers, max(each.finished for each in taken))
        return taken

    def _delete_row(self, found: _Found) -> bool:
        self._texts.remove(found.accepted)
        gone = self._database.execute(
            "DELETE FROM sagas WHERE accepted = ? AND id = ? AND finished = ? AND status = ?",
            (found.accepted, found.id, found.finished, found.status),
        )
        return bool(gone.rowcount)

    def _delete_entries(self, found: _Found) -> None:
        self._database.execute("DELETE FROM journal WHERE saga_id = ?", (found.id,))
        self._tombstones.add(found.id, found.status, found.finished_at_us)
        if self._which.events:
            self._last_rows.delete_events(found.id)


_OF_SAGAS_ALONE = "NOT EXISTS (SELECT 1 FROM events AS others WHERE others.stream = ? AND others.event_id IS NULL)"


def _parts(sagas: Iterator[_Found]) -> Iterator[list[_Found]]:
    """The sagas in parts for one transaction each."""
    part: list[_Found] = []
    rows = 0
    for each in sagas:
        part.append(each)
        rows += each.entries
        if len(part) >= SAGAS_AT_ONCE or rows >= ROWS_AT_ONCE:
            yield part
            part, rows = [], 0
    if part:
        yield part
