"""Following a journal's file for statistics: where it begins, that it goes on, and what may happen to the file."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from antistrophe.errors import JournalError
from antistrophe.journal import Purgeable, SqliteJournal, statistics_follower
from antistrophe.journal.statistics_follower import StatisticsFollower
from antistrophe.saga.entries import Action
from antistrophe.saga.statistics import OTHER, AttemptOutcome, SagaEvent
from antistrophe.storage.compaction import compact
from antistrophe.storage.opening import open_database
from antistrophe.storage.schema import MIGRATIONS
from tests.contract.journal_sagas import FORWARD, START, TURN_BACK, UNDONE, accepted, append, run

COMPLETED = ("transfer", SagaEvent.COMPLETED)
DEBIT = ("tests.no_such_module:Debit", Action.EXECUTE, AttemptOutcome.RETURNED)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def written(file: Path, *saga_ids: str) -> None:
    with closing(SqliteJournal(file)) as journal:
        for saga_id in saga_ids:
            run(journal, saga_id, *FORWARD)


def purged(file: Path) -> None:
    with closing(SqliteJournal(file)) as journal:
        walk = journal.purge(Purgeable(2**62))
        while walk.step():
            pass


def read(follower: StatisticsFollower) -> int:
    """How many sagas have completed."""
    assert follower.catch_up(60.0)
    assert follower.behind == 0
    return follower.statistics.sagas[COMPLETED]


def test_a_young_journal_is_counted_from_its_beginning_and_each_entry_once(file: Path) -> None:
    written(file, "one", "two")
    follower = StatisticsFollower(file)
    assert read(follower) == 2
    assert read(follower) == 2
    written(file, "three")
    assert read(follower) == 3
    assert follower.statistics.attempts[DEBIT] == 3
    assert follower.statistics.saga_durations[COMPLETED].count == 3


def test_one_that_is_older_is_counted_from_now_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_follower, "YOUNG_ENTRIES", 3)
    written(file, "one")
    with closing(SqliteJournal(file)) as journal:
        append(journal, "two", accepted("two"))
        follower = StatisticsFollower(file)
        assert read(follower) == 0
        for part in FORWARD:
            append(journal, "two", *part)
    assert read(follower) == 1
    assert follower.statistics.attempts[DEBIT] == 1, "the acceptance was read when it was needed"


def test_one_that_was_purged_is_counted_from_now_on(file: Path) -> None:
    written(file, "one", "two")
    purged(file)
    follower = StatisticsFollower(file)
    assert read(follower) == 0
    written(file, "three")
    assert read(follower) == 1


def test_a_window_begins_at_its_time(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(file, "one", "two", "three")
    with closing(sqlite3.connect(file)) as direct, direct:
        direct.execute("UPDATE journal SET at = ? + position * 1000000", (int(START * 1e6),))
        (middle,) = direct.execute("SELECT max(position) FROM journal WHERE saga_id = 'two'").fetchone()
    monkeypatch.setattr("antistrophe.journal.statistics_follower.time.time", lambda: START + middle + 10.5)
    follower = StatisticsFollower(file, window_s=10.0)
    assert read(follower) == 1
    assert read(StatisticsFollower(file, window_s=1e9)) == 3
    assert read(StatisticsFollower(file, window_s=0.0)) == 0


def test_a_look_ends_in_time_and_the_next_one_goes_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_follower, "_ROWS_AT_ONCE", 4)
    written(file, "one", "two")
    follower = StatisticsFollower(file)
    assert not follower.catch_up(0.0)
    assert follower.behind > 0
    assert sum(follower.statistics.sagas.values()) == 1
    looks = 1
    while not follower.catch_up(0.0):
        looks += 1
    assert looks >= 2
    assert read(follower) == 2


def test_sagas_are_purged_and_the_file_is_compacted_meanwhile(file: Path) -> None:
    written(file, "one", "two")
    follower = StatisticsFollower(file)
    assert read(follower) == 2
    with closing(SqliteJournal(file)) as journal:
        append(journal, "runs", accepted("runs"))
        append(journal, "runs", *FORWARD[0])
    assert read(follower) == 2
    purged(file)
    with closing(open_database(file)) as database:
        compact(database)
    with closing(SqliteJournal(file)) as journal:
        for part in FORWARD[1:]:
            append(journal, "runs", *part)
    assert read(follower) == 3
    assert follower.statistics.sagas["transfer", SagaEvent.ACCEPTED] == 3


def test_what_was_written_and_purged_between_two_looks_is_passed_over(file: Path) -> None:
    written(file, "one")
    follower = StatisticsFollower(file)
    read(follower)
    written(file, "two", "three")
    purged(file)
    assert read(follower) == 1
    written(file, "four")
    assert read(follower) == 2


def test_there_is_no_file_yet_or_no_more(file: Path) -> None:
    follower = StatisticsFollower(file)
    with pytest.raises(JournalError, match="there is no such file"):
        follower.catch_up()
    written(file, "one")
    assert read(follower) == 1
    for each in file.parent.iterdir():
        each.unlink()
    with pytest.raises(JournalError, match="there is no such file"):
        follower.catch_up()
    written(file, "two")
    assert read(follower) == 2, "a new file that is young is counted, and what was counted stays"


@pytest.mark.parametrize("more", [(), ("b", "c")], ids=["shorter", "longer"])
def test_another_file_takes_its_place(file: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    written(file, "one", "two")
    follower = StatisticsFollower(file)
    assert read(follower) == 2
    other = tmp_path / "other.db"
    written(other, "a", *more)
    with closing(open_database(other)) as database:
        database.begin_log_anew()
    shutil.copyfile(other, tmp_path / "copy")
    for each in ("", "-wal", "-shm", "-note"):
        Path(f"{file}{each}").unlink(missing_ok=True)
    (tmp_path / "copy").replace(file)
    assert read(follower) == 2 + 1 + len(more)


def test_a_file_of_a_newer_release_is_refused_and_says_so(file: Path) -> None:
    written(file, "one")
    with closing(sqlite3.connect(file)) as direct, direct:
        direct.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(JournalError, match="written by a newer release"):
        StatisticsFollower(file).catch_up()


def test_an_entry_that_can_not_be_read_hides_no_other(file: Path) -> None:
    written(file, "one", "two")
    with closing(sqlite3.connect(file)) as direct, direct:
        direct.execute("UPDATE journal SET entry = x'c1' WHERE saga_id = 'one' AND seq IN (1, 3)")
    follower = StatisticsFollower(file)
    assert read(follower) == 1
    assert follower.unreadable == 2
    assert follower.statistics.sagas[OTHER, SagaEvent.COMPLETED] == 1


def test_a_large_entry_is_read_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_follower, "_BEHIND", statistics_follower._BEHIND.replace("65536", "10"))
    written(file, "one")
    assert read(StatisticsFollower(file)) == 1


def test_a_saga_that_turned_back(file: Path) -> None:
    with closing(SqliteJournal(file)) as journal:
        run(journal, "undone", *TURN_BACK, UNDONE)
    follower = StatisticsFollower(file)
    assert read(follower) == 0
    assert follower.statistics.sagas["transfer", SagaEvent.COMPENSATED] == 1
    assert follower.statistics.attempts["tests.no_such_module:Debit", Action.COMPENSATE, AttemptOutcome.RETURNED] == 1
