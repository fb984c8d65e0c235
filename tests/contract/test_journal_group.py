"""Appends that share one transaction: durable together, or none of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from antistrophe.errors import JournalError
from antistrophe.journal import SeqConflictError, SqliteJournal, StoredJournal, journal_path
from tests.contract.journal_sagas import FORWARD, accepted, append, run, started, succeeded


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """The place of the journal: a file, or the URL of a database."""
    return str(request.getfixturevalue("empty_postgres")) if request.param == "postgresql" else journal_path(tmp_path)


@pytest.fixture
def journal(where: Path | str) -> Iterator[StoredJournal]:
    with closing(opened(where)) as journal:
        yield journal


@pytest.fixture
def reader(journal: StoredJournal, where: Path | str) -> Iterator[StoredJournal]:
    with closing(opened(where)) as reader:
        yield reader


def opened(where: Path | str) -> StoredJournal:
    if isinstance(where, str):
        from antistrophe.journal.postgres import PostgresJournal

        return PostgresJournal(where)
    return SqliteJournal(where)


def positions_behind(reader: StoredJournal, position: int) -> list[int]:
    """Where entries are. In PostgreSQL those that were rolled back have left gaps."""
    return [record.position for record in reader.records(position)]


def run_many(journal: StoredJournal) -> None:
    for number in range(100):
        append(journal, f"saga-{number}", accepted(f"saga-{number}"))


def test_nothing_is_seen_by_others_before_the_commit(journal: StoredJournal, reader: StoredJournal) -> None:
    group = journal.group()
    group.open()
    append(journal, "a", accepted("a"))
    append(journal, "b", accepted("b"))
    append(journal, "a", started(0))
    # By positions not even who writes them reads on: in PostgreSQL smaller ones may still come.
    assert (journal.head(), reader.head()) == (3 if isinstance(journal, SqliteJournal) else 0, 0)
    assert len(journal.load("a")) == 2
    group.commit()
    assert reader.head() == 3
    assert [len(reader.load(each)) for each in "ab"] == [2, 1]


def test_after_it_each_append_is_durable_by_itself_again(journal: StoredJournal, reader: StoredJournal) -> None:
    group = journal.group()
    for finish in (group.commit, group.roll_back):
        group.open()
        finish()
        before = reader.head()
        run(journal, finish.__name__, FORWARD[0])
        assert reader.head() > before


def test_what_is_rolled_back_never_was(journal: StoredJournal, reader: StoredJournal) -> None:
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
    assert positions_behind(reader, before) == [before + 1] or not isinstance(reader, SqliteJournal)
    assert positions_behind(reader, before) == [reader.head()]


def test_one_that_fails_breaks_the_group(journal: StoredJournal, reader: StoredJournal) -> None:
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
    assert positions_behind(reader, before) == [before + 1] or not isinstance(reader, SqliteJournal)
    assert positions_behind(reader, before) == [reader.head()]


def test_a_full_disk_breaks_the_group_and_leaves_the_journal_usable(tmp_path: Path) -> None:
    with closing(SqliteJournal(journal_path(tmp_path))) as journal, closing(opened(journal_path(tmp_path))) as reader:
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
