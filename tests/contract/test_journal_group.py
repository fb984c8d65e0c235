"""Appends that share one transaction: durable together, or none of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe.errors import JournalError
from antistrophe.journal import SeqConflictError, SqliteJournal, journal_path
from tests.contract.journal_sagas import FORWARD, accepted, append, run, started, succeeded


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(journal_path(tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def reader(journal: SqliteJournal, tmp_path: Path) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(journal_path(tmp_path))
    yield opened
    opened.close()


def run_many(journal: SqliteJournal) -> None:
    for number in range(100):
        append(journal, f"saga-{number}", accepted(f"saga-{number}"))


def test_nothing_is_seen_by_others_before_the_commit(journal: SqliteJournal, reader: SqliteJournal) -> None:
    group = journal.group()
    group.open()
    append(journal, "a", accepted("a"))
    append(journal, "b", accepted("b"))
    append(journal, "a", started(0))
    assert (journal.head(), reader.head()) == (3, 0)
    assert len(journal.load("a")) == 2
    group.commit()
    assert reader.head() == 3
    assert [len(reader.load(each)) for each in "ab"] == [2, 1]


def test_after_it_each_append_is_durable_by_itself_again(journal: SqliteJournal, reader: SqliteJournal) -> None:
    group = journal.group()
    for finish in (group.commit, group.roll_back):
        group.open()
        finish()
        before = reader.head()
        run(journal, finish.__name__, FORWARD[0])
        assert reader.head() > before


def test_what_is_rolled_back_never_was(journal: SqliteJournal, reader: SqliteJournal) -> None:
    run(journal, "a", FORWARD[0])
    before = journal.head()
    group = journal.group()
    group.open()
    append(journal, "a", succeeded(0))
    append(journal, "b", accepted("b"))
    group.roll_back()
    assert (journal.head(), reader.head()) == (before, before)
    assert journal.load("b") == ()
    append(journal, "a", succeeded(0))
    assert reader.head() == before + 1


def test_one_that_fails_breaks_the_group(journal: SqliteJournal, reader: SqliteJournal) -> None:
    run(journal, "a", FORWARD[0])
    before = reader.head()
    group = journal.group()
    group.open()
    append(journal, "b", accepted("b"))
    with pytest.raises(SeqConflictError):
        journal.append("a", expected_seq=7, entries=[succeeded(0)], row=journal.metadata("a"))  # type: ignore[arg-type]
    assert group.broken
    with pytest.raises(RuntimeError, match="can only be rolled back"):
        group.commit()
    assert reader.head() == before
    group.open()
    assert not group.broken
    append(journal, "b", accepted("b"))
    group.commit()
    assert reader.head() == before + 1


def test_a_full_disk_breaks_the_group_and_leaves_the_journal_usable(
    journal: SqliteJournal, reader: SqliteJournal
) -> None:
    (pages,) = journal._database.row("PRAGMA page_count")
    journal._database.row(f"PRAGMA max_page_count = {pages + 4}")
    group = journal.group()
    group.open()
    with pytest.raises(JournalError, match="the disk is full"):
        run_many(journal)
    assert group.broken
    group.roll_back()
    assert (journal.head(), reader.head()) == (0, 0)
    append(journal, "a", accepted("a"))
    assert reader.head() == 1
