"""What a saga of many steps leaves in the journal, and how it is read while it grows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from antistrophe.journal import SqliteJournal
from antistrophe.records import SagaMetadata
from antistrophe.saga.entries import Action, Entry, SagaCompleted
from antistrophe.saga.listed import row_after
from antistrophe.saga.state import Saga, evolve
from antistrophe.saga.view import metadata_of
from tests.contract.journal_sagas import (
    START,
    accepted,
    failed,
    started,
    succeeded,
    turned_back,
)

A_STEP_BYTES = 1_500
"""What one step of a saga may take in the journal, its entries and its share of the definition included."""


def forward(steps: int) -> Iterator[tuple[Entry, ...]]:
    """The appends of a saga that completes."""
    yield accepted("s", steps=tuple(f"step {number}" for number in range(steps))), started(0)
    yield from ((succeeded(number), started(number + 1)) for number in range(steps - 1))
    yield succeeded(steps - 1), SagaCompleted(START + 4)


def backward(steps: int) -> Iterator[tuple[Entry, ...]]:
    """The appends of a saga whose last step fails, up to its last compensation."""
    yield from list(forward(steps))[:-1]
    last = steps - 2
    yield failed(steps - 1), turned_back(), started(last, Action.COMPENSATE)
    for number in range(last, 0, -1):
        yield succeeded(number, Action.COMPENSATE), started(number - 1, Action.COMPENSATE)


def grow(journal: SqliteJournal, parts: Iterator[tuple[Entry, ...]], *, until: int | None = None) -> Saga:
    """Write these appends, as the actors do."""
    saga: Saga | None = None
    for entries in parts:
        before = saga
        for entry in entries:
            saga = evolve(saga, entry)
        assert saga is not None
        row = row_after(before, saga, entries)
        journal.append("s", expected_seq=0 if before is None else before.seq, entries=entries, row=row)
        if until is not None and saga.seq >= until:
            break
    assert saga is not None
    return saga


def grown_bytes(path: Path, parts: Iterator[tuple[Entry, ...]]) -> int:
    journal = SqliteJournal(path, synchronous="NORMAL")
    group = journal.group()
    group.open()
    grow(journal, parts)
    group.commit()
    journal.close()
    return path.stat().st_size


def test_a_step_takes_as_much_in_a_long_saga_as_in_a_short_one(tmp_path: Path) -> None:
    for name, parts in (("forward", forward), ("backward", backward)):
        sizes = [grown_bytes(tmp_path / f"{name}-{steps}.db", parts(steps)) for steps in (100, 200, 800)]
        (short, more), (_, long) = pairwise(sizes)
        attempts = 1 if name == "forward" else 2
        assert (long - more) / 600 < min(A_STEP_BYTES * attempts, 1.2 * (more - short) / 100), name


def test_a_saga_of_many_steps_reads_as_it_stands_at_any_moment(tmp_path: Path) -> None:
    for number, until in enumerate((2, 3, 100, 101, 257, 600)):
        journal = SqliteJournal(tmp_path / f"{number}.db", synchronous="NORMAL")
        shown = metadata_of(grow(journal, backward(120), until=until))
        assert journal.metadata("s") == shown
        assert journal.list().sagas == (shown,)
        changes = journal.changes(0, 1_000)
        assert changes[-1].saga == shown
        assert journal.changes(changes[-1].position - 1, 1) == changes[-1:], "from the middle, too"
        assert [change.saga.steps_executed for change in changes] == sorted(c.saga.steps_executed for c in changes)
        journal.close()


def test_a_saga_is_read_the_same_on_both_sides_of_what_is_folded(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db", synchronous="NORMAL")
    states: list[SagaMetadata] = []
    saga: Saga | None = None
    for entries in backward(30):
        for entry in entries:
            saga = evolve(saga, entry)
        assert saga is not None
        states.append(metadata_of(saga))
    grow(journal, backward(30))
    kept = journal._database.rows("SELECT length(state) FROM journal WHERE state NOTNULL ORDER BY seq")
    assert {(0,)} < set(kept), "some are folded, and some are not"
    assert [change.saga for change in journal.changes()] == states
    for change in journal.changes():
        assert journal.changes(change.position - 1, 1) == [change]
    journal.close()
