"""Purging finished sagas from a journal: what goes, what stays, and what is known of it afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from antistrophe.client.purging import purge, purgeable
from antistrophe.definition.events import event
from antistrophe.errors import JournalBusyError, RequestError, SagaExistsError
from antistrophe.eventstore.store import EventStore
from antistrophe.journal import Purgeable, SagaEvent, SqliteJournal
from antistrophe.journal.postgres import PostgresJournal
from antistrophe.journal.retention import ROWS_AT_ONCE, SAGAS_AT_ONCE
from antistrophe.records import PurgeReport, SagaStatus
from antistrophe.serialization.payload import pack_payload
from antistrophe.storage.database import Database
from antistrophe.storage.free_pages import free_pages
from antistrophe.storage.opening import open_database
from antistrophe.storage.schema import MIGRATIONS
from tests.contract.journal_sagas import (
    FORWARD,
    PARK,
    START,
    TURN_BACK,
    UNDONE,
    accepted,
    append,
    counted,
    ids,
    run,
)

EVER = Purgeable(2**62)


@event("purge.noted")
@dataclass(frozen=True)
class Noted:
    text: str


def purged(journal: SqliteJournal, which: Purgeable = EVER, **options: Any) -> PurgeReport:
    walk = journal.purge(which, **options)
    while walk.step():
        pass
    return walk.report


def event_of(saga_id: str, number: int) -> SagaEvent:
    return SagaEvent(
        saga_id, "paid", 1, pack_payload({"number": number}), {}, f"{hash(saga_id) % 2**64:032x}"[:31] + str(number)
    )


def completed(journal: SqliteJournal, *saga_ids: str, name: str = "transfer") -> None:
    for saga_id in saga_ids:
        run(journal, saga_id, *FORWARD, name=name)


def test_finished_sagas_go_and_all_others_stay(journal: SqliteJournal) -> None:
    completed(journal, "done", "last")
    run(journal, "undone", *TURN_BACK, UNDONE)
    run(journal, "parked", *TURN_BACK, PARK)
    run(journal, "runs", FORWARD[0])
    run(journal, "turns", *TURN_BACK)
    report = purged(journal)
    assert report.sagas == 3
    assert report.bytes > 1000
    assert sorted(ids(journal.list(limit=100).sagas)) == ["parked", "runs", "turns"]
    assert counted(journal) == {SagaStatus.FAILED: 1, SagaStatus.EXECUTING: 1, SagaStatus.COMPENSATING: 1}
    assert {record.saga_id for record in journal.records(0, 100)} == {"parked", "runs", "turns"}
    assert ids(journal.history()) == ["parked"]
    for saga_id in ("done", "undone"):
        assert journal.metadata(saga_id) is None
        assert journal.load(saga_id) == ()
        assert journal.request_id(saga_id) is None
    assert purged(journal) == PurgeReport(0, 0)


def test_a_purged_id_stays_known_with_its_end(journal: SqliteJournal) -> None:
    completed(journal, "done")
    run(journal, "undone", *TURN_BACK, UNDONE)
    (done, undone) = (journal.timeline(each)[-1].at for each in ("done", "undone"))
    purged(journal)
    first, second = journal.purged("done"), journal.purged("undone")
    assert first is not None
    assert second is not None
    assert (first.status, first.finished_at) == (SagaStatus.COMPLETED, done)
    assert (second.status, second.finished_at) == (SagaStatus.COMPENSATED, undone)
    assert journal.purged("other") is None
    assert journal.purged("\udc80") is None
    with pytest.raises(SagaExistsError, match=r"'done' was completed at .* purged") as caught:
        append(journal, "done", accepted("done"))
    assert caught.value.status is SagaStatus.COMPLETED
    assert caught.value.finished_at == done
    assert journal.load("done") == ()
    append(journal, "other", accepted("other"))


def test_no_position_is_given_twice(journal: SqliteJournal) -> None:
    completed(journal, "a", "b")
    head = journal.head()
    assert purged(journal).sagas == 2
    assert journal.head() == head
    assert journal.records(0, 100) == []
    assert journal.changes(0, 100) == []
    assert journal.last_at() == (0.0 if isinstance(journal, PostgresJournal) else START + 4)
    assert append(journal, "next", accepted("next")) == head + 1
    assert [record.position for record in journal.records(0, 100)] == [head + 1]
    assert [change.position for change in journal.changes(2, 100)] == [head + 1]
    for part in FORWARD:
        append(journal, "next", *part)
    later = journal.head()
    assert purged(journal).sagas == 1
    assert journal.head() == later
    assert append(journal, "after", accepted("after")) == later + 1
    assert len(journal.records(0, 100)) == 1


def test_only_what_is_old_enough_of_that_name_and_status_goes(journal: SqliteJournal) -> None:
    completed(journal, "a", "b")
    completed(journal, "other", name="shipment")
    run(journal, "undone", *TURN_BACK, UNDONE)
    finished_us = round((START + 4) * 1e6)
    assert purged(journal, Purgeable(finished_us - 1)).sagas == 0
    assert purged(journal, Purgeable(finished_us, name="shipment"), dry_run=True).sagas == 1
    assert purged(journal, Purgeable(finished_us, name="shipment")).sagas == 1
    assert purged(journal, Purgeable(2**62, status=SagaStatus.COMPENSATED)).sagas == 1
    assert purged(journal, EVER, at_most=1).sagas == 1
    assert ids(journal.list(limit=100).sagas) == ["b"]


def test_a_dry_run_deletes_nothing_and_reports_the_same(journal: SqliteJournal) -> None:
    completed(journal, *map(str, range(SAGAS_AT_ONCE + 3)))
    said = purged(journal, dry_run=True)
    assert said.sagas == SAGAS_AT_ONCE + 3
    assert counted(journal) == {SagaStatus.COMPLETED: SAGAS_AT_ONCE + 3}
    assert purged(journal) == said


def test_a_step_purges_few_sagas_and_each_of_them_whole(journal: SqliteJournal) -> None:
    completed(journal, *map(str, range(3 * SAGAS_AT_ONCE)))
    walk = journal.purge(EVER)
    before = walk.report.sagas
    while walk.step():
        assert walk.report.sagas - before <= min(SAGAS_AT_ONCE, ROWS_AT_ONCE)
        before = walk.report.sagas
        left = {record.saga_id for record in journal.records(0, 1000)}
        assert left == set(ids(journal.list(limit=1000).sagas))
        assert counted(journal).get(SagaStatus.COMPLETED, 0) == 3 * SAGAS_AT_ONCE - before
    assert before == 3 * SAGAS_AT_ONCE


def test_two_purges_at_once_purge_each_saga_once(journal: SqliteJournal) -> None:
    completed(journal, *map(str, range(70)))
    first, second = journal.purge(EVER), journal.purge(EVER)
    more = [True, True]
    while any(more):
        more = [first.step(), second.step()]
    assert first.report.sagas + second.report.sagas == 70
    assert counted(journal) == {}


@pytest.mark.parametrize("first_counted", [False, True])
def test_counts_stay_right_whoever_purges(journal: SqliteJournal, first_counted: bool) -> None:
    completed(journal, "a", "b")
    if first_counted:
        assert counted(journal) == {SagaStatus.COMPLETED: 2}
    completed(journal, "c")
    assert purged(journal, at_most=1).sagas == 1
    assert counted(journal) == {SagaStatus.COMPLETED: 2}
    assert purged(journal).sagas == 2
    assert counted(journal) == {}
    completed(journal, "d")
    assert counted(journal) == {SagaStatus.COMPLETED: 1}
    run(journal, "e", *TURN_BACK, UNDONE)
    purged(journal, Purgeable(2**62, status=SagaStatus.COMPENSATED))
    assert counted(journal) == {SagaStatus.COMPLETED: 1}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def with_events(journal: SqliteJournal, *saga_ids: str) -> None:
    for saga_id in saga_ids:
        append(journal, saga_id, accepted(saga_id), events=(event_of(saga_id, 1), event_of(saga_id, 2)))
        for part in FORWARD:
            append(journal, saga_id, *part)


def positions(events: EventStore, from_position: int = 0) -> list[int]:
    return [each.position for each in events.read(from_position)]


def test_events_stay_unless_they_are_to_go(journal: SqliteJournal, events: EventStore) -> None:
    with_events(journal, "kept", "b", "mixed", "last")
    events.append("mixed", [Noted("mine")])
    assert purged(journal, at_most=1).sagas == 1
    said = purged(journal, Purgeable(2**62, events=True), dry_run=True)
    assert purged(journal, Purgeable(2**62, events=True)) == said
    # The stream of "mixed" is the application's too. A purged saga's events stay where its purge left them.
    assert positions(events) == [1, 2, 5, 6, 9]
    assert positions(events, 3) == [5, 6, 9]
    assert events.version("mixed") == 3
    assert (events.version("b"), events.version("kept")) == (0, 2)


def test_the_last_event_stays_until_another_is_behind_it(journal: SqliteJournal, events: EventStore) -> None:
    """In PostgreSQL it may go: the sequence gives no position twice."""
    last = [] if isinstance(journal, PostgresJournal) else [4]
    with_events(journal, "a", "b")
    events.save_snapshot("b", 2, {"sum": 1})
    with_all = Purgeable(2**62, events=True)
    assert purged(journal, with_all).sagas == 2
    assert positions(events) == last
    assert events.get_latest_snapshot("b") is None
    with_events(journal, "c")
    assert positions(events) == [*last, 5, 6]
    assert purged(journal, with_all).sagas == 1
    assert positions(events) == ([6] if last else [])
    events.append("mine", [Noted("x")])
    with_events(journal, "d")
    assert purged(journal, with_all).sagas == 1
    assert positions(events) == ([7, 9] if last else [7])


@pytest.mark.parametrize("asked", ["metadata", "list", "history", "changes", "entries_after"])
def test_a_question_sees_one_moment_while_sagas_are_purged(
    file: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    questions: dict[str, Callable[[SqliteJournal], object]] = {
        "metadata": lambda journal: journal.metadata("b"),
        "list": lambda journal: journal.list(limit=10).sagas,
        "history": lambda journal: journal.history(),
        "changes": lambda journal: journal.changes(),
        "entries_after": lambda journal: journal.entries_after("b"),
    }
    with closing(SqliteJournal(file)) as journal, closing(SqliteJournal(file, read_only=True)) as reader:
        completed(journal, "a", "b")
        before = questions[asked](reader)
        rows, calls = Database.rows, []

        def purge_behind_the_first(database: Database, *arguments: Any) -> list[Any]:
            found = rows(database, *arguments)
            if database is reader._database:
                calls.append(arguments)
                if len(calls) == 2:  # the first one begins
                    monkeypatch.setattr(Database, "rows", rows)
                    assert purged(journal).sagas == 2
            return found

        monkeypatch.setattr(Database, "rows", purge_behind_the_first)
        assert questions[asked](reader) == before
        assert counted(reader) == {}


# --- in a file --------------------------------------------------------------------------------------------------------


def filled(file: Path, sagas: int) -> None:
    with closing(SqliteJournal(file, synchronous="NORMAL")) as journal:
        group = journal.group()
        group.open()
        completed(journal, *(f"saga-{number}-{'x' * 24}" for number in range(sagas)))
        group.commit()


def test_the_file_shrinks_beside_readers_and_its_log_stays_small(file: Path) -> None:
    filled(file, 200)
    with closing(SqliteJournal(file, read_only=True)) as reader, EventStore(file) as events:
        assert counted(reader) == {SagaStatus.COMPLETED: 200}
        subscription = events.subscribe()
        assert subscription.poll() is None
        report = purge(file, purgeable(timedelta(0)), dry_run=False, synchronous="NORMAL")
        assert report.sagas == 200
        assert counted(reader) == {}
        assert subscription.poll() is None
        assert file.stat().st_size < report.bytes / 4
        assert Path(f"{file}-wal").stat().st_size <= 4 << 20
    with closing(open_database(file)) as database:
        assert database.row("PRAGMA integrity_check") == ("ok",)
        assert free_pages(database)[0] == 0


def test_a_tombstone_takes_no_more_than_a_hundred_bytes(file: Path) -> None:
    filled(file, 200)
    purge(file, purgeable(timedelta(0)), dry_run=False, synchronous="NORMAL")
    with closing(open_database(file)) as database:
        size, number = database.row(
            "SELECT sum(pgsize), (SELECT count(*) FROM purged) FROM dbstat WHERE name = 'purged'"
        )
        assert number == 200
        assert size / number <= 100


def test_an_older_file_is_purged_as_well(file: Path) -> None:
    before_purges = 5
    with closing(open_database(file, migrations=MIGRATIONS[:before_purges])) as database:
        assert not database.rows("SELECT 1 FROM sqlite_master WHERE name = 'purged'")
    filled(file, 3)
    assert purge(file, purgeable(timedelta(0)), dry_run=False).sagas == 3


def test_a_purge_stops_where_somebody_reads_for_so_long_that_the_log_would_grow(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antistrophe.storage.free_pages.LOG_BYTES", 1)
    monkeypatch.setattr("antistrophe.client.purging._LOG_PATIENCE_S", 0.1)
    filled(file, 2 * SAGAS_AT_ONCE)
    with closing(open_database(file, read_only=True)) as reader:
        with reader.one_moment():
            assert reader.row("SELECT count(*) FROM sagas") == (2 * SAGAS_AT_ONCE,)
            with pytest.raises(JournalBusyError, match="have that program end its transaction"):
                purge(file, purgeable(timedelta(0)), dry_run=False, synchronous="NORMAL")
            assert Path(f"{file}-wal").stat().st_size < 1 << 20
        assert purge(file, purgeable(timedelta(0)), dry_run=False).sagas > 0
        assert reader.row("SELECT count(*) FROM sagas") == (0,)


def test_a_purge_within_a_transaction_of_its_own_is_refused(file: Path) -> None:
    filled(file, 1)
    with EventStore(file) as events, events.transaction(), pytest.raises(RequestError, match="a purge needs the write"):
        purge(file, purgeable(timedelta(0)), dry_run=False)


DIES_WITHIN_A_TRANSACTION = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from antistrophe.client.purging import purge, purgeable
from antistrophe.journal.tombstones import Tombstones
count, calls = Tombstones.count, []
def count_or_die(self, *arguments):
    calls.append(arguments)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    count(self, *arguments)
Tombstones.count = count_or_die
purge(Path(sys.argv[1]), purgeable(timedelta(0)), dry_run=False, synchronous="NORMAL")
"""


def test_a_purge_that_is_killed_leaves_whole_sagas_and_the_next_goes_on(file: Path) -> None:
    filled(file, 3 * SAGAS_AT_ONCE)
    child = subprocess.run([sys.executable, "-c", DIES_WITHIN_A_TRANSACTION, str(file)], timeout=60, check=False)
    assert child.returncode == -signal.SIGKILL
    with closing(SqliteJournal(file)) as journal:
        assert counted(journal) == {SagaStatus.COMPLETED: SAGAS_AT_ONCE}
        assert {len(journal.load(saga.id)) for saga in journal.list(limit=1000).sagas} == {6}
        assert len(journal.records(0, 10_000)) == 6 * SAGAS_AT_ONCE
    assert purge(file, purgeable(timedelta(0)), dry_run=False).sagas == SAGAS_AT_ONCE


@pytest.mark.parametrize(
    "wrong",
    [
        {"older_than": 30},
        {"older_than": timedelta(days=-1)},
        {"older_than": None},
        {"older_than": timedelta(0), "status": SagaStatus.FAILED},
        {"older_than": timedelta(0), "status": "gone"},
        {"older_than": timedelta(0), "name": 7},
    ],
)
def test_what_can_not_be_purged_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        purgeable(**wrong)


def test_any_length_of_time_may_be_asked_for() -> None:
    assert purgeable(timedelta.max).finished_by_us < 0
    now_us = time.time_ns() // 1000
    assert abs(purgeable(timedelta(0), status="completed").finished_by_us - now_us) < 60e6
