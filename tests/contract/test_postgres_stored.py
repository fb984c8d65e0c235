"""What PostgreSQL stores of a journal: texts it can't hold, rows it can't write, and what is left of what is erased."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from antistrophe.errors import JournalError, RequestError, SagaNotFoundError
from antistrophe.eventstore.postgres import PostgresEvents
from antistrophe.eventstore.store import EventStore
from antistrophe.journal.postgres import PostgresJournal
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import Failure, FailureKind, TurnCause, TurnedBack, TurnReason
from antistrophe.storage.postgres import open_postgres
from tests.contract.journal_sagas import FORWARD, START, TURN_BACK, append, ids, run
from tests.contract.test_journal import event


@pytest.fixture
def journal(empty_postgres: str) -> Iterator[PostgresJournal]:
    with contextlib.closing(PostgresJournal(empty_postgres)) as journal:
        yield journal


def test_texts_with_a_zero_character_are_kept_in_entries_and_found_by_their_picture(journal: PostgresJournal) -> None:
    no = Failure(FailureKind.RAISED, "no\0money", "ValueError")
    turned = TurnedBack(START + 3, TurnCause(TurnReason.STEP_FAILED, 1, no))
    run(journal, "s", *TURN_BACK[:2], (TURN_BACK[2][0], turned, TURN_BACK[2][2]))
    shown = journal.metadata("s")
    assert shown is not None
    assert "no\0money" in str(shown.error)
    assert ids(journal.list(text="NO\N{SYMBOL FOR NULL}money").sagas) == ["s"]
    assert [*journal.list(text="no\0money").sagas] == []


def test_an_id_with_a_zero_character_is_refused(journal: PostgresJournal) -> None:
    with pytest.raises(RequestError, match="zero character"):
        run(journal, "s\0t")
    assert journal.load("s\0t") == ()
    assert journal.metadata("s\0t") is None
    run(journal, "s")


def test_letters_that_are_no_ascii_are_told_apart_by_case(journal: PostgresJournal) -> None:
    run(journal, "Ärger")
    assert ids(journal.list(text="ÄRGER").sagas) == ["Ärger"]
    assert ids(journal.list(text="ärger").sagas) == []
    assert ids(journal.list(text="Ä_").sagas) == []


def test_all_of_it_can_be_read(journal: PostgresJournal) -> None:
    run(journal, "s", *FORWARD)
    journal.check()
    assert (journal.cut_log(), journal.give_back(), journal.empty_log()) == (True, False, True)


@pytest.mark.parametrize(
    ("code", "says"), [("53100", "the disk of the server is full"), ("58030", "own disk or system")]
)
def test_what_the_server_can_not_write_is_named_and_nothing_is_written(
    empty_postgres: str, journal: PostgresJournal, code: str, says: str
) -> None:
    run(journal, "s", FORWARD[0])
    journal._server.run(
        "CREATE FUNCTION pg_temp.fails() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '{code}'; END $$;"
        " CREATE TRIGGER fails BEFORE INSERT ON antistrophe.journal FOR EACH ROW EXECUTE FUNCTION pg_temp.fails()"
    )
    for events in ((), (event(1),)):
        with pytest.raises(JournalError, match=f"{says}.*no space left"):
            append(journal, "s", *FORWARD[1], events=events)
    with pytest.raises(JournalError, match=says):
        run(journal, "new")
    journal._server.run("DROP TRIGGER fails ON antistrophe.journal")
    assert (len(journal.load("s")), journal.status("new")) == (2, None)
    append(journal, "s", *FORWARD[1], events=(event(1),))
    with EventStore(PostgresEvents(empty_postgres)) as store:
        assert len(store.read()) == 1


def test_what_is_erased_is_in_no_row_and_the_course_stays(empty_postgres: str, journal: PostgresJournal) -> None:
    run(journal, "s", *FORWARD)
    kinds = [type(each).__name__ for each in journal.load("s")]
    with contextlib.closing(PostgresJournal(empty_postgres)) as tool:
        assert tool.erase("s")
        assert not tool.erase("s")
    assert [type(each).__name__ for each in journal.load("s")] == kinds
    assert journal.status("s") is SagaStatus.COMPLETED
    rows = journal._server.rows("SELECT entry, state FROM journal")
    assert not [row for row in rows if b"paid" in bytes(row[0]) + bytes(row[1] or b"")]
    with pytest.raises(SagaNotFoundError):
        journal.erase("s\0")


def test_a_journal_in_an_open_database_closes_it(empty_postgres: str) -> None:
    database = open_postgres(empty_postgres)
    journal = PostgresJournal(database)
    journal.close()
    with pytest.raises(JournalError, match="is closed"):
        database.row("SELECT 1")
