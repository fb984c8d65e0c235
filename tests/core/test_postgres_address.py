"""Addresses of PostgreSQL: read from a URL, and told to people without a secret. And SQL of both databases."""

from __future__ import annotations

import sys

import pytest

from antistrophe.errors import JournalError
from antistrophe.storage.portable_sql import for_postgres
from antistrophe.storage.postgres_address import read_address

SECRET = "s3cr:et@%"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgresql:///shop", "postgresql:///shop"),
        ("postgres://ann@db1/shop", "postgresql://db1/shop"),
        ("postgresql://ann:s3cr%3Aet%40%25@db1:6000/shop?sslmode=require", "postgresql://db1:6000/shop"),
        ("postgresql://a,b:6000/shop?password=s3cr%3Aet%40%25", "postgresql://a,b:6000/shop"),
        ("postgresql://ann@/?host=/run/pg&port=7", "postgresql:///ann?host=/run/pg&port=7"),
        ("postgresql://?service=shop", "postgresql:///?service=shop"),
    ],
)
def test_messages_name_hosts_ports_and_database_and_no_more(url: str, where: str) -> None:
    address = read_address(url, answer_s=5.0)
    if "," in where:
        where = "postgresql://a:5432,b:6000/shop"
        address = read_address(url.replace("a,b:", "a:5432,b:"), answer_s=5.0)
    assert address.where == where
    assert "ann:" not in repr(address)
    assert SECRET not in repr(address)


def test_a_secret_is_taken_out_of_every_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "of the environment")
    address = read_address("postgresql://ann:s3cr%3Aet%40%25@db1/shop?sslpassword=key-pass", answer_s=5.0)
    assert address.redacted(f"a {SECRET} b key-pass c of the environment d") == "a *** b *** c *** d"


@pytest.mark.parametrize("url", ["shop.db", "", "mysql://ann:hidden@db1/shop", "host=db1 password=hidden", None])
def test_what_is_no_url_of_postgresql_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(JournalError, match="postgresql://HOST:PORT/DATABASE") as caught:
        read_address(url, answer_s=5.0)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql://ann:hid%den@db1/x", "postgresql://db1/x?passwort=hidden", "postgresql://["]
)
def test_a_url_that_can_not_be_read_is_not_repeated_either(url: str) -> None:
    with pytest.raises(JournalError, match="%XX in the place") as caught:
        read_address(url, answer_s=5.0)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "hid" not in str(caught.value)


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "antistrophe.storage.postgres", raising=False)
    with pytest.raises(JournalError, match=r"pip install 'antistrophe\[postgres\]'"):
        import antistrophe.storage.postgres  # noqa: F401
    assert "antistrophe.storage.postgres" not in sys.modules


@pytest.mark.parametrize(
    ("sql", "made"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT max(seq) FROM journal WHERE a = ? AND b < ?",
         "SELECT max(seq) FROM antistrophe.journal WHERE a = $1 AND b < $2"),
        ("SELECT sagas.id FROM sagas JOIN journal ON journal.saga_id = sagas.id",
         "SELECT sagas.id FROM antistrophe.sagas JOIN antistrophe.journal ON journal.saga_id = sagas.id"),
        ("INSERT INTO shapes(hash) VALUES (?) ON CONFLICT(hash) DO UPDATE SET shape = excluded.shape",
         "INSERT INTO antistrophe.shapes(hash) VALUES ($1) ON CONFLICT(hash) DO UPDATE SET shape = excluded.shape"),
        ("UPDATE journal SET entry = ?", "UPDATE antistrophe.journal SET entry = $1"),
        ("SELECT 1 FROM antistrophe.journal, journals", "SELECT 1 FROM antistrophe.journal, journals"),
        ("SELECT '100%' FROM sagas_of_old", "SELECT '100%' FROM sagas_of_old"),
    ],
)  # fmt: skip
def test_sql_of_both_databases_is_made_into_that_of_postgresql(sql: str, made: str) -> None:
    assert for_postgres(sql) == made
