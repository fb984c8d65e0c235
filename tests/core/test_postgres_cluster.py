"""The throw-away servers of the tests: one database for each test, restarts, crashes, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import postgres_fixtures
from tests.postgres_cluster import PostgresCluster, lives
from tests.postgres_fixtures import require_postgres

OWN = {"shared_buffers": "1MB", "max_connections": "10"}

DYING = """
import os, sys
from tests.postgres_cluster import PostgresCluster, lives
cluster = PostgresCluster({"shared_buffers": "1MB", "max_connections": "10"})
cluster.start()
print(cluster.pid, cluster.folder, flush=True)
sys.stdin.read()
"""


def database_of(url: str) -> str:
    return url.partition("///")[2].partition("?")[0]


def test_each_test_has_an_empty_database_of_its_own(postgres_cluster: PostgresCluster, postgres_url: str) -> None:
    mine = database_of(postgres_url)
    postgres_cluster.sql("CREATE TABLE marks(name text)", mine)

    with postgres_cluster.database() as url:
        other = database_of(url)
        assert other != mine
        assert postgres_cluster.sql("SELECT count(*) FROM pg_tables WHERE tablename = 'marks'", other) == ["0"]

    assert postgres_cluster.sql(f"SELECT datname FROM pg_database WHERE datname IN ('{mine}', '{other}')") == [mine]


def test_a_template_is_prepared_once(postgres_cluster: PostgresCluster) -> None:
    prepared: list[str] = []

    def prepare(url: str) -> None:
        prepared.append(url)
        postgres_cluster.sql("CREATE TABLE marks(name text); INSERT INTO marks VALUES ('here')", database_of(url))

    for _ in range(2):
        with postgres_cluster.database(postgres_cluster.template("of_this_test", prepare)) as url:
            assert postgres_cluster.sql("SELECT name FROM marks", database_of(url)) == ["here"]
    assert len(prepared) == 1


def test_a_database_is_emptied_for_the_next_test_and_made_anew_where_it_was_spoilt(
    postgres_cluster: PostgresCluster,
) -> None:
    made: list[str] = []

    def prepare(url: str) -> None:
        made.append(url)
        postgres_cluster.sql(
            "CREATE SCHEMA antistrophe; CREATE TABLE antistrophe.marks(n int); CREATE SEQUENCE antistrophe.numbers",
            database_of(url),
        )

    for round_ in range(3):
        name = database_of(postgres_cluster.emptied("of_this_test_too", prepare))
        assert postgres_cluster.sql("SELECT count(*), nextval('antistrophe.numbers') FROM antistrophe.marks", name) == [
            "0|1"
        ]
        postgres_cluster.sql("INSERT INTO antistrophe.marks VALUES (1); CREATE TABLE mine(n int)", name)
        if round_ == 1:
            postgres_cluster.sql(
                "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END';"
                " CREATE TRIGGER stop BEFORE DELETE ON antistrophe.marks FOR EACH ROW EXECUTE FUNCTION stop()",
                name,
            )
    assert len(made) == 2


def test_the_server_is_reached_through_its_socket_alone(postgres_cluster: PostgresCluster) -> None:
    assert postgres_cluster.sql("SHOW listen_addresses") == [""]
    assert postgres_cluster.folder.is_dir()
    assert os.stat(postgres_cluster.sockets).st_mode & 0o077 == 0


def test_what_was_committed_outlives_a_crash_and_a_kill_of_the_server() -> None:
    require_postgres()
    with PostgresCluster(OWN) as cluster:
        cluster.sql("CREATE TABLE marks(number int); INSERT INTO marks VALUES (1)")
        cluster.restart("immediate")
        cluster.sql("INSERT INTO marks VALUES (2)")
        cluster.kill()
        assert not cluster.is_ready()
        cluster.start()
        assert cluster.sql("SELECT number FROM marks ORDER BY number") == ["1", "2"]
        folder = cluster.folder
    assert not folder.exists()


def test_the_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    require_postgres()
    with subprocess.Popen(
        [sys.executable, "-c", DYING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as starter:
        assert starter.stdout is not None
        pid, folder = starter.stdout.readline().split()
        assert lives(int(pid))
        starter.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 30
        while lives(int(pid)):
            assert time.monotonic() < deadline, "the server outlived the process that started it"
            time.sleep(0.01)
    shutil.rmtree(folder)


def test_without_postgresql_a_test_is_skipped_and_in_ci_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_fixtures, "binaries", lambda: None)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install postgresql"):
        require_postgres()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install postgresql"):
        require_postgres()
