"""Appends that arrive late, at a server that has taken over: whether one is written is up to the last entry that it was
decided on, and not to how many there are."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.errors import CommitUnknownError, JournalError
from antistrophe.journal import SeqConflictError
from antistrophe.journal.last_entry import NEW_SAGA
from antistrophe.journal.postgres import PostgresJournal
from antistrophe.journal.sqlite import SqliteJournal
from antistrophe.messages import Configuration
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import AttemptFailed, Entry, SagaCompleted
from antistrophe.saga.state import Saga, evolve
from antistrophe.settings import Settings
from antistrophe.storage.portable_sql import SCHEMA
from antistrophe.storage.postgres import open_postgres
from antistrophe.storage.postgres_database import PostgresDatabase
from antistrophe.storage.postgres_functions import APPEND_GROUP_TO_LAST, APPEND_TO_LAST, REFUSED
from antistrophe.storage.postgres_schema import POSTGRES_MIGRATIONS, SERVES
from tests.contract.copying_kit import copied, filled_home
from tests.contract.journal_sagas import (
    FORWARD,
    PARK,
    START,
    TURN_BACK,
    UNDONE,
    accepted,
    append,
    failed,
    run,
    started,
    succeeded,
)
from tests.contract.test_postgres_journal import Host
from tests.noticing import functions_without, noticed

OWN = "UPDATE sagas SET host = 'a1', token = 1"
CONDITIONS = ("AND sha256(entry) = its_last", "AND sha256(entry) = lasts[n]")
WITHOUT_EVENTS, LATER = replace(succeeded(0), events=()), replace(succeeded(0), at=succeeded(0).at + 1.0)


class Actor:
    """An actor of a host, and the saga as it holds it."""

    def __init__(self, url: str, home: Path, saga_id: str = "s") -> None:
        self.access = JournalAccess(Configuration(str(home), Settings(journal=url), 0.0, 1), 10.0)
        self.access.host_is("a1")
        self.saga: Saga | None = None
        self.basis = NEW_SAGA
        self.id = saga_id

    @property
    def server(self) -> PostgresDatabase:
        return self.access._database()

    def takes(self) -> None:
        self.saga, self.basis = self.access.take(self.id)

    def writes(self, *entries: Entry) -> None:
        after = functools.reduce(evolve, entries, self.saga)
        assert after is not None
        self.basis = self.access.commit(self.saga, after, entries, self.basis)
        self.saga = after

    def close(self) -> None:
        self.server.close()


@contextlib.contextmanager
def opened(url: str, home: Path, *saga_ids: str) -> Iterator[list[Actor]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(closing(Actor(url, home, saga_id))) for saga_id in saga_ids or ("s",)]


@pytest.fixture
def database(empty_postgres: str) -> Iterator[PostgresDatabase]:
    with closing(open_postgres(empty_postgres)) as database:
        yield database


def add(database: PostgresDatabase, *entries: Entry, saga_id: str = "s") -> None:
    """Another actor of the same host has written to the saga; with none, it has accepted it and begun."""
    journal = PostgresJournal(database)
    if entries:
        append(journal, saga_id, *entries)
    else:
        run(journal, saga_id, FORWARD[0])
    database.execute(OWN)


def lose_last(database: PostgresDatabase) -> None:
    """Another server takes over, which lacks the last entry."""
    database.execute("DELETE FROM journal WHERE saga_id = 's' AND seq = (SELECT seq FROM sagas WHERE id = 's')")
    database.execute("UPDATE sagas SET seq = seq - 1 WHERE id = 's'")


@contextlib.contextmanager
def held_up(actor: Actor) -> Iterator[list[tuple[str, Sequence[Any]]]]:
    """What the actor sends does not arrive: the list gets it."""
    held: list[tuple[str, Sequence[Any]]] = []

    def hold(sql: str, values: Sequence[Any]) -> list[Any]:
        held.append((sql, values))
        raise CommitUnknownError("the answer was lost")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(actor.server, "returning", hold)
        yield held


def arrives(database: PostgresDatabase, held: list[tuple[str, Sequence[Any]]]) -> str:
    """What the server does with an append that arrives now."""
    try:
        return str(database.returning(*held[0])[0][0])
    except JournalError as error:
        return str(getattr(error.__cause__, "sqlstate", error))


def send(actor: Actor, how: str) -> list[tuple[str, Sequence[Any]]]:
    """Have the actor decide on what it knows, and hold up what it sends."""
    with held_up(actor) as held, contextlib.suppress(CommitUnknownError):
        group = actor.access.group()
        if how == "in a group":
            group.open()
            first = Actor.__new__(Actor)
            first.access, first.saga, first.basis, first.id = actor.access, None, NEW_SAGA, "t"
            first.writes(accepted("t"))
        actor.writes(succeeded(0) if how == "with events" else WITHOUT_EVENTS)
        group.commit()
    return held


HOWS = ("alone", "with events", "in a group")


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("same", [True, False])
def test_a_late_append_is_written_where_the_entry_is_last_that_it_was_decided_on(
    empty_postgres: str, database: PostgresDatabase, tmp_path: Path, how: str, same: bool
) -> None:
    add(database)
    with opened(empty_postgres, tmp_path) as (actor,):
        actor.takes()
        held = send(actor, how)
    if not same:
        lose_last(database)
        add(database, replace(started(0), at=started(0).at + 1e-3))
    refused = REFUSED if how == "in a group" else "conflict"
    assert arrives(database, held) == ("written" if same else refused)
    assert len(PostgresJournal(database).load("s")) == (3 if same else 2)
    assert (PostgresJournal(database).status("t") is not None) == (same and how == "in a group")


@pytest.mark.parametrize("how", HOWS)
def test_an_append_that_asks_for_the_number_alone_is_noticed(
    empty_postgres: str, database: PostgresDatabase, tmp_path: Path, how: str
) -> None:
    with functions_without(database, *CONDITIONS), noticed():
        test_a_late_append_is_written_where_the_entry_is_last_that_it_was_decided_on(
            empty_postgres, database, tmp_path, how, same=False
        )


@pytest.mark.parametrize("how", HOWS)
def test_an_actor_that_does_not_say_what_it_goes_on_from_is_noticed(
    empty_postgres: str, database: PostgresDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("antistrophe.actors.saga.this_host.ThisHost.last_of", lambda *_: None)
    with noticed():
        test_a_late_append_is_written_where_the_entry_is_last_that_it_was_decided_on(
            empty_postgres, database, tmp_path, how, same=False
        )


def test_an_actor_that_has_read_what_is_gone_reads_again(
    empty_postgres: str, database: PostgresDatabase, tmp_path: Path
) -> None:
    add(database)
    with opened(empty_postgres, tmp_path) as (actor,):
        actor.takes()
        lose_last(database)
        add(database, replace(started(0), attempt=2))
        with pytest.raises(SeqConflictError, match="another entry stands than the one that was read: load it again"):
            actor.writes(succeeded(0))
        actor.takes()
        actor.writes(failed(0))
    assert [type(each) for each in PostgresJournal(database).load("s")][2:] == [AttemptFailed]


def test_an_actor_that_has_committed_what_is_gone_stops(
    empty_postgres: str, database: PostgresDatabase, tmp_path: Path
) -> None:
    with opened(empty_postgres, tmp_path) as (actor,):
        actor.writes(accepted("s"), started(0))
        lose_last(database)
        add(database, replace(started(0), attempt=2))
        for _ in range(2):
            with pytest.raises(JournalError, match="lacks what this host has committed there"):
                actor.writes(succeeded(0))


def test_appends_of_one_group_go_on_from_each_other(
    empty_postgres: str, database: PostgresDatabase, tmp_path: Path
) -> None:
    with opened(empty_postgres, tmp_path) as (actor,):
        actor.writes(accepted("s"))
        before = actor.saga, actor.basis
        for rolls_back in (True, False):
            group = actor.access.group()
            group.open()
            actor.writes(started(0))
            actor.writes(WITHOUT_EVENTS)
            actor.writes(started(1))
            if rolls_back:
                group.roll_back()
                actor.saga, actor.basis = before
            else:
                group.commit()
        actor.writes(succeeded(1))
        assert actor.access.take("s") == (actor.saga, actor.basis)
    assert len(PostgresJournal(database).load("s")) == 5


def test_what_was_tried_before_does_not_count_as_the_last_entry(
    empty_postgres: str, database: PostgresDatabase, tmp_path: Path
) -> None:
    """It never arrived, and its actor decides again."""
    with opened(empty_postgres, tmp_path) as (actor,):
        actor.writes(accepted("s"), started(0))
        with held_up(actor), pytest.raises(CommitUnknownError):
            actor.writes(succeeded(0))
        actor.writes(LATER)
        actor.writes(started(1))
        assert actor.access.load("s") == actor.saga


def test_the_server_makes_the_same_digest_of_each_entry(
    empty_postgres: str, database: PostgresDatabase, tmp_path: Path
) -> None:
    journal = PostgresJournal(database)
    large = replace(succeeded(0), output=b"\xc6\x00\x0f\x42\x40" + bytes(1_000_000))
    run(journal, "forward", *FORWARD)
    run(journal, "back", *TURN_BACK, UNDONE)
    run(journal, "parked", *TURN_BACK, PARK)
    run(journal, "new")
    run(journal, "large", FORWARD[0], (large,))
    with opened(empty_postgres, tmp_path) as (actor,):
        for saga_id in ("forward", "back", "parked", "new", "large"):
            (digest,) = database.row(
                "SELECT sha256(entry) FROM journal WHERE saga_id = ? ORDER BY seq DESC", (saga_id,)
            )
            assert actor.access._journal.load_to_append(saga_id)[1] == digest
        assert actor.access._journal.load_to_append("none") == ((), None)
    with closing(SqliteJournal(tmp_path / "journal.db")) as file:
        run(file, "new")
        assert file.load_to_append("new") == (file.load("new"), None)


def test_a_saga_that_was_copied_or_whose_rows_were_written_anew_goes_on(postgres_url: str, tmp_path: Path) -> None:
    copied(filled_home(tmp_path), postgres_url)
    with closing(open_postgres(postgres_url)) as database, opened(postgres_url, tmp_path, "running") as (actor,):
        database.execute(OWN)
        actor.takes()
        assert actor.basis.last is not None
        database.execute("UPDATE journal SET entry = entry || ''::bytea, position = position + 1000")
        database.run("VACUUM FULL antistrophe.journal")
        actor.writes(succeeded(0), started(1))
        assert actor.access.load("running") == actor.saga


def as_before(sql: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
    """The statement as the release before sends it, which knows no last entry."""
    sql, left = sql.replace("append_2", "append_1").replace("append_group_2", "append_group_1"), list(values)
    if "append_1" in sql:
        del left[-1]
        return f"{sql.removesuffix(', ?::bytea)')})", left
    del left[18]
    return sql.replace(" ?::bytea[],", "", 1), left


@pytest.mark.parametrize("events", [False, True])
def test_hosts_of_the_release_before_go_on_beside_newer_ones(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: bool
) -> None:
    first, second = (succeeded(0), succeeded(1)) if events else (WITHOUT_EVENTS, replace(succeeded(1), events=()))
    before = POSTGRES_MIGRATIONS[: POSTGRES_MIGRATIONS.index((APPEND_TO_LAST, APPEND_GROUP_TO_LAST))]
    with closing(open_postgres(postgres_url, migrations=before)) as server:
        older, asks = PostgresJournal(server, owner=Host("a1")), server.returning
        monkeypatch.setattr(server, "returning", lambda sql, values: asks(*as_before(sql, values)))
        append(older, "s", accepted("s"), started(0))
        with opened(postgres_url, tmp_path) as (newer,):  # the first newer one brings the schema to its version
            newer.takes()
            append(older, "s", first)
            with pytest.raises(SeqConflictError):
                newer.writes(failed(0))
            newer.takes()
            newer.writes(started(1))
            append(older, "s", second)
            newer.takes()
            newer.writes(SagaCompleted(START + 5.0))
    with closing(PostgresJournal(postgres_url)) as journal:
        assert journal.status("s") is SagaStatus.COMPLETED
        assert journal._server.row(f"SELECT version, serves FROM {SCHEMA}.schema_version") == (
            len(POSTGRES_MIGRATIONS),
            SERVES,
        )
