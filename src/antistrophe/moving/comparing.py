"""Compares what is in the database with the file, before it counts.

Entries, sagas and events are compared by their number and by a hash of each. Of the other tables the rows are counted,
and compared with the tables beside.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from antistrophe.errors import JournalError
from antistrophe.moving.source import Source
from antistrophe.moving.tables import (
    BY_POSITION,
    CLAIMS,
    EVENTS,
    JOURNAL,
    PURGED,
    SAGAS,
    SHAPES,
    SNAPSHOTS,
    Positions,
    Table,
    beside,
    hash_of,
)
from antistrophe.storage.portable_sql import SCHEMA
from antistrophe.storage.postgres_database import PostgresDatabase

AT_ONCE = 20_000
"""So many positions or rows are compared, or brought there, by one statement."""


def compare(
    database: PostgresDatabase, copy_id: str, source: Source, grown: dict[Positions, int]
) -> tuple[int, int, int]:
    """Compare all of it, in the open transaction. Returns how many entries, sagas and events were compared. Raises
    JournalError where anything differs."""
    numbers = {table.name: _compare_by_position(database, source, table, grown) for table in BY_POSITION}
    for table in (SHAPES, PURGED, SNAPSHOTS, CLAIMS):
        _compare_others(database, copy_id, source, table)
    return numbers[JOURNAL.name], numbers[SAGAS.name], numbers[EVENTS.name]


def positions_of(table: Table) -> Positions:
    """The sequence of the positions by which a table is ordered."""
    positions = table.columns[0].positions
    assert positions is not None, "it is one of BY_POSITION"
    return positions


def steps(head: int) -> list[tuple[int, int]]:
    """The positions up to that one, in steps: each from behind one position up to another."""
    return [(after, min(after + AT_ONCE, head)) for after in range(0, head, AT_ONCE)]


def pieces(database: PostgresDatabase, copy_id: str, table: Table) -> Iterator[tuple[str, list[Any]]]:
    """SQL for the rows of a table beside, a piece at a time, and its values."""
    key, marks = f"({', '.join(table.key)})", f"({', '.join('?' * len(table.key))})"
    after: list[Any] = []
    while True:
        behind = f"{key} > {marks}" if after else "true"
        last = database.row(
            f"SELECT {', '.join(table.key)} FROM {beside(copy_id, table)} WHERE {behind}"
            f" ORDER BY {', '.join(table.key)} OFFSET {AT_ONCE - 1} LIMIT 1",
            after,
        )
        if last is None:
            yield behind, after
            return
        yield f"{behind} AND {key} <= {marks}", [*after, *last]
        after = list(last)


def _compare_by_position(database: PostgresDatabase, source: Source, table: Table, grown: dict[Positions, int]) -> int:
    (key,) = table.key
    positions = positions_of(table)
    by = grown[positions]
    sql = (
        f"SELECT count(*), sha256(coalesce(string_agg({table.row_hash_sql(grown)}, ''::bytea ORDER BY {key}), ''))"
        f" FROM {SCHEMA}.{table.name} WHERE {key} > ? AND {key} <= ?"
    )
    rows = source.rows(table)
    row = next(rows, None)
    total = 0
    for after, up_to in steps(source.head(positions)):
        hashes = []
        while row is not None and row[0] <= up_to:
            hashes.append(table.row_hash(row))
            row = next(rows, None)
        number, found = database.row(sql, (after + by, up_to + by))
        if number != len(hashes) or found != hash_of(hashes):
            raise JournalError(
                f"{database.where}: {number:,} rows of {table.name} are there for the positions {after + 1:,} to"
                f" {up_to:,} of {source.where}, which has {len(hashes):,}, or one of them differs: nothing was changed;"
                " call the copy off with --undo, and begin it again"
            )
        total += len(hashes)
    return total


def _compare_others(database: PostgresDatabase, copy_id: str, source: Source, table: Table) -> None:
    kept, compared = beside(copy_id, table), table.key if table is PURGED else table.names
    same = " AND ".join(f"its.{name} IS NOT DISTINCT FROM kept.{name}" for name in compared)
    # By the key first, which has an index.
    by_key = " AND ".join(f"its.{name} = kept.{name}" for name in table.key)
    there = lacking = 0
    for which, values in pieces(database, copy_id, table):
        number, missing = database.row(
            f"SELECT count(*), count(*) FILTER (WHERE NOT EXISTS (SELECT FROM {SCHEMA}.{table.name} AS its WHERE"
            f" {by_key} AND {same})) FROM (SELECT * FROM {kept} WHERE {which}) AS kept",
            values,
        )
        there, lacking = there + number, lacking + missing
    if there != source.count(table) or lacking:
        raise JournalError(
            f"{database.where}: {there - lacking:,} rows of {table.name} are as in {source.where}, which has"
            f" {source.count(table):,}: nothing was changed; call the copy off with --undo, and begin it again"
        )
