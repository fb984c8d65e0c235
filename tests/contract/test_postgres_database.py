"""A connection to PostgreSQL: what a call means whatever happens to server and network, and whose schema is used."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe.errors import CommitUnknownError, JournalBusyError, JournalError
from antistrophe.storage.postgres import PostgresDatabase, open_postgres, psycopg
from antistrophe.storage.postgres_rights import check_rights
from antistrophe.storage.postgres_schema import POSTGRES_MIGRATIONS
from tests.lossy_relay import LossyRelay
from tests.postgres_cluster import PostgresCluster

ADD = "INSERT INTO purged(id_digest, status, finished_at) VALUES (?, ?, 0)"
COUNT = "SELECT count(*) FROM purged"
OWN_XID = "SELECT pg_current_xact_id()::text::bigint"
PROOF = "SELECT 1 FROM purged WHERE id_digest = ?"


@contextlib.contextmanager
def opened(url: str, **options: object) -> Iterator[PostgresDatabase]:
    with contextlib.closing(open_postgres(url, **options)) as database:  # type: ignore[arg-type]
        yield database


@pytest.fixture
def database(postgres_url: str) -> Iterator[PostgresDatabase]:
    with opened(postgres_url) as database:
        yield database


@pytest.fixture
def relay(postgres_url: str) -> Iterator[LossyRelay]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, LossyRelay(postgres_url, Path(folder)) as relay:
        yield relay


def backend_of(database: PostgresDatabase) -> int:
    return int(database.row("SELECT pg_backend_pid()")[0])


def end_backend(url: str, pid: int) -> None:
    """End a server process, and wait until it is gone."""
    with contextlib.closing(psycopg.connect(url, autocommit=True)) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (pid,))
        deadline = time.monotonic() + 20
        while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
            assert time.monotonic() < deadline


# --- schema -------------------------------------------------------------------------------------------------------


def test_several_may_make_the_schema_at_once(postgres_url: str) -> None:
    made: list[PostgresDatabase | BaseException] = []

    def make() -> None:
        try:
            made.append(open_postgres(postgres_url))
        except BaseException as error:
            made.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [type(each) for each in made] == [PostgresDatabase] * 4
    for database in made:
        assert isinstance(database, PostgresDatabase)
        assert database.row("SELECT version FROM antistrophe.schema_version")[0] == len(POSTGRES_MIGRATIONS)
        database.close()


def test_an_older_schema_is_brought_up_to_date_and_only_for_writing(postgres_url: str) -> None:
    newer = (*POSTGRES_MIGRATIONS, ("CREATE TABLE antistrophe.later(n bigint)",))
    open_postgres(postgres_url).close()
    with pytest.raises(JournalError, match="open it once for writing"):
        open_postgres(postgres_url, read_only=True, migrations=newer)
    with opened(postgres_url, migrations=newer, serves=len(newer)) as database:
        assert database.rows("SELECT * FROM antistrophe.later") == []
    with pytest.raises(JournalError, match=f"version {len(newer)}, written by a newer release.*upgrade it"):
        open_postgres(postgres_url)


def test_a_user_who_may_not_write_is_told_what_to_grant(postgres_url: str) -> None:
    with opened(postgres_url) as database:
        check_rights(database)
        database.run("CREATE ROLE only_reads; GRANT USAGE ON SCHEMA antistrophe TO only_reads")
        try:
            database.run("GRANT SELECT ON ALL TABLES IN SCHEMA antistrophe TO only_reads; SET ROLE only_reads")
            with pytest.raises(
                JournalError, match=r"may not write to claims, .* more in the schema antistrophe.*grant"
            ):
                check_rights(database)
            database.run("RESET ROLE; GRANT ALL ON ALL TABLES IN SCHEMA antistrophe TO only_reads; SET ROLE only_reads")
            with pytest.raises(JournalError, match="may not write to event_positions, journal_positions in the schema"):
                check_rights(database)
            database.run("RESET ROLE; GRANT ALL ON ALL SEQUENCES IN SCHEMA antistrophe TO only_reads")
            database.run("SET ROLE only_reads")
            check_rights(database)
        finally:
            database.run("RESET ROLE; DROP OWNED BY only_reads; DROP ROLE only_reads")


def test_a_migration_that_fails_changes_nothing(postgres_url: str) -> None:
    broken = (*POSTGRES_MIGRATIONS, ("CREATE TABLE antistrophe.later(n bigint)", "CREATE NONSENSE"))
    with pytest.raises(JournalError, match="syntax error"):
        open_postgres(postgres_url, migrations=broken)
    with pytest.raises(JournalError, match="nothing was stored there yet"):
        open_postgres(postgres_url, read_only=True)


def test_a_schema_of_another_program_is_left_alone(postgres_url: str) -> None:
    with contextlib.closing(psycopg.connect(postgres_url, autocommit=True)) as other:
        other.execute("CREATE SCHEMA antistrophe")
        other.execute("CREATE TABLE antistrophe.poems(n bigint)")
    with pytest.raises(JournalError, match="of another program"):
        open_postgres(postgres_url)


def test_a_database_without_utf8_is_refused(postgres_cluster: PostgresCluster) -> None:
    postgres_cluster.sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    try:
        with pytest.raises(JournalError, match=r"has the encoding LATIN1.*--encoding UTF8"):
            open_postgres(postgres_cluster.url("latin"))
    finally:
        postgres_cluster.sql("DROP DATABASE latin WITH (FORCE)")


def test_what_is_not_there_is_named_and_what_to_do(postgres_cluster: PostgresCluster, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no such database; make it first"):
        open_postgres(postgres_cluster.url("missing"))
    with pytest.raises(JournalError, match=r"postgresql://127.0.0.1:1/x: the server can't be reached") as caught:
        open_postgres("postgresql://ann:geheim@127.0.0.1:1/x")
    with pytest.raises(JournalError, match="can't be reached"):
        open_postgres(f"postgresql:///x?host={tmp_path}&password=geheim")
    assert "geheim" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_what_is_opened_for_reading_writes_nothing(postgres_url: str, database: PostgresDatabase) -> None:
    with opened(postgres_url, read_only=True) as reader:
        assert reader.row(COUNT) == (0,)
        with pytest.raises(JournalError, match="for reading only"):
            reader.execute(ADD, (b"1", "s"))
        with pytest.raises(JournalError, match="for reading only"), reader.transaction():
            pass
    assert database.row(COUNT) == (0,)


# --- transactions -------------------------------------------------------------------------------------------------


def test_a_transaction_is_committed_whole_or_not_at_all(postgres_url: str, database: PostgresDatabase) -> None:
    with opened(postgres_url) as reader:
        before = database.commits
        with database.transaction():
            database.execute_many(ADD, [(b"1", "s"), (b"2", "s")])
            assert (database.row(COUNT), reader.row(COUNT)) == ((2,), (0,))
            assert database.in_own_transaction
        assert reader.row(COUNT) == (2,)
        database.begin()
        assert database.execute("DELETE FROM purged WHERE id_digest = ?", (b"1",)).rowcount == 1
        database.end(commit=False)
        with pytest.raises(psycopg.IntegrityError), database.transaction():
            database.execute(ADD, (b"1", "other"))
        assert reader.row(COUNT) == (2,)
    assert not database.in_own_transaction
    assert database.commits == before + 1


def test_one_with_a_failed_statement_is_not_taken_for_committed(database: PostgresDatabase) -> None:
    database.begin()
    database.execute(ADD, (b"1", "s"))
    with pytest.raises(JournalError, match="nonsense"):
        database.execute("SELECT nonsense")
    with pytest.raises(JournalError, match="nothing was committed, because a statement"):
        database.end(commit=True)
    assert database.row(COUNT) == (0,)
    database.execute(ADD, (b"1", "s"))


def test_one_moment_sees_no_later_commit(postgres_url: str, database: PostgresDatabase) -> None:
    with opened(postgres_url) as writer:
        with database.one_moment():
            assert database.row(COUNT) == (0,)
            writer.execute(ADD, (b"1", "s"))
            assert database.row(COUNT) == (0,)
        assert database.row(COUNT) == (1,)


def test_a_lock_of_another_is_waited_for_only_so_long(postgres_url: str, database: PostgresDatabase) -> None:
    database.execute(ADD, (b"1", "s"))
    with opened(postgres_url, patience_s=10.0) as hasty, database.transaction():
        assert hasty.lock_ms == 9_000, "the server gives up before this side does"
        hasty.answer_s = 2.0  # for locks: the server itself may be slow on a busy machine
        database.execute("UPDATE purged SET status = ?", ("t",))
        with pytest.raises(JournalBusyError, match="holds a lock there for too long"), hasty.transaction():
            hasty.execute("UPDATE purged SET status = ?", ("u",))
        assert hasty.row("SELECT status FROM purged") == ("s",)


# --- connections that are lost ------------------------------------------------------------------------------------


def test_a_lost_connection_is_made_anew_outside_a_transaction(postgres_url: str, database: PostgresDatabase) -> None:
    for ask in (lambda: database.row(COUNT), lambda: database.execute(ADD, (os.urandom(4), "s"))):
        end_backend(postgres_url, backend_of(database))
        ask()
    end_backend(postgres_url, backend_of(database))
    with database.transaction():
        database.execute(ADD, (b"1", "s"))
    assert database.row(COUNT) == (2,)


def test_within_one_nothing_is_committed(postgres_url: str, database: PostgresDatabase) -> None:
    database.begin()
    database.execute(ADD, (b"1", "s"))
    end_backend(postgres_url, backend_of(database))
    for key in (b"2", b"3"):  # the second time not on a connection that is new
        with pytest.raises(JournalError, match="lost within a transaction, and nothing of it"):
            database.execute(ADD, (key, "s"))
    with pytest.raises(JournalError, match="lost within a transaction, and nothing of it"):
        database.end(commit=True)
    assert database.row(COUNT) == (0,)


@pytest.mark.parametrize("proven", [True, False])
@pytest.mark.parametrize("part", ["question", "answer"])
def test_a_commit_whose_answer_is_lost_is_told_by_its_rows(relay: LossyRelay, part: str, proven: bool) -> None:
    lose = relay.lose_question if part == "question" else relay.lose_answer
    with opened(relay.url) as database:
        database.begin()
        database.execute(ADD, (b"1", "s"))
        if proven:
            database.prove(database.row(OWN_XID)[0], PROOF, (b"1",))
        lose(b"COMMIT\0")
        if not proven:
            with pytest.raises(CommitUnknownError, match="nobody can say whether it was written"):
                database.end(commit=True)
        elif part == "question":
            with pytest.raises(JournalError, match="nothing of it was committed"):
                database.end(commit=True)
        else:
            database.end(commit=True)
        assert database.row(COUNT) == (int(part == "answer"),)


def test_what_became_of_it_is_unknown_as_long_as_the_server_is_away(relay: LossyRelay) -> None:
    with opened(relay.url, patience_s=10.0) as database:
        database.answer_s = 1.0  # so long it is asked what became of it: what answers may take longer on a busy machine
        database.begin()
        database.execute(ADD, (b"1", "s"))
        database.prove(database.row(OWN_XID)[0], PROOF, (b"1",))
        relay.lose_answer(b"COMMIT\0")
        relay.refuses = True
        with pytest.raises(CommitUnknownError):
            database.end(commit=True)
        with pytest.raises(JournalError, match="connection"):
            database.row(COUNT)


def test_a_statement_of_its_own_whose_answer_is_lost_is_not_done_again(relay: LossyRelay) -> None:
    with opened(relay.url) as database:
        relay.lose_answer(b"INSERT")
        with pytest.raises(CommitUnknownError):
            database.execute(ADD, (b"1", "s"))
        assert database.row(COUNT) == (1,)


def test_a_server_that_hangs_holds_nobody_up_for_long(postgres_url: str) -> None:
    with opened(postgres_url, patience_s=4.0) as database:
        begun = time.monotonic()
        with pytest.raises(JournalError, match=r"no answer came within 4 s"):
            database.row("SELECT pg_sleep(60)")
        with pytest.raises(JournalError, match="nothing of it was committed"), database.transaction():
            database.execute("SELECT pg_sleep(60)")
        assert time.monotonic() - begun < 40
        assert database.row(COUNT) == (0,)


def test_an_answer_that_comes_in_pieces_may_take_longer(postgres_url: str) -> None:
    with opened(postgres_url, patience_s=5.0) as database:
        rows = database.rows("SELECT repeat('x', 20000), pg_sleep(0.7) FROM generate_series(1, 8)")
        assert [len(row[0]) for row in rows] == [20000] * 8


def test_after_a_crash_of_the_server_it_goes_on() -> None:
    with PostgresCluster() as cluster, opened(cluster.url(), patience_s=10) as database:
        database.execute(ADD, (b"1", "s"))
        cluster.stop("immediate")
        with pytest.raises(JournalError, match="can't be reached"):
            database.row(COUNT)
        cluster.start()
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(JournalError):
                assert database.row(COUNT) == (1,)
                return
            assert time.monotonic() < deadline


def test_a_fork_opens_its_own(database: PostgresDatabase) -> None:
    pid = os.fork()
    if not pid:
        try:
            database.row(COUNT)
        except JournalError as error:
            database.close()
            os._exit(7 if "open it again in the fork" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert database.row(COUNT) == (0,)


def test_what_is_closed_says_so(database: PostgresDatabase) -> None:
    database.close()
    database.close()
    with pytest.raises(JournalError, match="is closed; open the database again"):
        database.row(COUNT)


def test_a_text_with_a_zero_character_is_none_that_it_can_hold(database: PostgresDatabase) -> None:
    assert [database.holds(each) for each in ("a", "a\0b", "\ud800", 7, None)] == [True, False, False, False, False]
    with pytest.raises(JournalError, match="NUL"):
        database.row("SELECT ?", ("a\0b",))
