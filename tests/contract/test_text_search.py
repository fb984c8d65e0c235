"""Lists with a text: the index of texts makes them quick, and changes no answer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antistrophe.actors.text_indexing import SAGAS_AT_ONCE, TextIndexing
from antistrophe.errors import JournalError
from antistrophe.journal import Purgeable, SagaPage, SqliteJournal, saga_lists, text_index
from antistrophe.journal.dialect import dialect_of
from antistrophe.journal.saga_lists import Which
from antistrophe.records import SagaStatus
from antistrophe.serialization.whole_numbers import LARGEST_INTEGER
from antistrophe.storage.opening import open_database, open_in_memory
from antistrophe.storage.schema import MIGRATIONS
from tests.contract.journal_sagas import FORWARD, PARK, RESOLVED, RETRY, TURN_BACK, UNDONE, append, run

FINAL = ("completed", "compensated")
WORDS = dialect_of("sqlite")
STATUSES = (*FINAL, "executing", "compensating", "failed")

# Characters whose case folds in one alphabet or another, that mean something to LIKE or to the index, or end a text.
TEXTS = st.text(st.sampled_from('abAB%_"\\ kK\u212aéÉßİı\x00\x02c*^'), min_size=3, max_size=6)


@st.composite
def rows(draw: st.DrawFn) -> list[tuple[str, str, str | None, str | None, str]]:
    """Rows with few different texts, so that many have the same."""
    texts = st.sampled_from(draw(st.lists(TEXTS, min_size=1, max_size=3)))
    statuses = st.sampled_from(draw(st.sampled_from([STATUSES, FINAL])))
    return draw(st.lists(st.tuples(texts, texts, st.none() | texts, st.none() | texts, statuses), max_size=14))


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows are looked at before the index is asked, in place of a thousand."""
    monkeypatch.setattr(saga_lists, "_AT_ONCE", 2)
    monkeypatch.setattr(saga_lists, "_FIRST", 1)


@pytest.fixture
def journal() -> Iterator[SqliteJournal]:
    journal = SqliteJournal(open_in_memory())
    yield journal
    journal.close()


def insert(journal: SqliteJournal, rows: Sequence[tuple[str, str, str | None, str | None, str]]) -> None:
    """Rows of the list alone: a search reads no others. Sagas finish in another order than they were accepted in."""
    (number,) = journal._database.row("SELECT count(*) FROM sagas")
    number = -(-number // 4) * 4  # whoever comes later has finished later than all that are here
    for saga_id, name, error, waiting, status in rows:
        number += 1
        finished = None if status in STATUSES[2:4] else 1000 + (number ^ 3)
        journal._database.execute(
            "INSERT INTO sagas VALUES (?, ?, 'r', ?, ?, 0, ?, ?, ?)",
            (number, f"{number} {saga_id}", name, status, finished, error, waiting),
        )


def positions(journal: SqliteJournal, wanted: saga_lists._Wanted, number: int, until: float | None = None) -> list[int]:
    """All that a search finds, by so many at a time."""
    found: list[int] = []
    before: int | None = LARGEST_INTEGER
    while before is not None:
        part = journal._lists._search(wanted, before, number, until)
        assert len(part.accepted) <= number
        assert part.down_to is None or part.down_to < before
        found += part.accepted
        before = part.down_to
    return found


def by_scan(journal: SqliteJournal, which: Which, text: str) -> list[int]:
    """The same, by a look at each row."""
    sql = f"SELECT accepted, status, name FROM sagas WHERE {WORDS.contains} ORDER BY accepted DESC"
    rows = journal._database.rows(sql, WORDS.searched(text))
    return [
        accepted
        for accepted, status, name in rows
        if which.status in (None, status)
        and which.name in (None, name)
        and not (which.unfinished and SagaStatus(status).final)
    ]


def wanted_of(status: str | None, name: str | None, text: str) -> saga_lists._Wanted:
    return saga_lists._wanted(Which(None if status is None else SagaStatus(status), name), text, WORDS)


@settings(max_examples=60, deadline=None)
@given(rows(), rows(), st.data())
def test_the_index_finds_what_a_look_at_each_row_finds(indexed: Any, later: Any, data: st.DataObject) -> None:
    journal = SqliteJournal(open_in_memory())
    insert(journal, indexed)
    journal.texts.add(data.draw(st.integers(1, 14) | st.just(14)))
    insert(journal, later)
    somewhere = [text for row in (*indexed, *later) for text in row[:4] if text is not None]
    text = data.draw(st.sampled_from(somewhere) if somewhere else TEXTS)
    start = data.draw(st.integers(0, len(text) - 3))
    text = text[start : start + data.draw(st.integers(3, 6))].swapcase()
    status = data.draw(st.none() | st.sampled_from(STATUSES))
    name = data.draw(st.none() | st.sampled_from([row[1] for row in indexed] or ["ab"]))
    which = Which(None if status is None else SagaStatus(status), name, unfinished=data.draw(st.booleans()))
    wanted = saga_lists._wanted(which, text, WORDS)
    number, until = data.draw(st.integers(1, 8)), data.draw(st.none() | st.just(0.0))
    assert positions(journal, wanted, number, until) == by_scan(journal, which, text)
    journal.close()


def many(number: int) -> list[tuple[str, str, str | None, str | None, str]]:
    return [(f"order-{each:04}", "shop", None, None, FINAL[each % 2]) for each in range(number)]


def test_the_index_grows_beside_the_work_and_is_asked(journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    insert(journal, many(SAGAS_AT_ONCE + 10))
    indexing = TextIndexing(journal)
    assert indexing.step() is not None
    assert journal.texts.behind(1_000) == 10
    asked: list[list[int]] = []
    candidates = journal.texts.candidates

    def ask(*values: Any) -> list[int]:
        asked.append(candidates(*values))
        return asked[-1]

    monkeypatch.setattr(journal.texts, "candidates", ask)
    assert positions(journal, wanted_of(None, None, "DER-0007"), 5) == [8]
    assert asked == [[8]]
    asked.clear()
    assert positions(journal, wanted_of("completed", "shop", "order-0007"), 5) == []
    assert asked == [[]], "the index knows the status, too"


@pytest.mark.parametrize("until", [None, 0.0])
def test_many_that_have_a_text_come_in_parts(journal: SqliteJournal, until: float | None) -> None:
    insert(journal, many(20))
    journal.texts.add(20)
    insert(journal, [("other", "shop", None, None, status) for status in STATUSES])
    wanted = wanted_of(None, None, "order")
    for number in (1, 5, 19, 20, 100):
        assert positions(journal, wanted, number, until) == [*range(20, 0, -1)]


def test_a_few_sagas_are_not_worth_a_commit(journal: SqliteJournal) -> None:
    insert(journal, many(SAGAS_AT_ONCE - 1))
    assert TextIndexing(journal).step() is None
    assert journal.texts.end() == 0
    assert positions(journal, wanted_of(None, None, "order-0007"), 5) == [8]


@pytest.mark.parametrize(
    "damage", ["DROP TABLE saga_texts", "DELETE FROM saga_texts_data", "DELETE FROM texts_indexed"]
)
def test_without_a_sound_index_the_rows_are_read(journal: SqliteJournal, damage: str) -> None:
    insert(journal, many(40))
    journal.texts.add(40)
    journal._database.execute(damage)
    assert positions(journal, wanted_of(None, None, "order-0007"), 5) == [8]
    journal.texts.remove(8)
    assert not journal.texts.tidy()


def test_a_sqlite_that_has_no_such_index_is_told_once(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_most: int) -> int:
        raise JournalError("no such module: fts5") from sqlite3.OperationalError("no such module: fts5")

    monkeypatch.setattr(journal.texts, "add", refuse)
    insert(journal, many(SAGAS_AT_ONCE))
    indexing = TextIndexing(journal)
    monkeypatch.setattr("antistrophe.actors.text_indexing.log.propagate", True)
    assert indexing.step() is not None
    assert indexing.step() is None, "not before a minute is over"
    assert [record.getMessage() for record in caplog.records if "index of texts" in record.getMessage()] == [
        "the index of texts does not grow now, and lists with a text take longer: no such module: fts5"
    ]
    assert positions(journal, wanted_of(None, None, "order-0007"), 5) == [8]


def test_what_is_removed_leaves_the_index(journal: SqliteJournal) -> None:
    insert(journal, many(6))
    journal.texts.add(6)
    assert journal.texts.candidates(["order"], None, 10, 10) == [6, 5, 4, 3, 2, 1]
    journal.texts.remove(4)
    journal.texts.remove(99)
    assert journal.texts.candidates(["order"], None, 10, 10) == [6, 5, 3, 2, 1]
    assert journal.texts.candidates(["order"], "completed", 10, 10) == [5, 3, 1]


def index_bytes(journal: SqliteJournal) -> int:
    (size,) = journal._database.row("SELECT sum(length(block)) FROM saga_texts_data")
    return int(size)


def test_a_purged_saga_leaves_the_index(journal: SqliteJournal) -> None:
    for saga_id in ("first", "second"):
        run(journal, saga_id, *FORWARD)
    journal.texts.add(10)
    size = index_bytes(journal)
    assert len(journal.texts.candidates(["transfer"], None, LARGEST_INTEGER, 10)) == 2
    purge = journal.purge(Purgeable(LARGEST_INTEGER), at_most=1)
    while purge.step():
        pass
    assert len(journal.texts.candidates(["transfer"], None, LARGEST_INTEGER, 10)) == 1
    assert [saga.id for saga in journal.list(text="TRANS").sagas] == ["second"]
    assert index_bytes(journal) < size, "nothing is left of it"


def test_a_page_ends_in_time_and_says_how_far_it_has_looked(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the index, and for two characters, which it can't look up."""
    insert(journal, many(9))
    monkeypatch.setattr(saga_lists, "LONGEST_S", -1.0)
    pages: list[SagaPage] = []
    cursor: str | None = None
    while not pages or cursor is not None:
        page = journal.list(text="zz", cursor=cursor, part_bytes=1_000_000)
        pages.append(page)
        cursor = page.cursor
    assert [page.cursor for page in pages] == ["before-8", "before-6", "before-4", "before-2", None]
    assert not any(page.sagas for page in pages)
    assert journal.list(text="zz").cursor is None, "who has time gets it all at once"


# --- parked sagas -------------------------------------------------------------------------------------------------


def test_a_parked_saga_is_in_the_index_until_it_goes_on(journal: SqliteJournal) -> None:
    for saga_id in ("first", "second"):
        run(journal, saga_id, *TURN_BACK, PARK)
    assert journal.texts.add(10) == 2
    first, second = sorted(journal.texts.candidates(["transfer"], "failed", LARGEST_INTEGER, 10))
    append(journal, "first", *RETRY)
    assert journal.texts.candidates(["transfer"], None, LARGEST_INTEGER, 10) == [second]
    assert [saga.id for saga in journal.list(text="TRANS").sagas] == ["second", "first"]
    append(journal, "first", *PARK)
    append(journal, "second", *RESOLVED)
    assert journal.texts.add(10) == 2, "both have a later place in the history"
    assert journal.texts.candidates(["transfer"], "failed", LARGEST_INTEGER, 10) == [first]
    assert journal.texts.candidates(["transfer"], None, LARGEST_INTEGER, 10) == [second, first]


def test_a_parked_saga_is_found_by_what_its_row_says_by_now(journal: SqliteJournal) -> None:
    run(journal, "first", *TURN_BACK, PARK)
    insert(journal, many(4))
    journal.texts.add(10)
    assert [saga.id for saga in journal.list(status=SagaStatus.FAILED, text="no money").sagas] == ["first"]
    shown = journal.metadata("first")
    assert shown is not None
    with journal._database.transaction():
        journal._update(replace(shown, error="the bank is closed"), 10_000)
    for text, found in (("no money", []), ("is closed", [1])):
        assert [*journal.texts.candidates([text], "failed", LARGEST_INTEGER, 10)] == found
        assert positions(journal, wanted_of(None, None, text), 5) == found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["go on", "add", "count"])), max_size=40))
def test_parked_sagas_are_counted_and_found_whatever_happens(acts: list[tuple[int, str]]) -> None:
    courses = [
        (*TURN_BACK, PARK, RETRY, PARK, RESOLVED),
        (*TURN_BACK, PARK, RETRY, UNDONE),
        (*TURN_BACK, PARK),
        FORWARD,
    ]
    journal, at = SqliteJournal(open_in_memory()), [0, 0, 0, 0]
    for which, act in acts:
        course = courses[which]
        if act == "add":
            journal.texts.add(2)
        elif act == "go on" and at[which] == 0:
            run(journal, f"saga-{which}")
            at[which] = 1
        elif act == "go on" and at[which] <= len(course):
            append(journal, f"saga-{which}", *course[at[which] - 1])
            at[which] += 1
        shown = journal.list().sagas
        assert journal.counts() == {status: sum(saga.status is status for saga in shown) for status in SagaStatus}
        assert [saga.id for saga in journal.list(text="transfer").sagas] == [saga.id for saga in shown]
    journal.close()


def test_the_parked_sagas_of_an_older_release_are_added(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    with closing(open_database(file, migrations=MIGRATIONS[:9])) as database:
        database.execute(text_index._TEXTS)
        database.execute("CREATE TABLE texts_indexed(finished INTEGER NOT NULL)")
        database.execute("INSERT INTO texts_indexed(finished) VALUES (7)")
        database.execute(
            "INSERT INTO saga_texts(rowid, id, name, error, waiting, status) VALUES (1, 'a', 'shop', '', '', '')"
        )
        rows = [(1, "a", "completed", 2), (2, "b", "failed", 4), (5, "c", "failed", 6), (7, "d", "executing", None)]
        for accepted, saga_id, status, finished in rows:
            database.execute(
                "INSERT INTO sagas VALUES (?, ?, 'r', 'shop', ?, ?, ?, NULL, NULL)",
                (accepted, saga_id, status, accepted, finished),
            )
    with closing(SqliteJournal(file)) as journal:
        assert journal.counts()[SagaStatus.FAILED] == 2
        assert positions(journal, wanted_of(None, None, "shop"), 2) == [7, 5, 2, 1]
        assert TextIndexing(journal).step() is not None
        assert journal.texts.candidates(["shop"], None, 10, 10) == [5, 2, 1]
        assert positions(journal, wanted_of(None, None, "shop"), 2) == [7, 5, 2, 1]
        assert TextIndexing(journal).step() is None


# --- which characters are looked up -------------------------------------------------------------------------------


def test_characters_that_all_sagas_have_are_not_looked_up(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(journal, [(f"order-{each * 7919 % 10_000:04}-eu", "shop", None, None, FINAL[0]) for each in range(3_000)])
    journal.texts.add(3_000)
    asked: list[Sequence[str]] = []
    with_all = journal.texts._with_all

    def ask(parts: Sequence[str], before: int, most: int) -> list[int]:
        asked.append(parts)
        return with_all(parts, before, most)

    monkeypatch.setattr(journal.texts, "_with_all", ask)
    found = journal.texts.candidates(["order-5433-eu"], None, LARGEST_INTEGER, 1_000)
    assert 8 in found
    assert len(found) < 30
    assert not {"ord", "rde", "der"} & set(asked[-1])
    assert journal.texts.candidates(["order"], None, LARGEST_INTEGER, 1_000) == [*range(3_000, 2_000, -1)]
    assert len(asked[-1]) == 1, "all are as frequent: one says as much as three"
