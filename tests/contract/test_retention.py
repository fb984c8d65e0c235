"""What the settings retain: walks that purge the rest in small steps, and what disturbs them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from antistrophe.actors.retention import COUNT_PAUSE_S, LONGEST_PAUSE_S, SHORTEST_PAUSE_S, Retention
from antistrophe.client.purging import purge, purgeable
from antistrophe.errors import JournalBusyError
from antistrophe.hosts.retained import ALL, Retained
from antistrophe.journal import JournalPlace, Purge, SqliteJournal, StoredJournal
from antistrophe.journal.retention import SAGAS_AT_ONCE
from antistrophe.records import SagaStatus
from antistrophe.settings import Settings
from antistrophe.storage.opening import open_database, open_in_memory
from tests.contract.journal_sagas import FORWARD, PARK, TURN_BACK, counted, ids, run

FOR_EVER_S = 1e10


@pytest.fixture(params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest) -> Iterator[StoredJournal]:
    """A journal with 30 completed sagas, which finished in 2023, one that runs, and a parked one."""
    journal: StoredJournal = SqliteJournal(open_in_memory())
    if request.param == "postgresql":
        from antistrophe.journal.postgres import PostgresJournal

        journal = PostgresJournal(str(request.getfixturevalue("empty_postgres")))
    group = journal.group()
    group.open()
    for number in range(30):
        run(journal, f"s{number}", *FORWARD)
    run(journal, "runs", FORWARD[0])
    run(journal, "parked", *TURN_BACK, PARK)
    group.commit()
    yield journal
    journal.close()


def whole_look(retention: Retention) -> float:
    """Steps until there is a pause; its length."""
    for _ in range(100):
        pause_s = retention.step()
        if pause_s in (SHORTEST_PAUSE_S, COUNT_PAUSE_S, LONGEST_PAUSE_S):
            return pause_s
    raise AssertionError("the steps never end")


def test_nothing_is_purged_unless_the_settings_say_so(filled: StoredJournal) -> None:
    assert not Retention(filled, Settings()).wanted
    assert Retention(filled, Settings(retain_finished=0)).wanted
    assert Retention(filled, Settings(retain_finished_s=0)).wanted


def test_what_is_too_old_goes(filled: StoredJournal) -> None:
    retention = Retention(filled, Settings(retain_finished_s=86_400))
    assert whole_look(retention) == LONGEST_PAUSE_S
    assert counted(filled) == {SagaStatus.EXECUTING: 1, SagaStatus.FAILED: 1}
    run(filled, "later", *FORWARD)
    whole_look(retention)
    assert SagaStatus.COMPLETED not in counted(filled)
    run(filled, "young", *FORWARD)
    whole_look(Retention(filled, Settings(retain_finished_s=FOR_EVER_S)))
    assert counted(filled)[SagaStatus.COMPLETED] == 1


def test_those_that_finished_last_are_kept(filled: StoredJournal) -> None:
    retention = Retention(filled, Settings(retain_finished=3))
    assert whole_look(retention) == COUNT_PAUSE_S
    assert ids(filled.list(status=SagaStatus.COMPLETED).sagas) == ["s29", "s28", "s27"]
    run(filled, "more", *FORWARD)
    whole_look(retention)
    assert ids(filled.list(status=SagaStatus.COMPLETED).sagas) == ["more", "s29", "s28"]


def test_nothing_is_purged_that_another_host_keeps(filled: StoredJournal) -> None:
    others: list[Retained] = [Retained(FOR_EVER_S, 25), ALL]
    retention = Retention(filled, Settings(retain_finished=3), lambda: others)
    assert retention.wanted
    assert whole_look(retention) == LONGEST_PAUSE_S
    assert counted(filled)[SagaStatus.COMPLETED] == 30, "one host keeps all"
    others.remove(ALL)
    assert whole_look(retention) == COUNT_PAUSE_S
    assert counted(filled)[SagaStatus.COMPLETED] == 25
    others.clear()
    assert whole_look(retention) == COUNT_PAUSE_S
    assert counted(filled)[SagaStatus.COMPLETED] == 3


def test_a_host_that_joins_amid_a_walk_ends_it(filled: StoredJournal) -> None:
    others: list[Retained] = []
    retention = Retention(filled, Settings(retain_finished_s=0.0), lambda: others)
    while counted(filled).get(SagaStatus.COMPLETED, 0) == 30:
        retention.step()
    assert counted(filled)[SagaStatus.COMPLETED] == 30 - SAGAS_AT_ONCE, "one transaction of two"
    others.append(ALL)
    whole_look(retention)
    assert counted(filled)[SagaStatus.COMPLETED] == 30 - SAGAS_AT_ONCE


def test_nothing_is_purged_while_nobody_can_say_what_is_kept(
    filled: StoredJournal, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> list[Retained]:
        raise JournalBusyError("the database is away")

    assert whole_look(Retention(filled, Settings(retain_finished_s=0.0), away)) == SHORTEST_PAUSE_S
    assert counted(filled)[SagaStatus.COMPLETED] == 30
    assert "the database is away" in caplog.text


def test_both_limits_hold(filled: StoredJournal) -> None:
    whole_look(Retention(filled, Settings(retain_finished=5, retain_finished_s=FOR_EVER_S)))
    assert counted(filled)[SagaStatus.COMPLETED] == 5
    whole_look(Retention(filled, Settings(retain_finished=4, retain_finished_s=0)))
    assert SagaStatus.COMPLETED not in counted(filled)


def test_a_machine_whose_clock_is_wrong_purges_a_shared_journal_by_the_one_of_its_server(
    empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from antistrophe.journal.postgres import PostgresJournal  # needs psycopg

    present, place = time.time(), JournalPlace.at(empty_postgres)
    with closing(PostgresJournal(empty_postgres)) as journal:
        run(journal, "young", *FORWARD)
        journal._server.execute("UPDATE journal SET at = ?", (round(present * 1e6),))
        monkeypatch.setattr(time, "time", lambda: present + 7_200.0)
        monkeypatch.setattr(time, "time_ns", lambda: round((present + 7_200.0) * 1e9))
        whole_look(Retention(journal, Settings(retain_finished_s=3_600)))
        assert purge(place, purgeable(timedelta(hours=1)), dry_run=False).sagas == 0
        assert counted(journal) == {SagaStatus.COMPLETED: 1}
        whole_look(Retention(journal, Settings(retain_finished_s=0)))
        assert counted(journal) == {}


@pytest.mark.parametrize("error", [JournalBusyError("held"), TypeError("a damaged row")])
def test_a_refusal_is_told_once_and_the_next_look_goes_on(
    filled: StoredJournal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    retention = Retention(filled, Settings(retain_finished_s=5))

    def refuse(_: Purge) -> bool:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Purge, "step", refuse)
        for _ in range(3):
            assert whole_look(retention) == SHORTEST_PAUSE_S
    assert len([each for each in caplog.records if "tried again" in each.message]) == 1
    whole_look(retention)
    assert SagaStatus.COMPLETED not in counted(filled)


def test_while_somebody_reads_for_long_nothing_is_purged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antistrophe.storage.free_pages.LOG_BYTES", 0)
    file = tmp_path / "journal.db"
    with closing(SqliteJournal(file, patience_s=0.1)) as journal:
        with closing(open_database(file, read_only=True)) as reader:
            run(journal, "a", *FORWARD)
            with reader.one_moment():
                assert reader.row("SELECT count(*) FROM sagas") == (1,)
                run(journal, "b", *FORWARD)
                retention = Retention(journal, Settings(retain_finished=0))
                assert whole_look(retention) == COUNT_PAUSE_S
                assert counted(journal) == {SagaStatus.COMPLETED: 2}
        whole_look(retention)
        assert counted(journal) == {}
