"""Appends that the commit of their group writes: all in one statement, all or none, each as it would be alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from antistrophe.errors import JournalError
from antistrophe.journal import Purgeable, SqliteJournal, StoredJournal, journal_path
from antistrophe.journal.postgres import PostgresJournal
from antistrophe.journal.saga_owner import Ownership
from antistrophe.serialization.whole_numbers import LARGEST_INTEGER
from antistrophe.storage.postgres import open_postgres
from tests.benchmarks.made_sagas import COURSES, Append, appends
from tests.contract.test_postgres_journal import Host, opened


@pytest.fixture
def journal(empty_postgres: str) -> Iterator[PostgresJournal]:
    with opened(empty_postgres, "a1") as journal:
        yield journal


def _commit(journal: StoredJournal, *calls: Callable[[], object]) -> int | None:
    group = journal.gathering_group()
    group.open()
    assert not group.begun
    for each in calls:
        each()
    assert group.begun
    group.commit()
    assert not group.begun
    return group.position


def _made(name: str, now: float, course: str) -> list[Append]:
    return list(appends(name, now, course))


def test_it_writes_what_single_appends_write(empty_postgres: str, journal: PostgresJournal) -> None:
    """Sagas of every course, side by side; some appends have events, each group has new sagas and known ones."""
    now, sagas = time.time(), []
    for way in ("alone", "group"):
        sagas = [_made(f"{course} {number} {way}", now, course) for course in COURSES for number in range(2)]
        for number in range(max(map(len, sagas)) + 1):
            # The second saga of a course is a turn behind the first.
            turn = [saga[n] for at, saga in enumerate(sagas) if 0 <= (n := number - at % 2) < len(saga)]
            if way == "alone":
                for each in turn:
                    each.write(journal)
            else:
                position = _commit(journal, *(partial(each.write, journal) for each in turn))
                assert position == journal.head()
    rows = [_stored(empty_postgres, f"% {way}") for way in ("alone", "group")]
    assert len(rows[0]["events"]) == sum(len(each.events) for saga in sagas for each in saga) > 0
    assert rows[0] == rows[1]


def _stored(url: str, pattern: str) -> dict[str, list[Any]]:
    """What is stored of these sagas, but for the word that tells the ways apart, and for positions, of which it is told
    only which of a saga's entries they name."""
    of = "replace(replace({}, ' alone', ''), ' group', '')"
    seq = "(SELECT seq FROM antistrophe.journal WHERE position = {})"
    with closing(open_postgres(url)) as database:
        sagas = database.rows(
            f"SELECT {', '.join(map(of.format, ('id', 'request_id', 'error')))}, name, status, seq, waiting, host,"
            f" token, needs, {', '.join(map(seq.format, ('accepted', 'updated', 'finished')))} FROM sagas"
            " WHERE id LIKE ? ORDER BY id",
            (pattern,),
        )
        entries = database.rows(
            f"SELECT {of.format('saga_id')}, seq, at, kind, length(entry), length(state) FROM journal"
            " WHERE saga_id LIKE ? ORDER BY saga_id, seq",
            (pattern,),
        )
        events = database.rows(
            f"SELECT {of.format('stream')}, version, type, type_version, data FROM events WHERE stream LIKE ?"
            " ORDER BY stream, version",
            (pattern,),
        )
        return {"sagas": sagas, "entries": entries, "events": events}


def test_nothing_has_happened_before_its_commit(empty_postgres: str, journal: PostgresJournal) -> None:
    first, second = (_made(name, time.time(), "completed")[0] for name in "ab")
    group = journal.gathering_group()
    group.open()
    first.write(journal)
    assert journal.load("a") == ()
    with opened(empty_postgres, "b2") as other:  # no lock is held, so another host may accept that id
        first.write(other)
    with pytest.raises(JournalError, match="is refused: saga 'a'"):
        group.commit()
    assert journal.ownership("a") == Ownership("b2", 1, 2)
    group.open()
    second.write(journal)
    group.roll_back()
    assert journal.load("b") == ()
    second.write(journal)
    assert len(journal.load("b")) == 2


def _at_another_seq(journal: PostgresJournal, known: Append) -> None:
    _made("known", time.time(), "completed")[2].write(journal)


def _by_another_token(journal: PostgresJournal, known: Append) -> None:
    owner, journal._appends._owner = journal._appends._owner, Host("a1", {"known": 7})
    known.write(journal)
    journal._appends._owner = owner


def _accepted_again(journal: PostgresJournal, _: Append) -> None:
    _made("known", time.time(), "completed")[0].write(journal)


def _purged(journal: PostgresJournal, _: Append) -> None:
    _made("purged", time.time(), "completed")[0].write(journal)


@pytest.mark.parametrize("place", ["first", "last", "alone"])
@pytest.mark.parametrize("refused", [_at_another_seq, _by_another_token, _accepted_again, _purged])
def test_one_that_is_refused_undoes_the_others(
    journal: PostgresJournal, refused: Callable[[PostgresJournal, Append], None], place: str
) -> None:
    now = time.time()
    known, next_of_known = _made("known", now, "completed")[:2]
    known.write(journal)
    if refused is _purged:
        for each in _made("purged", now, "completed"):
            each.write(journal)
        walk = journal.purge(Purgeable(LARGEST_INTEGER))
        while walk.step():
            pass
    others = [_made(name, now, "completed")[0] for name in ("new", "newer")]
    calls: list[Callable[[], object]] = [partial(each.write, journal) for each in others if place != "alone"]
    calls.insert(len(calls) if place == "last" else 0, partial(refused, journal, next_of_known))
    before = journal.head()
    with pytest.raises(JournalError, match="refused"):
        _commit(journal, *calls)
    assert (journal.load("new"), journal.load("newer"), journal.load("purged")) == ((), (), ())
    assert (len(journal.load("known")), journal.head()) == (2, before)
    others[0].write(journal)  # nothing is left open
    assert len(journal.load("new")) == 2


def test_a_saga_may_have_several_appends_in_it(journal: PostgresJournal) -> None:
    made = _made("s", time.time(), "parked")
    _commit(journal, *(partial(each.write, journal) for each in made))
    assert [each.entry for each in journal.saga_records("s")] == [entry for each in made for entry in each.entries]


def test_an_empty_one_asks_nothing(journal: PostgresJournal) -> None:
    group = journal.gathering_group()
    group.open()
    before = journal._server.commits
    group.commit()
    assert (journal._server.commits, group.position) == (before, None)


def test_in_a_file_each_append_is_written_at_once(tmp_path: Path) -> None:
    with closing(SqliteJournal(journal_path(tmp_path))) as journal:
        group = journal.gathering_group()
        group.open()
        _made("a", time.time(), "completed")[0].write(journal)
        assert len(journal.load("a")) == 2
        group.commit()
        assert group.position is None
