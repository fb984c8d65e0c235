"""A home's file is copied into PostgreSQL: whole, compared, once, and counted in one place at a time."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from antistrophe.cli import main
from antistrophe.cli.exit_codes import DONE, INTERNAL, WRONG_USE
from antistrophe.client.copying import Copying
from antistrophe.definition.events import event
from antistrophe.errors import (
    AntistropheError,
    JournalBusyError,
    JournalError,
    RequestError,
    SagaExistsError,
    SystemStateError,
)
from antistrophe.eventstore.store import EventStore
from antistrophe.hosts.description import HostLoad, new_description
from antistrophe.hosts.earlier_life import leases_of_earlier_life
from antistrophe.hosts.retained import Retained
from antistrophe.hosts.stored_claims import StoredClaims
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.journal import JournalPlace, SqliteJournal, open_journal, refuse_elsewhere
from antistrophe.launcher.home_lock import HomeLock
from antistrophe.moving import beside, copying, owning, release
from antistrophe.records import SagaStatus
from antistrophe.settings import Settings
from antistrophe.storage.opening import open_database
from antistrophe.storage.postgres import open_postgres, psycopg
from tests.contract.copying_kit import copied, filled_home, of, of_file, told, without_positions
from tests.contract.journal_sagas import FORWARD, accepted, append, run


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return filled_home(tmp_path)


def test_an_empty_database_tells_afterwards_what_the_file_has_told(home: Path, postgres_store_url: str) -> None:
    before = of_file(home)
    report = copied(home, postgres_store_url)
    assert of(postgres_store_url) == before
    assert (report.sagas, report.live, report.purged, report.events) == (6, 3, 1, 1)
    assert (report.journal_grown, report.events_grown, report.before) == (0, 0, False)
    with closing(open_postgres(postgres_store_url)) as database:
        assert database.row("SELECT stream, version, type, data FROM events") == ("two", 1, "paid", b"\x80")
        left = database.rows("SELECT tablename FROM pg_tables WHERE tablename LIKE 'copy\\_%'")
    assert left == [], "the tables beside are gone"
    again = copied(home, postgres_store_url)
    assert again == replace(report, before=True)
    assert of(postgres_store_url) == before


def test_the_home_refuses_its_file_afterwards_and_is_opened_with_the_url(home: Path, postgres_store_url: str) -> None:
    copied(home, postgres_store_url)
    with pytest.raises(JournalError, match=r"journal of .* is in postgresql://.*: name it with"):
        refuse_elsewhere(JournalPlace.of_home(home))
    refuse_elsewhere(JournalPlace.of_home(home, postgres_store_url))
    for opened in (SqliteJournal, EventStore):
        with pytest.raises(JournalError, match=r"what was in .*journal.db is in postgresql://.*: open it by that URL"):
            opened(home / "journal.db")
    assert (home / "journal.moved.db").exists()
    with pytest.raises(RequestError, match=r"can't be called off"):
        Copying(home, postgres_store_url).call_off()
    with pytest.raises(RequestError, match=r"and not postgresql://elsewhere/shop: name that one"):
        copied(home, "postgresql://elsewhere/shop")


def test_beside_sagas_of_others_positions_grow_and_nobody_is_missed(home: Path, postgres_store_url: str) -> None:
    with closing(open_journal(postgres_store_url)) as journal:
        run(journal, "theirs", *FORWARD)
        head = journal.head()
        reader, seen = open_journal(postgres_store_url), []
        seen += reader.records()
    with EventStore(postgres_store_url) as store:
        store.append("theirs", [])
    ours = of_file(home)
    report = copied(home, postgres_store_url)
    assert report.journal_grown == head
    with closing(reader):
        seen += reader.records(seen[-1].position)
        assert len({record.position for record in seen}) == len(seen)
        assert {record.saga_id for record in seen} == {"theirs", *(saga.id for saga in ours["sagas"])}
        run(reader, "later", *FORWARD)
        assert reader.records(seen[-1].position), "positions go on behind what was copied"


def test_what_is_there_with_another_content_is_refused_by_name_before_anything_changes(
    home: Path, postgres_store_url: str
) -> None:
    with closing(open_journal(postgres_store_url)) as journal:
        run(journal, "one", FORWARD[0])
        run(journal, "purged", FORWARD[0])
    before, there = of_file(home), of(postgres_store_url)
    for attempt in (Copying(home, postgres_store_url).look, lambda: copied(home, postgres_store_url)):
        with pytest.raises(JournalError, match=r"something else by the same name.*'one'.*purged here, 'purged'"):
            attempt()
    assert (of_file(home), of(postgres_store_url)) == (before, there)


def test_what_is_there_with_the_same_content_is_left_out(home: Path, postgres_store_url: str) -> None:
    with closing(open_journal(postgres_store_url)) as journal:
        run(journal, "one", *FORWARD)
    before = of_file(home)
    with (
        closing(open_postgres(postgres_store_url)) as database,
        closing(SqliteJournal(home / "journal.db", read_only=True)) as file,
    ):
        for record in file.saga_records("one"):  # the same moments, too
            at = round((record.wall_at or record.entry.at) * 1e6)
            database.execute("UPDATE antistrophe.journal SET at = ? WHERE seq = ?", (at, record.seq))
    report = copied(home, postgres_store_url)
    assert (report.already_there, report.sagas) == (1, 5)
    assert {saga.id for saga in of(postgres_store_url)["sagas"]} == {saga.id for saga in before["sagas"]}


@pytest.mark.parametrize("where", ["first", "second"])
def test_a_copy_that_fails_has_changed_nothing_there_and_goes_on(
    home: Path, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    before, empty = of_file(home), of(postgres_store_url)
    monkeypatch.setattr(beside, "PIECE_ROWS", 3)
    monkeypatch.setattr(release, "compare" if where == "second" else "let_own", _fails)
    with pytest.raises(ZeroDivisionError):
        copied(home, postgres_store_url)
    assert of(postgres_store_url) == empty
    for place in (JournalPlace.of_home(home), JournalPlace.of_home(home, postgres_store_url)):
        with pytest.raises(JournalError, match=r"run `antistrophe copy` again .* or call it off with --undo"):
            refuse_elsewhere(place)
    monkeypatch.undo()
    copied(home, postgres_store_url)
    assert without_positions(of(postgres_store_url)) == without_positions(before)


def _fails(*_: object) -> None:
    raise ZeroDivisionError


def test_a_copy_that_is_killed_anywhere_goes_on(
    home: Path, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, empty = of_file(home), of(postgres_store_url)
    for pieces in (1, 9, 3):
        assert _ends_by_a_kill(home, postgres_store_url, pieces)
        assert of(postgres_store_url) == empty
    for module, name in [(copying, "note"), (copying, "note_lease"), (release, "let_own"), (release, "compare")]:
        with monkeypatch.context() as patched:
            patched.setattr(module, name, _killed)
            assert _ends_by_a_kill(home, postgres_store_url)
        assert of(postgres_store_url) == empty
    with monkeypatch.context() as patched:
        patched.setattr(copying, "write_move", _killed)
        assert _ends_by_a_kill(home, postgres_store_url)
    after = of(postgres_store_url)
    assert without_positions(after) == without_positions(before)
    with pytest.raises(JournalError, match=r"run `antistrophe copy` again"):
        refuse_elsewhere(JournalPlace.of_home(home, postgres_store_url))
    assert copied(home, postgres_store_url).before
    refuse_elsewhere(JournalPlace.of_home(home, postgres_store_url))
    assert of(postgres_store_url) == after


def _ends_by_a_kill(home: Path, url: str, pieces: int | None = None) -> bool:
    """Copy in a fork of this process, which is killed after so many pieces, or where a patch says so."""
    pid = os.fork()
    if not pid:
        beside.PIECE_ROWS = 2
        told = itertools.count(1)
        with contextlib.suppress(BaseException):
            Copying(home, url).make(
                Settings(host_name="desk"), lambda _: None, lambda *_: _killed() if next(told) == pieces else None
            )
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def _killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_verb_copies_says_so_and_calls_off(
    home: Path, postgres_store_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = of_file(home)
    words = ["--home", str(home), "copy", "--to", postgres_store_url]
    assert main([*words, "--dry-run", "--json"]) == DONE
    looked = json.loads(capsys.readouterr().out)
    assert (looked["sagas"], looked["live"], looked["dry_run"], looked["journal_grown"]) == (6, 3, True, None)
    assert of_file(home) == before
    assert main([*words, "--dry-run", "--undo"]) == WRONG_USE
    assert main(["--home", str(home), "copy"]) == WRONG_USE
    assert main(["--home", str(home), "copy", "--to", "postgresql://ann:secret@db/shop"]) == WRONG_USE
    assert "secret" not in capsys.readouterr().err
    with monkeypatch.context() as patched:
        patched.setattr(release, "compare", _fails)
        assert main(words) == INTERNAL
    assert main([*words, "--dry-run"]) == DONE
    assert "would be copied" in capsys.readouterr().out
    assert main([*words, "--undo"]) == DONE
    assert of_file(home) == before
    assert main(words) == DONE
    said = capsys.readouterr().out
    assert "6 sagas (3 of them go on)" in said
    assert "are copied to postgresql://" in said
    assert "positions of the journal are larger by" in said
    assert main(words) == DONE
    assert "were copied before" in capsys.readouterr().out


def test_a_copy_that_is_called_off_leaves_the_home_as_it_was(
    home: Path, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, empty = of_file(home), of(postgres_store_url)
    with pytest.raises(RequestError, match=r"nothing to call off"):
        Copying(home, postgres_store_url).call_off()
    monkeypatch.setattr(release, "compare", _fails)
    with pytest.raises(ZeroDivisionError):
        copied(home, postgres_store_url)
    Copying(home, postgres_store_url).call_off()
    assert (of_file(home), of(postgres_store_url)) == (before, empty)
    assert {path.name for path in home.iterdir()} - {"host", "lock"} == {"journal.db", "journal.db-note", "identity"}
    refuse_elsewhere(JournalPlace.of_home(home))
    with closing(open_postgres(postgres_store_url)) as database:
        assert database.rows("SELECT * FROM antistrophe.copies") == []


def test_what_differs_in_the_database_is_noticed_before_it_counts(
    home: Path, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = owning.let_own

    def spoil(database: object, *rest: object) -> None:
        own(database, *rest)  # type: ignore[arg-type]
        database.execute("UPDATE antistrophe.journal SET entry = entry || '\\x00' WHERE saga_id = 'two' AND seq = 1")  # type: ignore[attr-defined]

    monkeypatch.setattr(release, "let_own", spoil)
    with pytest.raises(JournalError, match=r"rows of journal are there for the positions .* or one of them differs"):
        copied(home, postgres_store_url)
    with closing(open_journal(postgres_store_url)) as journal:
        assert journal.list().sagas == ()


def test_a_home_that_is_used_and_a_file_that_is_open_are_refused(home: Path, postgres_store_url: str) -> None:
    lock = HomeLock.take(home)
    assert lock is not None
    with pytest.raises(SystemStateError, match=r"the actor system of .* runs"):
        copied(home, postgres_store_url)
    lock.release()
    with closing(SqliteJournal(home / "journal.db")) as journal:
        before = told(journal)
        with pytest.raises(JournalError, match=r"is open in another process"):
            copied(home, postgres_store_url)
        assert told(journal) == before
    copied(home, postgres_store_url)
    assert of(postgres_store_url) == before


def test_a_copied_home_keeps_others_from_purging_no_more_than_its_settings_say(
    home: Path, postgres_store_url: str
) -> None:
    copied(home, postgres_store_url, retain_finished_s=3_600.0, retain_finished=7)
    with closing(open_postgres(postgres_store_url)) as database:
        assert StoredHosts(database).retained() == [Retained(3_600.0, 7)]


def test_sagas_that_go_on_wait_for_their_home_and_those_that_have_not_begun_for_nobody(
    home: Path, postgres_store_url: str
) -> None:
    copied(home, postgres_store_url)
    (owner,) = leases_of_earlier_life(home)
    with closing(open_postgres(postgres_store_url)) as database:
        other = new_description("other", (), "1", 10.0)
        StoredHosts(database).register(other, HostLoad())
        claims, look = StoredClaims(database, other.id, ()), StoredHosts(database).look
        assert claims.claim(look().owners, 100) == []
        stolen = claims.steal(look().owners, 100, 0.0)
        assert {each.saga_id for each in stolen} == {"two", "waiting"}
        assert StoredHosts(database).hand_over(owner), "so does the next life of the home"
        assert [each.saga_id for each in claims.claim(look().owners, 100)] == ["running"]
    with closing(open_journal(postgres_store_url)) as journal:
        assert journal.status("parked") is SagaStatus.FAILED


def test_a_purged_id_stays_known_and_is_counted(home: Path, postgres_store_url: str) -> None:
    copied(home, postgres_store_url)
    with closing(open_journal(postgres_store_url)) as journal:
        with pytest.raises(SagaExistsError, match=r"has been purged"):
            append(journal, "purged", accepted("purged"))
        database = open_postgres(postgres_store_url)
    with closing(database):
        assert database.rows("SELECT what, number FROM purges") == [("completed", 1)]


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Another call copies an event store in that folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


@event("copying.paid")
@dataclass(frozen=True)
class Paid:
    amount: int


def test_an_event_store_in_a_file_of_its_own_is_copied_alone(
    home: Path, tmp_path: Path, postgres_store_url: str
) -> None:
    file = tmp_path / "events.db"
    with EventStore(file) as store:
        store.append("account", [Paid(amount=1), Paid(amount=2)])
        before = list(store.read_stream("account"))
    with pytest.raises(RequestError, match=r"name its home with --home"):
        copied(home, postgres_store_url, home / "journal.db")
    with _held(tmp_path), pytest.raises(JournalBusyError, match=r"another call copies an event store in"):
        copied(home, postgres_store_url, file)
    report = copied(home, postgres_store_url, file)
    assert (report.events, report.sagas) == (2, 0)
    with EventStore(postgres_store_url) as store:
        assert list(store.read_stream("account")) == before
        store.append("account", [Paid(amount=3)], expected_version=2)
    with pytest.raises(JournalError, match=r"open it by that URL"):
        EventStore(file)
    assert (home / "journal.db").exists(), "the home stays as it was"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("UPDATE sagas SET id = 'a' || char(0) WHERE id = 'one'", "name of this saga, which has a zero character"),
        ("UPDATE sagas SET request_id = 'a' || char(0) WHERE id = 'one'", "request_id has a zero character"),
        ("UPDATE journal SET entry = 'text' WHERE saga_id = 'one'", "can't be copied: its entry has a str there"),
        ("UPDATE sagas SET status = NULL WHERE id = 'one'", ""),
    ],
)
def test_what_postgresql_cant_store_is_named(home: Path, postgres_store_url: str, spoil: str, said: str) -> None:
    with closing(open_database(home / "journal.db")) as database:
        if not said:
            database.execute("UPDATE sagas SET error = 'a' || char(0) WHERE id = 'one'")
        else:
            database.execute(spoil)
    if not said:
        copied(home, postgres_store_url)
        with closing(open_journal(postgres_store_url)) as journal:
            assert journal.list(text="a\N{SYMBOL FOR NULL}").sagas[0].id == "one"
        return
    with pytest.raises(JournalError, match=said):
        copied(home, postgres_store_url)


def test_a_file_that_was_kept_before_is_told_before_anything_is_noted(home: Path, postgres_store_url: str) -> None:
    (home / "journal.moved.db").write_bytes(b"of an earlier copy")
    with pytest.raises(JournalError, match=r"there are both .*journal.db and .*journal.moved.db"):
        copied(home, postgres_store_url)
    refuse_elsewhere(JournalPlace.of_home(home))


def test_a_database_that_lost_the_copy_is_told_from_one_that_has_it(home: Path, postgres_store_url: str) -> None:
    copied(home, postgres_store_url)
    with psycopg.connect(postgres_store_url, autocommit=True) as connection:
        connection.execute("DELETE FROM antistrophe.copies")
    for attempt in (Copying(home, postgres_store_url).look, lambda: copied(home, postgres_store_url)):
        with pytest.raises(AntistropheError, match=r"another database of that name, or an older state of it"):
            attempt()
