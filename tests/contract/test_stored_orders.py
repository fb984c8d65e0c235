"""Orders that hosts leave for each other as rows: who is given them, and whose answer counts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from antistrophe.hosts import stored_orders
from antistrophe.hosts.stored_orders import StoredOrder, StoredOrders
from antistrophe.storage.postgres import PostgresDatabase, open_postgres
from tests.contract.hosts_kit import add_sagas
from tests.noticing import noticed

CANCEL = StoredOrder("o-1", "s", b"cancel")


@pytest.fixture
def database(empty_postgres: str) -> Iterator[PostgresDatabase]:
    with contextlib.closing(open_postgres(empty_postgres)) as database:
        add_sagas(database, "a-1", ("s", "executing"))
        yield database


def test_an_order_goes_to_the_owner_and_its_first_answer_back(database: PostgresDatabase) -> None:
    orders = StoredOrders(database)
    orders.leave(CANCEL)
    orders.leave(CANCEL)
    assert (orders.for_host("a-1"), orders.for_host("b-1")) == ([CANCEL], [])
    orders.answer("o-1", b"done", "a-1")
    orders.answer("o-1", b"again", "a-1")
    assert (orders.for_host("a-1"), orders.answers(["o-1", "o-2"])) == ([], {"o-1": b"done"})
    orders.forget(["o-1"])
    assert orders.answers(["o-1"]) == {}


def test_a_host_that_has_lost_the_saga_answers_nothing_and_the_next_owner_does(database: PostgresDatabase) -> None:
    orders = StoredOrders(database)
    orders.leave(CANCEL)
    database.execute("UPDATE sagas SET host = 'b-1', token = 2 WHERE id = 's'")
    orders.answer("o-1", b"it has ended", "a-1")
    assert orders.answers(["o-1"]) == {}
    assert orders.for_host("b-1") == [CANCEL]
    orders.answer("o-1", b"done", "b-1")
    assert orders.answers(["o-1"]) == {"o-1": b"done"}


def test_where_every_answer_counts_it_is_noticed(database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_orders, "_ANSWER", stored_orders._ANSWER.replace("its.host = ?", "? <> ''"))
    with noticed():
        test_a_host_that_has_lost_the_saga_answers_nothing_and_the_next_owner_does(database)
