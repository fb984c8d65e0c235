"""A database that was put back to an earlier state: noticed by each home that has seen a later one; acknowledged."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from antistrophe.client.restoring import acknowledge_restore
from antistrophe.errors import JournalError, RequestError
from antistrophe.hosts.home_mark import FILE_NAME, HomeMark, read_home_mark, write_home_mark
from antistrophe.hosts.keeper_messages import AllDead, Confirmed, Refused, Registered, Trouble
from antistrophe.hosts.stored_restores import StoredRestores
from antistrophe.journal import JournalPlace, open_journal
from antistrophe.launcher.first_look import check_journal
from antistrophe.linux.home_identity import renew_identity
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import RestoreAcknowledged
from antistrophe.settings import Settings
from antistrophe.storage.postgres import PostgresDatabase, open_postgres
from tests.contract.hosts_kit import Clock, Host, closing_all, go_on, terms
from tests.contract.journal_sagas import FORWARD, PARK, TURN_BACK, run


@pytest.fixture
def database(empty_postgres: str) -> Iterator[PostgresDatabase]:
    with closing(open_postgres(empty_postgres)) as database:
        yield database


def put_back(database: PostgresDatabase, by: int) -> None:
    """The database is of an earlier state: so many renewals of each home are not in it."""
    database.execute("UPDATE antistrophe.homes SET mark = mark - ?", (by,))


def renewed(url: str, clock: Clock, seen: HomeMark) -> Host:
    host = Host(url, clock, terms("a", seen=seen))
    host.turn()
    host.has_room(10)
    go_on(clock, [host], 7.0)
    return host


def test_the_mark_grows_with_each_renewal_and_is_remembered(empty_postgres: str, database: PostgresDatabase) -> None:
    with closing(renewed(empty_postgres, Clock(), HomeMark("home"))) as host:
        seen = host.keeper.seen
        assert seen.mark == len(host.told(Confirmed)) > 2
        assert database.row("SELECT mark FROM antistrophe.homes WHERE id = 'home'") == (seen.mark,)
        assert StoredRestores(database).known(seen) == seen


@pytest.mark.parametrize("renewals", [1, 3])
def test_a_host_that_renews_in_an_earlier_state_is_refused_and_stays_so(
    empty_postgres: str, database: PostgresDatabase, renewals: int
) -> None:
    clock = Clock()
    with closing(renewed(empty_postgres, clock, HomeMark("home"))) as host:
        put_back(database, renewals)
        go_on(clock, [host], 3.0)
        assert host.told(Refused), "its attempts end at once"
        host.say(AllDead())
        go_on(clock, [host], 3.0)
        assert len(host.told(Registered)) == 1, "it does not join anew"
        assert any("is behind what this home has seen" in str(each.why) for each in host.told(Trouble))
        restore = StoredRestores(database).begin("eva")
        go_on(clock, [host], 1.0)
        assert len(host.told(Registered)) == 1, "the acknowledgement has not come to its end"
        StoredRestores(database).done(restore)
        go_on(clock, [host], 3.0)
        assert len(host.told(Registered)) == 2
        assert host.keeper.seen.restores == (restore,)
        put_back(database, 3)
        go_on(clock, [host], 3.0)
        host.say(AllDead())
        go_on(clock, [host], 3.0)
        assert len(host.told(Registered)) == 2, "an acknowledgement counts once"


def test_where_one_host_finds_it_no_host_works_until_it_is_acknowledged(
    tmp_path: Path, empty_postgres: str, database: PostgresDatabase
) -> None:
    clock = Clock()
    finds, another = (Host(empty_postgres, clock, terms(name, seen=HomeMark(name))) for name in ("a", "b"))
    with closing_all([finds, another]):
        for host in (finds, another):
            host.turn()
            host.has_room(10)
        go_on(clock, [finds, another], 7.0)
        database.execute("UPDATE antistrophe.homes SET mark = mark - 3 WHERE id = 'a'")
        go_on(clock, [finds, another], 3.0)
        assert (len(finds.told(Refused)), len(another.told(Refused))) == (1, 1)
        with pytest.raises(JournalError, match=r"as host a knows: .*stop one, and start it with --after-restore"):
            check_journal(JournalPlace.of_home(tmp_path, empty_postgres), Settings())
        for host in (finds, another):
            host.say(AllDead())
        go_on(clock, [finds, another], 3.0)
        assert (len(finds.told(Registered)), len(another.told(Registered))) == (1, 1)
        assert any("as host a knows" in str(each.why) for each in another.told(Trouble))
        assert acknowledge_restore(tmp_path, empty_postgres) == 0
        go_on(clock, [finds, another], 3.0)
        assert (len(finds.told(Registered)), len(another.told(Registered))) == (2, 2)
        assert len(database.rows("SELECT * FROM antistrophe.restores")) == 1


def test_a_start_is_refused_until_the_restore_is_acknowledged(
    tmp_path: Path, empty_postgres: str, database: PostgresDatabase
) -> None:
    renew_identity(tmp_path)
    place = JournalPlace.of_home(tmp_path, empty_postgres)
    check_journal(place, Settings())
    seen = HomeMark(read_home_mark(tmp_path).home, 7)
    write_home_mark(tmp_path, seen)
    with pytest.raises(JournalError, match=r"behind what this home has seen of it \(mark 0 after 7\).*--after-restore"):
        check_journal(place, Settings())
    assert acknowledge_restore(tmp_path, empty_postgres) == 0
    check_journal(place, Settings())
    write_home_mark(tmp_path, StoredRestores(database).known(seen))
    check_journal(place, Settings())
    write_home_mark(tmp_path, HomeMark(seen.home, 9, read_home_mark(tmp_path).restores))
    with pytest.raises(JournalError, match="mark 0 after 9"):
        check_journal(place, Settings())
    with pytest.raises(RequestError, match="in a file of its home"):
        acknowledge_restore(tmp_path, None)
    (tmp_path / "journal.db").touch()
    with pytest.raises(JournalError, match="has a journal of its own"):
        acknowledge_restore(tmp_path, empty_postgres)


def test_every_saga_that_goes_on_is_told_once(
    tmp_path: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(open_journal(empty_postgres)) as journal:
        run(journal, "done", *FORWARD)
        run(journal, "parked", *TURN_BACK, PARK)
        run(journal, "one", FORWARD[0])
        run(journal, "two", *TURN_BACK)
        with monkeypatch.context() as patched, contextlib.suppress(ZeroDivisionError):
            patched.setattr(StoredRestores, "done", lambda *_: 1 / 0)  # it is killed before its end
            acknowledge_restore(tmp_path, empty_postgres)
        assert acknowledge_restore(tmp_path, empty_postgres) == 2
        told = {
            saga_id: [entry for entry in journal.load(saga_id) if isinstance(entry, RestoreAcknowledged)]
            for saga_id in ("done", "parked", "one", "two")
        }
        assert {saga_id: len(entries) for saga_id, entries in told.items()} == {
            "done": 0,
            "parked": 0,
            "one": 1,
            "two": 1,
        }
        assert journal.status("two") is SagaStatus.COMPENSATING
        assert journal.timeline("one")[-1].kind == "RestoreAcknowledged"


@pytest.mark.parametrize("damage", ["seq = 2", "seq = 1", "seq = 2 of a long saga", "entry 2 is missing"])
def test_a_saga_that_can_not_be_read_is_named_and_told_and_keeps_no_other_waiting(
    tmp_path: Path,
    empty_postgres: str,
    database: PostgresDatabase,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    with closing(open_journal(empty_postgres)) as journal:
        if "long" in damage:  # the journal keeps its view
            monkeypatch.setattr("antistrophe.saga.listed.FOLDED_ENTRIES", 1)
        run(journal, "broken", *TURN_BACK)
        run(journal, "whole", FORWARD[0])
        shown = journal.metadata("broken")
        where = f"saga_id = 'broken' AND {damage.partition(' of')[0]}".replace("entry 2 is missing", "seq = 2")
        (kept,) = database.rows(f"SELECT * FROM antistrophe.journal WHERE {where}")
        if "missing" in damage:
            database.execute(f"DELETE FROM antistrophe.journal WHERE {where}")
        else:
            database.execute(f"UPDATE antistrophe.journal SET entry = 'garbage' WHERE {where}")
        with monkeypatch.context() as patched, contextlib.suppress(ZeroDivisionError):
            patched.setattr(StoredRestores, "done", lambda *_: 1 / 0)  # it is killed before its end
            acknowledge_restore(tmp_path, empty_postgres)
        assert acknowledge_restore(tmp_path, empty_postgres) == 2
        assert "saga 'broken'" in caplog.text
        assert "Nothing of this saga is done until it can be read" in caplog.text
        assert journal.timeline("whole")[-1].kind == "RestoreAcknowledged"
        if "long" in damage:
            assert journal.metadata("broken") == shown
        database.execute(f"DELETE FROM antistrophe.journal WHERE {where}")
        marks = ", ".join("?" * len(kept))
        database.execute(f"INSERT INTO antistrophe.journal OVERRIDING SYSTEM VALUE VALUES ({marks})", tuple(kept))
        told = [entry for entry in journal.load("broken") if isinstance(entry, RestoreAcknowledged)]
        assert len(told) == 1, "once, and whoever can read it finds it"
        assert journal.status("broken") is SagaStatus.COMPENSATING
        assert {saga.id for saga in journal.list().sagas} == {"broken", "whole"}


def test_homes_that_acknowledge_at_the_same_time_acknowledge_one_restore(
    tmp_path: Path, empty_postgres: str, database: PostgresDatabase
) -> None:
    homes, together = 6, threading.Barrier(6)

    def begin(number: int) -> str:
        with closing(open_postgres(empty_postgres)) as mine:
            restores = StoredRestores(mine)
            together.wait(30.0)
            return restores.begin(str(number))

    with ThreadPoolExecutor(homes) as at_once:
        assert len(set(at_once.map(begin, range(homes)))) == 1


def test_who_finds_the_restore_acknowledged_by_another_home_tells_no_saga_that_has_come_since(
    tmp_path: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = StoredRestores.begin
    with closing(open_journal(empty_postgres)) as journal:

        def overtaken(self: StoredRestores, by: str) -> str:
            restore = begin(self, by)
            monkeypatch.setattr(StoredRestores, "begin", begin)
            assert acknowledge_restore(tmp_path / "other", empty_postgres) == 0
            run(journal, "new", FORWARD[0])
            return restore

        monkeypatch.setattr(StoredRestores, "begin", overtaken)
        acknowledge_restore(tmp_path, empty_postgres)
        assert "RestoreAcknowledged" not in [each.kind for each in journal.timeline("new")]


def test_a_note_that_is_damaged_or_of_another_home_is_none(tmp_path: Path) -> None:
    assert read_home_mark(tmp_path) == HomeMark("")
    renew_identity(tmp_path)
    mine = read_home_mark(tmp_path)
    write_home_mark(tmp_path, HomeMark(mine.home, 7, ("r",)))
    assert read_home_mark(tmp_path) == HomeMark(mine.home, 7, ("r",))
    endless = b'{"home": "%s", "mark": 1e999, "restores": []}' % mine.home.encode()
    for content in (b"", b"[", b'{"home": "other", "mark": 9, "restores": []}', b'"text"', b'{"home": 1}', endless):
        (tmp_path / FILE_NAME).write_bytes(content)
        assert read_home_mark(tmp_path) == mine
