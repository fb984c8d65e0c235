"""The connection of an application, in whose transaction events are appended: which ones are taken, and that nothing of
them is changed."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg.rows import dict_row

from antistrophe.cqrs import EventStore
from antistrophe.errors import JournalError, RequestError
from antistrophe.eventstore.callers_events import CallersPlaces
from antistrophe.storage import postgres_callers
from antistrophe.storage.postgres import open_postgres
from tests.contract.callers_kit import MANY, ONE, TWO, Own, connected, order, orders
from tests.noticing import noticed


def test_nothing_of_the_connection_is_changed(store: EventStore, empty_postgres: str) -> None:
    with connected(empty_postgres, row_factory=dict_row, prepare_threshold=0) as own:
        own.execute("SET search_path = ''", prepare=False)
        own.execute("SET lock_timeout = '7s'", prepare=False)
        own.commit()
        settings = "SELECT name, setting FROM pg_catalog.pg_settings WHERE name NOT LIKE 'plpgsql.%' ORDER BY name"
        before = own.execute(settings).fetchall()
        store.append("s", [ONE], connection=own)
        with store.transaction_on(["s", "t"], connection=own) as transaction:
            transaction.append("t", [ONE])
        assert own.execute(settings).fetchall() == before
        prepared = own.execute("SELECT statement FROM pg_catalog.pg_prepared_statements").fetchall()
        assert all("antistrophe" not in each["statement"] for each in prepared)
        assert (own.row_factory, own.autocommit, own.prepare_threshold) == (dict_row, False, 0)


def test_an_append_beside_a_cursor_and_in_a_pipeline(store: EventStore, own: Own) -> None:
    with own.cursor("on the server") as cursor:
        cursor.execute("SELECT generate_series(1, 3)")
        store.append("s", [ONE], connection=own)
        assert cursor.fetchall() == [(1,), (2,), (3,)]
    with own.pipeline():
        order(own)
        assert store.append("s", [TWO], expected_version=1, connection=own) == 2
        with store.transaction(connection=own) as transaction:
            assert transaction.append("s", MANY) == 2 + len(MANY)
        order(own)
    own.commit()
    assert (store.version("s"), orders(own)) == (2 + len(MANY), 2)


def test_a_connection_that_can_not_be_used_is_named(
    store: EventStore, own: Own, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_callers, "_FREE_WITHIN_S", 0.05)

    def append(connection: object) -> None:
        store.append("s", [ONE], connection=connection)

    with pytest.raises(RequestError, match=r"connection= takes an open psycopg\.Connection, not str"):
        append(empty_postgres)
    with pytest.raises(RequestError, match=r"not tests\.contract\.test_callers_connection\.Foreign"):
        append(Foreign())
    with pytest.raises(psycopg.errors.UndefinedTable):
        own.execute("SELECT * FROM nowhere")
    with pytest.raises(RequestError, match="roll it back, to a savepoint"):
        append(own)
    own.rollback()
    with own.cursor() as cursor, cursor.copy("COPY orders FROM STDIN") as copy:
        with pytest.raises(RequestError, match="end the COPY"):
            append(own)
        copy.write_row(("o",))
    append(own)
    own.rollback()
    with (
        connected(empty_postgres, client_encoding="SQL_ASCII") as without,
        pytest.raises(RequestError, match="client_encoding=UTF8"),
    ):
        append(without)
    own.close()
    with pytest.raises(RequestError, match="this one is closed: connect again"):
        append(own)
    assert store.read() == []


class Foreign:
    """A connection of another library."""


def test_a_store_that_is_not_in_postgresql_takes_no_transaction(own: Own) -> None:
    with EventStore(":memory:") as store:
        for use in (
            lambda: store.append("s", [ONE], connection=own),
            lambda: store.get_events("s", connection=own),
            lambda: asyncio.run(store.append_async("s", [ONE], connection=own)),
        ):
            with pytest.raises(RequestError, match="leave connection= out"):
                use()


def test_another_database_is_refused(store: EventStore, postgres_url: str) -> None:
    with connected(postgres_url) as elsewhere:
        with pytest.raises(JournalError, match="has no journal and no events: connect to postgresql://"):
            store.append("s", [ONE], connection=elsewhere)
        open_postgres(postgres_url).close()
        elsewhere.rollback()
        with pytest.raises(JournalError, match="leads to another database than postgresql://"):
            store.append("s", [ONE], connection=elsewhere)
        elsewhere.rollback()
        elsewhere.execute("UPDATE antistrophe.schema_version SET version = version + 1, serves = version + 1")
        with pytest.raises(JournalError, match="use the same release"):
            store.append("s", [ONE], connection=elsewhere)
        assert elsewhere.execute("SELECT FROM antistrophe.events").fetchall() == []


def test_a_connection_whose_database_is_not_compared_is_noticed(
    store: EventStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CallersPlaces, "_compare", lambda *_: None)
    with noticed():
        test_another_database_is_refused(store, postgres_url)
