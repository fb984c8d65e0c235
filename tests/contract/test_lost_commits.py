"""A server that lacks what was committed there: noticed with the first connection to it, and not taken for another."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from antistrophe.actors.saga.earlier_state import EarlierState
from antistrophe.client.purging import purgeable
from antistrophe.errors import JournalError
from antistrophe.hosts.stored_restores import StoredRestores
from antistrophe.journal import SeqConflictError
from antistrophe.journal.postgres import PostgresJournal
from antistrophe.records import SagaStatus
from antistrophe.saga.state import replay
from antistrophe.saga.view import metadata_of
from antistrophe.storage.postgres import PostgresDatabase, open_postgres
from tests.contract.journal_sagas import FORWARD, TURN_BACK, accepted, append, run, started, succeeded
from tests.noticing import noticed

LACKS = "lacks what this host has committed there: .*stop this one, and start it with --after-restore"
LOSE = "DELETE FROM antistrophe.journal WHERE saga_id = 's' AND seq = (SELECT max(seq) FROM antistrophe.journal)"


class Actor:
    """The journal of one actor of a host, which notices."""

    def __init__(self, url: str, host: str) -> None:
        self.url = url
        self.server = open_postgres(url)
        self.journal = PostgresJournal(self.server)
        self.state = EarlierState(self.journal.last_append, lambda: open_postgres(url), host)
        self.server.look_first(self.state.look)

    def lose_connection(self) -> None:
        (pid,) = self.server.row("SELECT pg_backend_pid()")
        with closing(open_postgres(self.url)) as other:
            other.row("SELECT pg_terminate_backend(?, 5000)", (pid,))


@pytest.fixture
def two(empty_postgres: str) -> Iterator[tuple[Actor, Actor]]:
    actors = Actor(empty_postgres, "a"), Actor(empty_postgres, "a")
    yield actors
    for each in actors:
        each.server.close()


@pytest.fixture
def database(empty_postgres: str) -> Iterator[PostgresDatabase]:
    with closing(open_postgres(empty_postgres)) as database:
        yield database


def test_who_has_committed_what_is_not_there_does_nothing_until_that_is_acknowledged(
    two: tuple[Actor, Actor], database: PostgresDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    lost, other = two
    run(lost.journal, "s", FORWARD[0])
    run(other.journal, "t", FORWARD[0])
    database.execute(LOSE)
    assert lost.journal.load("s"), "nothing is looked for while the connection is there"
    for each in two:
        each.lose_connection()
    assert other.journal.load("t"), "what this one has committed is there"
    for _ in range(2):
        with pytest.raises(JournalError, match=LACKS):
            append(lost.journal, "u", accepted("u"))
        with pytest.raises(JournalError, match=LACKS):
            lost.journal.live()
    assert "lacks what this host has committed there" in caplog.text
    ((restore, by, done),) = database.rows("SELECT id, by, done FROM antistrophe.restores")
    assert (by, done) == ("host a", False)
    StoredRestores(database).done(restore)
    append(lost.journal, "u", accepted("u"))
    lost.lose_connection()
    assert lost.journal.status("u") is SagaStatus.EXECUTING
    append(lost.journal, "v", replace(accepted("v"), at=time.time() + 1.0))
    database.execute("DELETE FROM antistrophe.journal WHERE saga_id = 'v'")
    lost.lose_connection()
    with pytest.raises(JournalError, match=LACKS):
        lost.journal.live()
    assert len(database.rows("SELECT * FROM antistrophe.restores")) == 2, "an acknowledgement counts once"


def test_a_saga_with_fewer_entries_than_were_committed_says_it_while_the_connection_is_there(
    two: tuple[Actor, Actor], database: PostgresDatabase
) -> None:
    actor, other = two
    append(actor.journal, "s", accepted("s"), replace(started(0), at=time.time()))
    database.execute(LOSE)
    database.execute("UPDATE antistrophe.sagas SET seq = 1")
    entry, row = succeeded(0), metadata_of(replay((accepted("s"), started(0), succeeded(0))))
    with pytest.raises(SeqConflictError) as lost:
        actor.journal.append("s", expected_seq=2, entries=(entry,), row=row)
    for _ in range(2):
        with pytest.raises(JournalError, match=LACKS):
            actor.state.conflict(lost.value)
    actor.state.conflict(SeqConflictError("s", expected=2, actual=3))  # another host has gone on with it
    actor.state.conflict(SeqConflictError("s", expected=4, actual=2))  # it had only read the others
    other.state.conflict(lost.value)  # it had only read all of it
    ((restore,),) = database.rows("SELECT id FROM antistrophe.restores WHERE NOT done")
    StoredRestores(database).done(restore)
    append(actor.journal, "t", replace(accepted("t"), at=time.time() + 1.0))
    actor.state.conflict(lost.value)  # it is acknowledged: the saga is read again


def test_what_is_there_in_another_form_is_not_missing(two: tuple[Actor, Actor], database: PostgresDatabase) -> None:
    actor, _ = two
    group = actor.journal.gathering_group()
    group.open()
    for saga_id in ("t", "s"):
        append(actor.journal, saga_id, accepted(saga_id))
    group.commit()
    connection = actor.server.usable()
    assert not actor.journal.last_append.is_missing(connection), "of a group the last one counts"
    run(actor.journal, "done", *FORWARD)
    assert actor.journal.erase("done")
    assert not actor.journal.last_append.is_missing(connection), "its data are erased"
    purge = actor.journal.purge(purgeable(timedelta(0)))
    while purge.step():
        pass
    assert actor.journal.purged("done") is not None
    assert not actor.journal.last_append.is_missing(connection), "it was purged"
    run(actor.journal, "s2", *TURN_BACK)
    database.execute("UPDATE antistrophe.journal SET position = position + 100 WHERE saga_id = 's2'")
    assert actor.journal.last_append.is_missing(connection), "another host has written in its place"


def test_a_host_that_does_not_look_is_noticed(
    two: tuple[Actor, Actor],
    database: PostgresDatabase,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("antistrophe.journal.postgres_last_append.LastAppend.is_missing", lambda *_: False)
    with noticed():
        test_who_has_committed_what_is_not_there_does_nothing_until_that_is_acknowledged(two, database, caplog)
