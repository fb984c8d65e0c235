"""The fixtures of tests that need PostgreSQL. ``tests/conftest.py`` brings them to every test.

A test that asks for ``postgres_url`` gets the address of an empty database of its own. Without PostgreSQL
it is skipped, loudly; where everything is to be checked (CI), it fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.postgres_cluster import END_SESSIONS, PostgresCluster, binaries

_MISSING = "POSTGRESQL IS NOT HERE, AND WHAT NEEDS IT WAS NOT TRIED (apt-get install postgresql)"


def require_postgres() -> None:
    """Skip the test where PostgreSQL is not installed, and fail it in CI."""
    if binaries() is None:
        if os.environ.get("CI"):
            pytest.fail(_MISSING)
        pytest.skip(_MISSING)


@pytest.fixture(scope="session")
def postgres_cluster(lasting_processes: set[int]) -> Iterator[PostgresCluster]:
    """The server of this pytest process, started for the first test that needs it. Don't stop it: make a
    ``PostgresCluster`` for that."""
    require_postgres()
    with PostgresCluster() as cluster:
        assert cluster.pid is not None
        lasting_processes.add(cluster.pid)
        yield cluster


@pytest.fixture(scope="session")
def lasting_postgres(postgres_cluster: PostgresCluster) -> Iterator[str]:
    """The address of a database with the schema, which lasts as long as the process of the tests."""
    from antistrophe.storage.postgres import open_postgres  # not where the tests run without psycopg

    with postgres_cluster.database() as url:
        open_postgres(url).close()
        yield url


@pytest.fixture
def empty_postgres(lasting_postgres: str) -> Iterator[str]:
    """The address of a database with empty tables: quicker to be had than a new one.

    What a test has left open there is ended first: a session whose client was killed may write for a moment yet, and
    one of a test that failed may hold a lock.
    """
    from antistrophe.storage.postgres import psycopg

    yield lasting_postgres
    with psycopg.connect(lasting_postgres, autocommit=True) as connection:
        connection.execute(END_SESSIONS)
        tables = connection.execute(
            "SELECT relname, relkind::text FROM pg_class WHERE relnamespace = 'antistrophe'::regnamespace"
            " AND relkind IN ('r', 'S') AND relname <> 'schema_version'"
        ).fetchall()
        connection.execute(
            "; ".join(
                f"DELETE FROM antistrophe.{name}" if kind == "r" else f"ALTER SEQUENCE antistrophe.{name} RESTART"
                for name, kind in tables
            ).encode()
        )


@pytest.fixture
def postgres_url(postgres_cluster: PostgresCluster) -> Iterator[str]:
    """The address of an empty database for one test."""
    with postgres_cluster.database() as url:
        yield url


@pytest.fixture
def postgres_store_url(postgres_cluster: PostgresCluster) -> str:
    """The address of a database with the newest schema and no row. Tests have it one after the other; one that changes
    the database itself (its settings, our schema) wants ``postgres_url``."""
    return postgres_cluster.emptied("store", _bring_up_to_date)


def _bring_up_to_date(url: str) -> None:
    from antistrophe.storage.postgres import open_postgres  # tests without PostgreSQL do without psycopg

    open_postgres(url).close()
