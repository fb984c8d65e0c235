"""What a journal of an older release costs at its first opening: the migration of its schema, the first questions, and
the index of texts, which the registry fills beside its work from then on.

Usage: python -m tests.benchmarks.bench_migration [--sagas N] [--version {1,4}]

The sagas are copies of one that an older release has written; the tests have its file.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from antistrophe.actors.text_indexing import REST, SAGAS_AT_ONCE
from antistrophe.journal import SqliteJournal
from tests.benchmarks.measuring import clean_up_on_sigterm, conditions

T = TypeVar("T")

VERSIONS = (1, 4)
_DUMPS = Path(__file__).resolve().parents[1] / "contract" / "files"
_COPIED = "done"
_AT_ONCE = 1_000
_JOURNAL = "INSERT INTO journal(position, saga_id, seq, at, kind, entry, state) VALUES (?, ?, ?, ?, ?, ?, ?)"
_SAGAS = (
    "INSERT INTO sagas(accepted, id, request_id, name, status, updated, finished, error, waiting)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def older_file(file: Path, version: int, sagas: int) -> None:
    """Make a file as a release with that version of the schema would have left it, with so many finished sagas more
    than the three of the dump."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.executescript((_DUMPS / f"journal-of-version-{version}.sql").read_text("utf-8"))
        connection.execute("PRAGMA journal_mode = WAL")
        entries = connection.execute("SELECT * FROM journal WHERE saga_id = ? ORDER BY seq", (_COPIED,)).fetchall()
        row = connection.execute("SELECT * FROM sagas WHERE id = ?", (_COPIED,)).fetchone()
        (last,) = connection.execute("SELECT max(position) FROM journal").fetchone()
        for start in range(0, sagas, _AT_ONCE):
            connection.execute("BEGIN")
            for number in range(start, min(sagas, start + _AT_ONCE)):
                its_id = f"older-{number:08}"
                for behind, (_, _, seq, at, kind, entry, state) in enumerate(entries, start=last + 1):
                    copied = its_id, seq, at, kind, _renamed(entry, its_id), state and _renamed(state, its_id)
                    connection.execute(_JOURNAL, (behind, *copied))
                accepted, last = last + 1, last + len(entries)
                connection.execute(_SAGAS, (accepted, its_id, *row[2:5], last, last, *row[7:]))
            connection.execute("COMMIT")


def _renamed(packed: bytes, saga_id: str) -> bytes:
    """The same with another id: msgpack has the length of a short text in the byte before it."""
    old, new = (bytes([0xA0 + len(each)]) + each.encode() for each in (_COPIED, saga_id))
    return packed.replace(old, new)


def run(version: int, sagas: int) -> None:
    """Measure and print."""
    print(f"\n== A journal of version {version} with {sagas:,} finished sagas ({conditions()}) ==")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder, "journal.db")
        older_file(file, version, sagas)
        journal, opened_s = _timed(lambda: SqliteJournal(file))
        with closing(journal):
            _, again_s = _timed(lambda: SqliteJournal(file).close())
            page, page_s = _timed(lambda: journal.list(limit=100, part_bytes=1 << 20))
            counts, counted_s = _timed(journal.counts)
            assert sum(counts.values()) == sagas + 3
            assert not any(saga.error for saga in page.sagas), "every saga is read"
            indexed, indexed_s = _timed(lambda: _index(journal))
        print(f"  first opening {opened_s * 1e3:.0f} ms, a later one {again_s * 1e3:.0f} ms")
        print(f"  the first page of 100 sagas {page_s * 1e3:.0f} ms, the first count {counted_s * 1e3:.0f} ms")
        rate = 60 * indexed / indexed_s
        print(
            f"  index of texts: {indexed:,} sagas in {indexed_s:.1f} s, {rate:,.0f} a minute;"
            f" beside the registry's work {rate / (1 + REST):,.0f} a minute",
            flush=True,
        )


def _index(journal: SqliteJournal) -> int:
    number = 0
    while added := journal.texts.add(SAGAS_AT_ONCE):
        number += added
    return number


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    begun = time.perf_counter()
    return work(), time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sagas", type=int, default=100_000)
    parser.add_argument("--version", type=int, choices=VERSIONS, action="append")
    given = parser.parse_args()
    clean_up_on_sigterm()
    for version in given.version or VERSIONS:
        run(version, given.sagas)


if __name__ == "__main__":
    main()
