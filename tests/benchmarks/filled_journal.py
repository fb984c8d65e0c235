"""Fills a journal with any number of finished sagas, in some ten microseconds of each row.

The journal's own append writes one saga of each kind into a journal in memory. Its rows are then copied, with the id,
the positions and the names of events of each further saga. A test shows that the rows are those which appends write.
The index of texts is filled, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antistrophe.journal import SqliteJournal
from antistrophe.journal.text_index import TextIndex
from antistrophe.storage.database import Database
from antistrophe.storage.opening import open_database, open_in_memory
from tests.benchmarks.made_sagas import COURSES, appends, event_id

DIGITS = 8
NAMES = tuple(f"order-{number}" for number in range(8))
EACH_COMPENSATED, EACH_PARKED = 50, 1_000
SAGAS_AT_ONCE = 1_000

_PLACE = "finished-" + "x" * DIGITS
_COLUMNS = {
    "journal": ("position", "saga_id", "seq", "at", "kind", "entry", "state"),
    "sagas": ("accepted", "id", "request_id", "name", "status", "updated", "finished", "error", "waiting"),
    "events": (
        "position",
        "stream",
        "version",
        "type",
        "type_version",
        "data",
        "metadata",
        "recorded_at",
        "event_id",
    ),
}
_SAGA_POSITIONS = ("accepted", "updated", "finished")


def saga_id(number: int) -> str:
    """The id of one of them. All are of one length."""
    return f"finished-{number:0{DIGITS}}"


def kind(number: int) -> tuple[str, str]:
    """The course and the name of one of them."""
    course = COURSES[2 if number % EACH_PARKED == 7 else 1 if number % EACH_COMPENSATED == 3 else 0]
    return course, NAMES[number % len(NAMES)]


@dataclass(frozen=True)
class _Kind:
    """The rows of the saga that others are copies of, by table, and the appends that have an event."""

    rows: dict[str, list[tuple[Any, ...]]]
    with_event: tuple[int, ...]
    shapes: list[tuple[bytes, bytes]]


def _kind_of(course: str, name: str, now: float) -> _Kind:
    journal = SqliteJournal(open_in_memory())
    with closing(journal):
        made = list(appends(_PLACE, now, course, name))
        for each in made:
            each.write(journal)
        found = journal._database
        rows = {table: found.rows(f"SELECT {', '.join(names)} FROM {table}") for table, names in _COLUMNS.items()}
        shapes = found.rows("SELECT hash, shape FROM shapes")
    return _Kind(rows, tuple(number for number, each in enumerate(made) if each.events), shapes)


class Filling:
    """Copies sagas into one database. ``positions`` are those of the last rows of the tables ``journal`` and
    ``events``."""

    def __init__(self, database: Database, now: float) -> None:
        self._database = database
        self._kinds = {(course, name): _kind_of(course, name, now) for course in COURSES for name in NAMES}
        self._entries = self._events = 0

    def write(self, numbers: range) -> None:
        """Write the sagas of these numbers in one transaction."""
        rows: dict[str, list[Sequence[Any]]] = {table: [] for table in _COLUMNS}
        for number in numbers:
            self._copy(saga_id(number), self._kinds[kind(number)], rows)
        with self._database.transaction() as database:
            for each in {kind(number) for number in numbers}:
                for shape in self._kinds[each].shapes:
                    database.execute("INSERT OR IGNORE INTO shapes(hash, shape) VALUES (?, ?)", shape)
            for table, names in _COLUMNS.items():
                sql = f"INSERT INTO {table}({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
                database.execute_many(sql, rows[table])
            database.reached("journal", self._entries)
            database.reached("events", self._events)

    def _copy(self, its_id: str, of: _Kind, rows: dict[str, list[Sequence[Any]]]) -> None:
        packed, place = its_id.encode(), _PLACE.encode()
        for position, _, seq, at, entry_kind, entry, state in of.rows["journal"]:
            own = entry.replace(place, packed) if seq == 1 else entry
            rows["journal"].append((self._entries + position, its_id, seq, at, entry_kind, own, state))
        for row in of.rows["sagas"]:
            rows["sagas"].append(list(_saga_row(row, its_id, self._entries)))
        for row, number in zip(of.rows["events"], of.with_event, strict=True):
            position, _, version, *data, metadata, at, _ = row
            own = metadata.replace(place, packed)
            name = event_id(its_id, number).bytes
            rows["events"].append((self._events + position, its_id, version, *data, own, at, name))
        self._entries += len(of.rows["journal"])
        self._events += len(of.rows["events"])


def _saga_row(row: tuple[Any, ...], its_id: str, behind: int) -> Iterator[Any]:
    for column, value in zip(_COLUMNS["sagas"], row, strict=True):
        if column in _SAGA_POSITIONS and value is not None:
            yield behind + value
        else:
            yield value.replace(_PLACE, its_id) if isinstance(value, str) else value


def fill(home: Path, sagas: int, limit_s: float, now: float | None = None) -> int:
    """Make a home whose journal has so many finished sagas; returns how many there was time for."""
    home.mkdir(mode=0o700)
    deadline = time.monotonic() + limit_s
    written = 0
    with closing(open_database(home / "journal.db", synchronous="NORMAL")) as database:
        index = TextIndex(database)
        filling = Filling(database, time.time() if now is None else now)
        while written < sagas and time.monotonic() < deadline:
            part = range(written, min(written + SAGAS_AT_ONCE, sagas))
            filling.write(part)
            index.add(len(part))
            written = part.stop
    return written
