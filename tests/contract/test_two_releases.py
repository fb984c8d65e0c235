"""Programs of two releases on one database: which schema serves whom."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from antistrophe.errors import JournalError
from antistrophe.hosts.description import HostLoad, new_description
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.storage.postgres import PostgresDatabase, open_postgres
from antistrophe.storage.postgres_schema import POSTGRES_MIGRATIONS, SERVES

NEWER = (*POSTGRES_MIGRATIONS, ("CREATE TABLE antistrophe.later(n bigint)",))


@contextlib.contextmanager
def opened(url: str, **options: object) -> Iterator[PostgresDatabase]:
    with contextlib.closing(open_postgres(url, **options)) as database:  # type: ignore[arg-type]
        yield database


def test_the_newest_schema_serves_a_version_that_there_is() -> None:
    assert 0 < SERVES <= len(POSTGRES_MIGRATIONS)


def test_a_newer_schema_that_serves_older_programs_is_used_by_them_as_it_is(postgres_url: str) -> None:
    with opened(postgres_url) as older:
        open_postgres(postgres_url, migrations=NEWER).close()
        assert older.execute("INSERT INTO antistrophe.later VALUES (1)").rowcount == 1, "what has it open goes on"
    for read_only in (False, True):
        with opened(postgres_url, read_only=read_only) as older:
            assert older.row("SELECT version FROM antistrophe.schema_version")[0] == len(NEWER)
            assert older.rows("SELECT n FROM antistrophe.later") == [(1,)]


def test_a_schema_of_before_the_word_of_whom_it_serves_serves_its_own_programs(postgres_url: str) -> None:
    with opened(postgres_url) as database:
        database.run("ALTER TABLE antistrophe.schema_version DROP COLUMN serves")
        open_postgres(postgres_url).close()
        database.run("UPDATE antistrophe.schema_version SET version = version + 1")
    with pytest.raises(JournalError, match="written by a newer release"):
        open_postgres(postgres_url)


def test_a_schema_that_was_brought_to_an_older_version_by_a_program_that_says_whom_it_serves(postgres_url: str) -> None:
    with opened(postgres_url, migrations=POSTGRES_MIGRATIONS[:5]) as older:
        assert older.rows("SELECT version, serves FROM antistrophe.schema_version") == [(5, SERVES)]
        open_postgres(postgres_url).close()
        assert older.rows("SELECT version, serves FROM antistrophe.schema_version") == [
            (len(POSTGRES_MIGRATIONS), SERVES)
        ]


def test_what_running_hosts_can_not_work_with_is_made_once_they_are_stopped(postgres_url: str) -> None:
    with opened(postgres_url) as database:
        hosts, host = StoredHosts(database), new_description("a1", [], "1.0", 60.0)
        hosts.register(host, HostLoad())
        with pytest.raises(JournalError, match=r"hosts of a release that needs it work there \(a1\): stop them"):
            open_postgres(postgres_url, migrations=NEWER, serves=len(NEWER))
        assert database.row("SELECT version FROM antistrophe.schema_version")[0] == len(POSTGRES_MIGRATIONS)
        hosts.hand_over(host.id)
        open_postgres(postgres_url, migrations=NEWER, serves=len(NEWER)).close()
