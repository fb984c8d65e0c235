"""The one SQLite file: made, opened, refused, migrated, shared by threads, and not by forks."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe.errors import JournalError
from antistrophe.linux.private_files import refuse_foreign
from antistrophe.storage.database import Database
from antistrophe.storage.opening import open_database, open_in_memory
from antistrophe.storage.schema import APPLICATION_ID, MIGRATIONS
from tests.core.database_kit import INSERT, opened

NOBODY = 65534
NEWEST = len(MIGRATIONS)
ADD_COLUMN = ("ALTER TABLE snapshots ADD COLUMN note TEXT", "CREATE TABLE extra(a)")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def count(database: Database) -> int:
    return int(database.row("SELECT count(*) FROM snapshots")[0])


def insert(database: Database, *rows: tuple[str, int, bytes]) -> None:
    """All of the rows or none."""
    with database.transaction():
        for row in rows:
            database.execute(INSERT, row)


def fill(path: Path, rows: int = 400) -> bytes:
    """A file of some pages; answers with its bytes."""
    with opened(path) as database:
        insert(database, *(("s", version, b"x" * 300) for version in range(rows)))
    return path.read_bytes()


# --- made and opened ----------------------------------------------------------------------------------------------


def test_a_new_file_is_private_durable_and_of_the_newest_schema(path: Path) -> None:
    with opened(path) as database:
        database.execute(INSERT, ("s", 1, b""))
        for file in path.parent.iterdir():  # the log and the index of it, too
            assert file.stat().st_mode & 0o777 == 0o600, file
        assert database.row("PRAGMA user_version") == (len(MIGRATIONS),)
        assert database.row("PRAGMA application_id") == (APPLICATION_ID,)
        assert database.row("PRAGMA journal_mode") == ("wal",)
        assert database.row("PRAGMA synchronous") == (2,)
        assert database.row("PRAGMA busy_timeout") == (60_000,)
    with opened(path, synchronous="NORMAL") as database:
        assert database.row("PRAGMA synchronous") == (1,)


def test_what_was_committed_is_there_again_and_what_was_not_is_not(path: Path) -> None:
    with opened(path) as database:
        insert(database, ("s", 1, b""))
        with contextlib.suppress(KeyboardInterrupt), database.transaction():
            database.execute(INSERT, ("s", 2, b""))
            raise KeyboardInterrupt
        assert count(database) == 1
    with opened(path) as database:
        assert count(database) == 1


def test_a_violated_constraint_is_the_callers_business(path: Path) -> None:
    with opened(path) as database:
        database.execute(INSERT, ("s", 1, b""))
        with pytest.raises(sqlite3.IntegrityError):
            insert(database, ("s", 2, b""), ("s", 1, b""))
        assert count(database) == 1


def test_strange_paths_are_paths_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "a?mode=memory#100%25" / ("n" * 150)
    folder.mkdir(parents=True)
    with opened(folder / "ö b.db") as database:
        database.execute(INSERT, ("s", 1, b""))
    with opened(folder / "ö b.db", read_only=True) as database:
        assert count(database) == 1


def test_an_unknown_way_to_sync_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="FULL or NORMAL"):
        open_database(path, synchronous="OFF")
    assert not path.exists()


def test_read_only_reads_what_is_there_and_writes_nothing(path: Path) -> None:
    with pytest.raises(JournalError, match="no such file"):
        open_database(path, read_only=True)
    assert not path.exists()
    with opened(path) as writer, opened(path, read_only=True) as reader:
        writer.execute(INSERT, ("s", 1, b""))
        assert count(reader) == 1
        with pytest.raises(JournalError, match="can't be written to"):
            reader.execute(INSERT, ("s", 2, b""))


# --- refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5, 16, 511, 512, 4_096, 100_000])
def test_garbage_is_refused_and_left_as_it_is(path: Path, size: int) -> None:
    garbage = (b"garbage!" * (size // 8 + 1))[:size]
    path.write_bytes(garbage)
    for read_only in (False, True):
        with pytest.raises(JournalError, match=r"journal\.db: it is not a SQLite database and was left as it is"):
            open_database(path, read_only=read_only)
    assert path.read_bytes() == garbage
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_another_programs_database_is_refused_and_left_as_it_is(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs(a)")
    before = path.read_bytes()
    with pytest.raises(JournalError, match="of another program"):
        open_database(path)
    assert path.read_bytes() == before


def test_a_truncated_file_is_refused_and_left_as_it_is(path: Path) -> None:
    whole = fill(path)
    for size in (100, 600, 4_000, 4_096, len(whole) - 4_096):
        path.write_bytes(whole[:size])
        with pytest.raises(JournalError, match=r"(corrupt|not a SQLite database).*left as it is"):
            open_database(path)
        assert path.read_bytes() == whole[:size]


def test_damaged_pages_are_found_by_a_check(path: Path) -> None:
    whole = fill(path)
    with opened(path) as database:
        database.check()
    path.write_bytes(whole[:-1_000])
    with opened(path) as database, pytest.raises(JournalError, match=r"journal\.db: it is corrupt"):
        database.check()
    page = len(whole) // 4_096 - 3
    path.write_bytes(whole[: page * 4_096] + b"\xa5" * 4_096 + whole[(page + 1) * 4_096 :])
    with opened(path) as database, pytest.raises(JournalError, match=r"journal\.db: it is corrupt"):
        database.check()
    with opened(path) as database, pytest.raises(JournalError, match=r"journal\.db: it is corrupt"):
        database.rows("SELECT * FROM snapshots")


def test_a_torn_end_of_the_log_loses_no_commit_but_the_torn_one(path: Path, tmp_path: Path) -> None:
    log = path.with_name("journal.db-wal")
    copy = tmp_path / "copy.db"
    with opened(path) as database:
        database.execute(INSERT, ("s", 1, b""))
        kept = log.stat().st_size
        database.execute(INSERT, ("s", 2, b""))
        copy.write_bytes(path.read_bytes())
        torn = log.read_bytes()[: kept + 2_000]
    copy.with_name("copy.db-wal").write_bytes(torn)
    with opened(copy) as database:
        database.check()
        assert database.rows("SELECT version FROM snapshots") == [(1,)]


def test_a_folder_or_a_device_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="not a regular file"):
        open_database(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(JournalError, match="not a regular file"):
        open_database(tmp_path / "pipe")
    with pytest.raises(JournalError, match="there is no folder"):
        open_database(tmp_path / "missing" / "journal.db")


@contextlib.contextmanager
def an_ordinary_user() -> Iterator[Path]:
    """Permissions mean nothing to root; gives a folder of the user that it becomes."""
    with tempfile.TemporaryDirectory(prefix="as-nobody-") as folder:
        if os.geteuid() != 0:
            yield Path(folder)
            return
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


def test_what_is_not_writable_is_refused_before_anything_is_made() -> None:
    with an_ordinary_user() as folder:
        path = folder / "journal.db"
        fill(path)
        path.chmod(0o400)
        with pytest.raises(JournalError, match=r"journal\.db is not writable"):
            open_database(path)
        path.chmod(0o000)
        with pytest.raises(JournalError, match=r"journal\.db is not readable"):
            open_database(path, read_only=True)
        path.chmod(0o600)
        folder.chmod(0o500)
        with pytest.raises(JournalError, match=r"its folder .* is not writable"):
            open_database(path)
        with pytest.raises(JournalError, match=r"its folder .* is not writable"):
            open_database(folder / "other.db")
        folder.chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file another's")
def test_another_owners_file_and_home_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    before = fill(path)
    refuse_foreign(tmp_path)
    refuse_foreign(tmp_path / "missing")
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(JournalError, match=rf"belongs to user {NOBODY}, not to user 0"):
        open_database(path)
    os.chown(tmp_path, NOBODY, NOBODY)
    with pytest.raises(JournalError, match=rf"belongs to user {NOBODY}, not to user 0"):
        refuse_foreign(tmp_path)
    assert path.read_bytes() == before


# --- a full disk, a held lock -------------------------------------------------------------------------------------


def test_a_full_disk_is_told_and_the_connection_stays_usable(path: Path) -> None:
    with opened(path) as database:
        pages = database.row("PRAGMA page_count")[0]
        database.row(f"PRAGMA max_page_count = {pages + 3}")
        with pytest.raises(JournalError, match=r"journal\.db: the disk is full and nothing was written"):
            insert(database, ("s", 1, b""), ("s", 2, b"x" * 100_000))
        assert count(database) == 0
        database.row("PRAGMA max_page_count = 1000000")
        insert(database, ("s", 2, b"x" * 100_000))
        assert count(database) == 1


def test_a_lock_that_is_not_given_up_is_told(path: Path) -> None:
    with opened(path) as one, opened(path, busy_timeout_s=0.05) as other:
        with one.transaction():
            with pytest.raises(JournalError, match="another process has held its lock for too long"):
                other.execute(INSERT, ("s", 1, b""))
            with pytest.raises(JournalError, match="another process has held its lock"), other.transaction():
                pass
            assert count(other) == 0  # readers never wait
        with other.transaction():
            other.execute(INSERT, ("s", 1, b""))
        assert count(one) == 1


# --- migrations ---------------------------------------------------------------------------------------------------


def test_an_older_file_is_brought_up_to_date_with_what_it_holds(path: Path) -> None:
    fill(path, rows=2)
    refused = rf"of schema version {NEWEST}, this program's is {NEWEST + 1}: open it once for writing"
    with pytest.raises(JournalError, match=refused):
        open_database(path, read_only=True, migrations=(*MIGRATIONS, ADD_COLUMN))
    with opened(path, migrations=(*MIGRATIONS, ADD_COLUMN)) as database:
        assert database.row("PRAGMA user_version") == (NEWEST + 1,)
        assert database.rows("SELECT version, note FROM snapshots") == [(0, None), (1, None)]
        assert database.rows("SELECT * FROM extra") == []
    with opened(path, migrations=(*MIGRATIONS, ADD_COLUMN)) as database:  # and only once
        assert count(database) == 2


def test_a_file_of_the_version_before_is_opened(path: Path) -> None:
    with opened(path, migrations=MIGRATIONS[:-1]) as database:
        insert(database, ("s", 1, b""))
    with opened(path) as database:
        assert database.row("PRAGMA user_version") == (NEWEST,)
        assert count(database) == 1


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    fill(path, rows=2)
    broken = ("CREATE TABLE extra(a)", "CREATE UNIQUE INDEX one ON snapshots(stream)")
    with pytest.raises(JournalError, match=f"can't be brought from schema version {NEWEST} to {NEWEST + 1}"):
        open_database(path, migrations=(*MIGRATIONS, broken))
    with opened(path) as database:
        assert database.row("PRAGMA user_version") == (NEWEST,)
        assert database.row("SELECT count(*) FROM sqlite_master WHERE name = 'extra'") == (0,)
        assert count(database) == 2


def test_a_newer_file_is_refused_and_left_as_it_is(path: Path) -> None:
    with opened(path, migrations=(*MIGRATIONS, ADD_COLUMN)):
        pass
    before = path.read_bytes()
    refused = rf"journal\.db is of schema version {NEWEST + 1}.*knows versions up to {NEWEST}: upgrade"
    for read_only in (False, True):
        with pytest.raises(JournalError, match=refused):
            open_database(path, read_only=read_only)
    assert path.read_bytes() == before


# --- threads, processes, forks ------------------------------------------------------------------------------------

OPEN_AND_WRITE = """
import sys
from antistrophe.storage.opening import open_database
sys.stdin.readline()
database = open_database(sys.argv[1])
with database.transaction():
    database.execute("INSERT INTO snapshots(stream, version, state, recorded_at) VALUES (?, 1, x'', 0)", (sys.argv[2],))
database.close()
"""


@pytest.mark.timeout(180)  # starts many processes, on a machine that may be busy
def test_several_processes_may_make_the_file_at_once(tmp_path: Path) -> None:
    for round_ in range(3):
        path = tmp_path / f"{round_}.db"
        children = [
            subprocess.Popen(
                [sys.executable, "-c", OPEN_AND_WRITE, str(path), str(number)], stdin=subprocess.PIPE, text=True
            )
            for number in range(6)
        ]
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.close()
        assert [child.wait(30) for child in children] == [0] * 6
        with opened(path) as database:
            assert count(database) == 6


def test_several_threads_may_make_the_file_and_share_a_connection(path: Path) -> None:
    barrier = threading.Barrier(8)
    problems: list[BaseException] = []

    def work(number: int, shared: Database) -> None:
        try:
            barrier.wait(10)
            with opened(path) as own, own.transaction():
                own.execute(INSERT, ("own", number, b""))
            for version in range(20):
                with shared.transaction():
                    before = count(shared)
                    shared.execute(INSERT, (f"shared-{number}", version, b""))
                    assert count(shared) == before + 1
        except BaseException as error:
            problems.append(error)

    with opened(path) as shared:
        threads = [threading.Thread(target=work, args=(number, shared)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert problems == []
        assert count(shared) == 8 * 21


def test_a_transaction_within_a_transaction_is_refused(path: Path) -> None:
    with opened(path) as database, database.transaction():
        database.execute(INSERT, ("s", 1, b""))
        with pytest.raises(RuntimeError, match="has a transaction open"), database.transaction():
            pass
        assert count(database) == 1


def test_a_database_in_memory_is_new_and_of_the_newest_schema(path: Path) -> None:
    first, second = open_in_memory(), open_in_memory()
    insert(first, ("s", 1, b""))
    assert (count(first), count(second)) == (1, 0)
    assert first.row("PRAGMA user_version") == (len(MIGRATIONS),)
    with contextlib.suppress(KeyboardInterrupt), first.transaction():
        first.execute(INSERT, ("s", 2, b""))
        raise KeyboardInterrupt
    assert count(first) == 1
    first.close()
    second.close()
    with pytest.raises(JournalError, match=":memory:: this connection is closed"):
        count(first)


def test_a_closed_connection_says_so(path: Path) -> None:
    database = open_database(path)
    database.close()
    database.close()
    for use in (lambda: database.row("SELECT 1"), lambda: database.execute("DELETE FROM claims"), database.begin):
        with pytest.raises(JournalError, match="is closed"):
            use()


def test_a_fork_can_not_use_the_connection(path: Path) -> None:
    with opened(path) as database:
        database.execute(INSERT, ("s", 1, b""))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                try:
                    count(database)
                except JournalError as error:
                    code = 0 if "can't be used in its fork" in str(error) else 2
                database.close()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert count(database) == 1
