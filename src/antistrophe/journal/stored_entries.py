"""Reads the entries of sagas from the home's SQLite file: all of a saga's, or a part of them of a bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from antistrophe.journal.dialect import dialect_of
from antistrophe.journal.journal import JournalRecord, PackedEntry
from antistrophe.journal.ordinary_course import StoredEntry
from antistrophe.journal.rows import missing, unpack_entry
from antistrophe.journal.shapes import StoredShapes
from antistrophe.saga.entries import AttemptSucceeded, Entry, VerdictGiven
from antistrophe.serialization.whole_numbers import LARGEST_INTEGER
from antistrophe.storage.connection import SqlDatabase

PART_BYTES = 4 << 20
"""A part ends with the entry that brings it to so many bytes, or before one that is larger by itself."""

RESULTS = (AttemptSucceeded.__name__, VerdictGiven.__name__)
"""The kinds of entries that hold what a step has returned."""

_SIZES_AT_ONCE = 4096


class StoredEntries:
    """The entries in one database. Every method raises JournalError if something can't be read."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self.shapes = StoredShapes(database)

    def of(self, saga_id: str) -> list[JournalRecord]:
        """All entries of a saga, in order."""
        return self.between(saga_id, 0, LARGEST_INTEGER) if self._database.holds(saga_id) else []

    def between(self, saga_id: str, after_seq: int, last_seq: int) -> list[JournalRecord]:
        """The entries of a saga behind ``after_seq`` up to ``last_seq``, in order."""
        return [self._record(row) for row in self._rows(saga_id, after_seq, last_seq)]

    def with_last(self, saga_id: str) -> tuple[tuple[Entry, ...], bytes | None]:
        """All entries of a saga, in order, and the last one as it is packed; None where there is none."""
        rows = self._rows(saga_id, 0, LARGEST_INTEGER) if self._database.holds(saga_id) else []
        return tuple(self._record(row).entry for row in rows), rows[-1][3] if rows else None

    def packed(self, saga_ids: Sequence[str]) -> dict[str, list[StoredEntry]]:
        """All entries of these sagas, which are short, as they are stored, in order."""
        found: dict[str, list[StoredEntry]] = {saga_id: [] for saga_id in saga_ids}
        rows = self._database.rows(
            "SELECT saga_id, seq, entry, CAST(at AS BIGINT) FROM journal"
            f" WHERE saga_id IN ({', '.join('?' * len(saga_ids))}) ORDER BY saga_id, seq",
            saga_ids,
        )
        for saga_id, *entry in rows:
            found[saga_id].append(tuple(entry))
        return found

    def behind(self, position: int, limit: int, up_to: int = LARGEST_INTEGER) -> list[JournalRecord]:
        """The entries of all sagas behind a position up to another one, in order, at most ``limit``."""
        rows = self._database.rows(
            "SELECT position, saga_id, seq, entry, CAST(at AS BIGINT) FROM journal WHERE position > ?"
            f" AND position <= ? AND {dialect_of(self._database.kind).of_a_saga} ORDER BY position LIMIT ?",
            (position, up_to, limit),
        )
        return [self._record(row) for row in rows]

    def last(self) -> Entry | None:
        """The entry at the last position, whose saga may be purged; None in a new journal."""
        found = self._database.row("SELECT position, entry, saga_id FROM journal ORDER BY position DESC LIMIT 1")
        if found is None:
            return None
        return self.shapes.entry(found[1], found[2], f"{self._database.where}: entry {found[0]}")

    def at(self, saga_id: str, seq: int) -> JournalRecord | None:
        """One entry of a saga, or None if there is no such entry."""
        if not self._database.holds(saga_id):
            return None
        found = self._database.row(
            "SELECT position, saga_id, seq, entry, CAST(at AS BIGINT) FROM journal WHERE saga_id = ? AND seq = ?",
            (saga_id, seq),
        )
        return None if found is None else self._record(found)

    def part(
        self, saga_id: str, after_seq: int = 0, kinds: Sequence[str] = (), part_bytes: int = PART_BYTES
    ) -> tuple[tuple[PackedEntry, ...], bool]:
        """The entries of a saga behind ``after_seq``, in order, and whether more follow; at least one entry, where
        there is one. The sizes are read first, so that no more than a part is in memory."""
        which, values = _which(self._database, saga_id, after_seq, kinds)
        sizes = self._database.rows(f"SELECT seq, length(entry) {which} ORDER BY seq LIMIT {_SIZES_AT_ONCE}", values)
        first = self._whole(saga_id) if sizes and sizes[0][0] == 1 else b""
        if first:
            sizes[0] = (1, len(first))
        total = number = 0
        while number < len(sizes) and total < part_bytes and (not number or sizes[number][1] <= part_bytes):
            total += sizes[number][1]
            number += 1
        if not number:
            return (), False
        rows = self._database.rows(
            f"SELECT position, seq, entry, CAST(at AS BIGINT) {which} AND seq <= ? ORDER BY seq",
            (*values, sizes[number - 1][0]),
        )
        for expected, row in enumerate(rows if not kinds else (), start=after_seq + 1):
            if row[1] != expected:
                raise missing(self.where(saga_id, expected))
        found = [(position, seq, first if seq == 1 else packed, at_us) for position, seq, packed, at_us in rows]
        return tuple(found), number < len(sizes) or len(sizes) == _SIZES_AT_ONCE

    def piece(
        self, saga_id: str, after_seq: int, kinds: Sequence[str], offset: int, part_bytes: int = PART_BYTES
    ) -> tuple[tuple[PackedEntry, ...], bool, int]:
        """See ``Journal.entries_after``."""
        with self._database.one_moment():  # the saga may be purged meanwhile
            return self._piece(saga_id, after_seq, kinds, offset, part_bytes)

    def _piece(
        self, saga_id: str, after_seq: int, kinds: Sequence[str], offset: int, part_bytes: int
    ) -> tuple[tuple[PackedEntry, ...], bool, int]:
        which, values = _which(self._database, saga_id, after_seq, kinds)
        found = self._database.row(
            f"SELECT position, seq, length(entry), CAST(at AS BIGINT) {which} ORDER BY seq LIMIT 1", values
        )
        if found is None or found[2] <= part_bytes:
            entries, more = self.part(saga_id, after_seq, kinds, part_bytes)
            return entries, more, 0
        position, seq, size, at_us = found
        (piece,) = self._database.row(
            "SELECT substr(entry, ?, ?) FROM journal WHERE position = ?", (offset + 1, part_bytes, position)
        )
        return ((position, seq, piece, at_us),), True, max(0, size - offset - len(piece))

    def results(self, saga_id: str, after_seq: int = 0) -> Iterator[JournalRecord]:
        """The entries of a saga that hold what its steps have returned, in order; few are in memory at a time."""
        more = True
        while more:
            entries, more = self.part(saga_id, after_seq, RESULTS)
            for position, seq, packed, at_us in entries:
                after_seq = seq
                yield self._record((position, saga_id, seq, packed, at_us))

    def where(self, saga_id: str, seq: int | None = None) -> str:
        """Where an entry of a saga is: for messages."""
        return where_in(self._database, saga_id, seq)

    def _rows(self, saga_id: str, after_seq: int, last_seq: int) -> list[tuple[int, str, int, bytes, int]]:
        rows = self._database.rows(
            "SELECT position, saga_id, seq, entry, CAST(at AS BIGINT) FROM journal"
            " WHERE saga_id = ? AND seq > ? AND seq <= ? ORDER BY seq",
            (saga_id, after_seq, last_seq),
        )
        for expected, row in enumerate(rows, start=after_seq + 1):
            if row[2] != expected:
                raise missing(self.where(saga_id, expected))
        return rows

    def _record(self, row: tuple[int, str, int, bytes, int]) -> JournalRecord:
        position, saga_id, seq, data, at_us = row
        where = self.where(saga_id, seq)
        entry = self.shapes.entry(data, saga_id, where) if seq == 1 else unpack_entry(data, where)
        return JournalRecord(position, saga_id, seq, entry, at_us / 1e6)

    def _whole(self, saga_id: str) -> bytes:
        """The first entry of a saga as a client reads it, with its shape."""
        (data,) = self._database.row("SELECT entry FROM journal WHERE saga_id = ? AND seq = 1", (saga_id,))
        return self.shapes.whole(data, saga_id, self.where(saga_id, 1))


def _which(database: SqlDatabase, saga_id: str, after_seq: int, kinds: Sequence[str]) -> tuple[str, tuple[object, ...]]:
    """SQL for the entries of a saga behind a seq, those of these kinds (none named: all), and its values."""
    wanted = f" AND kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
    if not all(map(database.holds, (saga_id, *kinds))):
        return "FROM journal WHERE false", ()  # no row has a text that can't be stored
    return f"FROM journal WHERE saga_id = ? AND seq > ?{wanted}", (saga_id, after_seq, *kinds)


def where_in(database: SqlDatabase, saga_id: str, seq: int | None = None) -> str:
    """Where an entry of a saga, or its state, is: for messages."""
    return f"{database.where}: {'' if seq is None else f'entry {seq} of '}saga {saga_id!r}"
