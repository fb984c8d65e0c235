"""Sagas that are accepted in a transaction of the application's own: with its rows, or never."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from antistrophe.errors import JournalError, RequestError, SagaExistsError
from antistrophe.journal import Purgeable, SeqConflictError, postgres_acceptance
from antistrophe.journal.postgres import PostgresJournal
from antistrophe.journal.postgres_acceptance import NO_HOST_YET, accepting
from antistrophe.journal.saga_owner import Ownership
from antistrophe.saga.entries import SagaAccepted, SagaWaits
from antistrophe.saga.wait_reasons import WaitReason, reason_in
from antistrophe.storage.postgres_callers import ask, ask_async
from tests.contract.journal_sagas import FORWARD, accepted, append, ids, run
from tests.noticing import noticed

SPEC = accepted("s").spec


@pytest.fixture
def journal(empty_postgres: str) -> Iterator[PostgresJournal]:
    with contextlib.closing(PostgresJournal(empty_postgres)) as journal:
        yield journal


@pytest.fixture
def own(empty_postgres: str) -> Iterator[psycopg.Connection[object]]:
    """The application's connection, with a table of its own that ends with it."""
    with contextlib.closing(psycopg.connect(empty_postgres)) as connection:
        connection.execute("CREATE TEMPORARY TABLE orders(id text)")
        connection.commit()
        yield connection


def orders(own: psycopg.Connection[object]) -> int:
    return len(own.execute("SELECT * FROM orders").fetchall())


def test_it_is_there_with_the_commit(own: psycopg.Connection[object], journal: PostgresJournal) -> None:
    before = time.time()
    own.execute("INSERT INTO orders VALUES ('o')")
    position = ask(own, accepting(SPEC, "request", now=before))
    assert (journal.status("s"), journal.head()) == (None, 0)
    own.commit()
    assert journal.load("s") == (SagaAccepted(before, "request", SPEC, before), SagaWaits(before, NO_HOST_YET))
    assert (journal.head(), journal.request_id("s")) == (position, "request")
    assert journal.ownership("s") == Ownership(None, 0, 2)
    assert ids(journal.list(text="no host has taken").sagas) == ["s"]
    assert reason_in(NO_HOST_YET) is WaitReason.TURN
    append(journal, "s", *FORWARD[0])


def test_it_never_was_where_that_rolls_back(own: psycopg.Connection[object], journal: PostgresJournal) -> None:
    own.execute("INSERT INTO orders VALUES ('o')")
    ask(own, accepting(SPEC, "request", now=1.0))
    own.rollback()
    assert (journal.load("s"), orders(own)) == ((), 0)
    run(journal, "s")


def test_an_acceptance_with_a_transaction_of_its_own_is_noticed(
    own: psycopg.Connection[object], journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    position_of = postgres_acceptance._position

    def and_commit(*found: Any) -> int:
        own.commit()
        return position_of(*found)

    monkeypatch.setattr(postgres_acceptance, "_position", and_commit)
    with noticed():
        test_it_never_was_where_that_rolls_back(own, journal)


def test_what_is_refused_leaves_the_transaction_as_it_was(
    own: psycopg.Connection[object], journal: PostgresJournal
) -> None:
    run(journal, "s", FORWARD[0])
    run(journal, "gone", *FORWARD)
    walk = journal.purge(Purgeable(2**62))
    while walk.step():
        pass
    own.execute("INSERT INTO orders VALUES ('o')")
    with pytest.raises(SeqConflictError, match="is at seq 2"):
        ask(own, accepting(SPEC, "request", now=1.0))
    with pytest.raises(SagaExistsError, match=r"was completed at .* and has been purged"):
        ask(own, accepting(replace(SPEC, id="gone"), "request", now=1.0))
    with pytest.raises(RequestError, match="zero character"):
        ask(own, accepting(replace(SPEC, id="a\0b"), "request", now=1.0))
    ask(own, accepting(replace(SPEC, id="new"), "request", now=1.0))
    own.commit()
    assert (orders(own), len(journal.load("new")), journal.load("gone")) == (1, 2, ())


def test_a_database_without_a_journal_is_named(postgres_url: str) -> None:
    with contextlib.closing(psycopg.connect(postgres_url)) as own:
        own.execute("CREATE TABLE orders(id text)")
        with pytest.raises(JournalError, match="has no journal: connect to the one"):
            ask(own, accepting(SPEC, "request", now=1.0))
        own.execute("INSERT INTO orders VALUES ('o')")


def test_a_journal_of_another_release_is_refused(own: psycopg.Connection[object], journal: PostgresJournal) -> None:
    own.execute("UPDATE antistrophe.schema_version SET version = version + 1, serves = version + 1")
    with pytest.raises(JournalError, match="use the same release"):
        ask(own, accepting(SPEC, "request", now=1.0))
    own.execute("UPDATE antistrophe.schema_version SET version = 1, serves = 1")
    with pytest.raises(JournalError, match=r"of schema version 1, .*use the same release"):
        ask(own, accepting(SPEC, "request", now=1.0))
    own.rollback()
    assert journal.load("s") == ()


def test_a_journal_of_a_newer_release_that_serves_this_one_takes_it(
    own: psycopg.Connection[object], journal: PostgresJournal
) -> None:
    own.execute("UPDATE antistrophe.schema_version SET version = version + 1")
    ask(own, accepting(SPEC, "request", now=1.0))
    assert len(own.execute("SELECT FROM antistrophe.sagas").fetchall()) == 1
    own.rollback()


def test_rows_that_the_application_wants_otherwise_do_not_matter(empty_postgres: str, journal: PostgresJournal) -> None:
    with contextlib.closing(psycopg.connect(empty_postgres, autocommit=True, row_factory=dict_row)) as own:
        ask(own, accepting(SPEC, "request", now=1.0))
    assert len(journal.load("s")) == 2


def test_on_a_connection_of_asyncio(empty_postgres: str, journal: PostgresJournal) -> None:
    async def accept() -> None:
        async with await psycopg.AsyncConnection.connect(empty_postgres) as own:
            await ask_async(own, accepting(SPEC, "request", now=1.0))
            with pytest.raises(SeqConflictError):
                await ask_async(own, accepting(SPEC, "request", now=1.0))
            async with own.transaction(force_rollback=True):
                await ask_async(own, accepting(replace(SPEC, id="not"), "request", now=1.0))

    asyncio.run(accept())
    assert (len(journal.load("s")), journal.load("not")) == (2, ())
