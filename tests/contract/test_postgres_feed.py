"""The safe head of an ordered feed: whatever transactions are open, a reader by position misses nothing.

``ANTISTROPHE_FEED_S`` (seconds) makes the random run long.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from antistrophe.errors import JournalError
from antistrophe.storage.postgres import PostgresDatabase, open_postgres
from antistrophe.storage.postgres_feed import OrderedFeed, open_transactions
from tests.noticing import noticed
from tests.postgres_cluster import PostgresCluster

RUN_S = float(os.environ.get("ANTISTROPHE_FEED_S", "1.5"))
DEADLINE_S = 30.0
WRITERS = 8
INSERT = (
    "INSERT INTO antistrophe.events(position, stream, version, type, type_version, data, recorded_at)"
    " VALUES (nextval('antistrophe.event_positions'), gen_random_uuid()::text, 1, 't', 1, '', 0)"
)


class Writer:
    """A session of its own, with a transaction open from the first ``insert`` to ``end``."""

    def __init__(self, url: str, name: str = "writer") -> None:
        self.connection = psycopg.connect(url, application_name=name)

    def insert(self) -> None:
        self.connection.execute("SELECT pg_current_xact_id()")
        self.connection.execute(INSERT)

    def commit(self) -> None:
        self.connection.commit()


Sessions = Callable[..., Writer]


@pytest.fixture
def session(url: str) -> Iterator[Sessions]:
    """Makes writers, by default in the test's database."""
    made: list[Writer] = []

    def make(place: str = url, name: str = "writer") -> Writer:
        made.append(Writer(place, name))
        return made[-1]

    yield make
    for each in made:
        each.connection.close()


@pytest.fixture
def url(postgres_store_url: str) -> str:
    return postgres_store_url


@pytest.fixture
def database(url: str) -> Iterator[PostgresDatabase]:
    opened = open_postgres(url)
    yield opened
    opened.close()


def feed() -> OrderedFeed:
    return OrderedFeed("events", "event_positions")


def stored(database: PostgresDatabase) -> list[int]:
    return [row[0] for row in database.rows("SELECT position FROM events ORDER BY position")]


def read_behind(database: PostgresDatabase, last: int, head: int) -> list[int]:
    sql = "SELECT position FROM events WHERE position > ? AND position <= ? ORDER BY position"
    return [row[0] for row in database.rows(sql, (last, head))]


def wait_for_head(feed: OrderedFeed, database: PostgresDatabase, head: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while feed.safe_head(database) < head:
        assert time.monotonic() < deadline, f"the safe head did not come to {head}"
        time.sleep(0.002)


def heads_for_a_while(feed: OrderedFeed, database: PostgresDatabase) -> Iterator[int]:
    """What the safe head is until locks have been read."""
    until = time.monotonic() + 0.15
    yield feed.safe_head(database)
    while time.monotonic() < until:
        yield feed.safe_head(database)
    yield feed.safe_head(database)


# --- by hand ------------------------------------------------------------------------------------------------------


def test_a_position_is_not_passed_while_its_transaction_is_open(session: Sessions, database: PostgresDatabase) -> None:
    slow, fast, head = session(), session(), feed()
    assert head.safe_head(database) == 0
    slow.insert()
    fast.insert()
    fast.commit()

    assert stored(database) == [2]  # a query sees what is committed at once
    assert set(heads_for_a_while(head, database)) == {0}

    slow.commit()
    wait_for_head(head, database, 2)
    assert read_behind(database, 0, 2) == [1, 2]


def test_a_feed_that_goes_to_the_last_position_at_once_is_noticed(
    session: Sessions, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OrderedFeed, "safe_head", lambda _, asked: max(stored(asked), default=0))
    with noticed():
        test_a_position_is_not_passed_while_its_transaction_is_open(session, database)


def test_a_rolled_back_position_is_passed(session: Sessions, database: PostgresDatabase) -> None:
    writer, head = session(), feed()
    writer.insert()
    assert head.safe_head(database) == 0
    writer.connection.rollback()
    wait_for_head(head, database, 1)
    assert stored(database) == []


def test_a_transaction_that_writes_elsewhere_does_not_hold_the_feed_up(
    session: Sessions, database: PostgresDatabase, postgres_cluster: PostgresCluster
) -> None:
    other = session(postgres_cluster.url())
    other.connection.execute("SELECT pg_current_xact_id()")
    writer, head = session(), feed()
    writer.insert()
    writer.commit()
    assert head.safe_head(database) == 1
    other.connection.rollback()


def test_a_reader_that_was_shown_a_position_goes_on_from_there(session: Sessions, database: PostgresDatabase) -> None:
    writer, blocking, head = session(), session(), feed()
    writer.insert()
    writer.commit()
    blocking.insert()
    head.reached(1)
    assert head.safe_head(database) == 1
    blocking.connection.rollback()


def test_the_transaction_that_blocks_a_feed_is_named_without_what_it_does(
    session: Sessions, database: PostgresDatabase
) -> None:
    writer = session(name="nightly import")
    writer.insert()
    (found,) = open_transactions(database, "events")
    assert found.pid == writer.connection.info.backend_pid
    assert (found.application, found.user, found.state) == ("nightly import", "tests", "idle in transaction")
    assert found.since is not None
    assert found.query_since is not None
    assert found.since <= found.query_since
    assert "INSERT" not in repr(found)
    writer.commit()
    assert open_transactions(database, "events") == []


def test_a_prepared_transaction_blocks_a_feed_and_is_named(session: Sessions, database: PostgresDatabase) -> None:
    writer, head = session(), feed()
    writer.connection.tpc_begin(writer.connection.xid(1, "two phases", "x"))
    writer.insert()
    writer.connection.tpc_prepare()
    (found,) = open_transactions(database, "events")
    assert (found.pid, found.state) == (None, "prepared")
    assert found.application.startswith("1_")  # its number and names, as the driver has encoded them
    later = session()
    later.insert()
    later.commit()
    assert set(heads_for_a_while(head, database)) == {0}
    writer.connection.tpc_commit()
    wait_for_head(head, database, 2)


# --- what the numbers mean ----------------------------------------------------------------------------------------


class Numbers:
    """A server that gives these numbers."""

    where = "postgresql:///told"
    in_transaction = False
    started = datetime(2026, 1, 1, tzinfo=UTC)
    between = timedelta()

    def __init__(self) -> None:
        self.drawn = 0
        self.next_number = 1_000
        self.oldest: int | None = None  # the oldest transaction that is open
        self.snapshot_end: int | None = None
        self.standby = False

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        if "last_value" in sql:
            return [(self.drawn, self.started)]
        if "pg_locks" in sql:
            return [("3/17",)]
        end = self.next_number if self.snapshot_end is None else self.snapshot_end
        oldest = min(end, self.next_number if self.oldest is None else self.oldest)
        age = (self.next_number - 3) % 2**32
        return [(age if age < 2**31 else age - 2**32, oldest, end, self.standby, self.started + self.between)]


def test_a_transaction_that_the_snapshot_does_not_know_yet_counts() -> None:
    """The end of a snapshot is behind the last transaction that is over, and may be before ones that are open."""
    server, head = Numbers(), feed()
    server.drawn, server.next_number, server.snapshot_end = 5, 1_001, 1_000
    assert head.safe_head(server) == 0
    server.snapshot_end = 1_001
    assert head.safe_head(server) == 5


@pytest.mark.parametrize("epochs", [1, 2, 7])
@pytest.mark.parametrize("behind", [-3, -1, 0, 1, 5])
def test_numbers_go_on_from_one_epoch_to_the_next(epochs: int, behind: int) -> None:
    server, head = Numbers(), feed()
    server.next_number = epochs * 2**32 + behind
    server.drawn, server.oldest, server.snapshot_end = 5, server.next_number - 2, server.next_number - 1
    assert head.safe_head(server) == 0
    server.oldest = server.snapshot_end = server.next_number
    assert head.safe_head(server) == 5


def test_a_server_that_has_lost_numbers_does_not_stop_the_feed() -> None:
    server, head = Numbers(), feed()
    server.drawn, server.oldest = 5, 990
    assert head.safe_head(server) == 0
    server.next_number, server.oldest = 980, None  # another server took over
    assert head.safe_head(server) == 5


def test_an_older_state_of_the_database_is_followed() -> None:
    server, head = Numbers(), feed()
    server.drawn = 50
    assert head.safe_head(server) == 50
    server.drawn, server.oldest = 20, 990
    assert head.safe_head(server) == 0
    server.oldest = None
    assert head.safe_head(server) == 20


def test_a_server_that_was_started_anew_may_draw_positions_again() -> None:
    """Positions that were drawn in vain, and passed, before the crash; then drawn again, and further, at once."""
    server, head = Numbers(), feed()
    server.drawn = 40
    assert head.safe_head(server) == 40
    server.started += timedelta(seconds=5)
    server.drawn, server.oldest = 45, 995
    assert head.safe_head(server) == 0
    server.oldest = None
    assert head.safe_head(server) == 45
    server.drawn, server.between = 50, timedelta(seconds=1)  # it crashes between two questions
    assert head.safe_head(server) == 45
    server.started, server.between, server.drawn = server.started + server.between, timedelta(), 47
    assert head.safe_head(server) == 47


def test_within_a_transaction_a_feed_learns_nothing_new(session: Sessions, database: PostgresDatabase) -> None:
    writer, later, head = session(), session(), feed()
    writer.insert()
    writer.commit()
    wait_for_head(head, database, 1)
    with database.one_moment():
        assert head.safe_head(database) == 1
        later.insert()
        writer.insert()
        writer.commit()
        assert head.safe_head(database) == 1
    later.commit()
    wait_for_head(head, database, 3)


def test_a_feed_that_waits_long_remembers_a_bounded_number_of_heads_and_ends_at_the_last() -> None:
    server, head = Numbers(), feed()
    server.oldest = 1_000
    for drawn in range(1, 500):
        server.drawn, server.next_number = drawn, 1_000 + drawn
        assert head.safe_head(server) == 0
    server.oldest = None
    assert head.safe_head(server) == 499


def test_a_standby_is_refused() -> None:
    server, head = Numbers(), feed()
    assert head.safe_head(server) == 0
    server.drawn, server.standby = 1, True
    with pytest.raises(JournalError, match=r"told is a standby.*target_session_attrs"):
        head.safe_head(server)


# --- at random ----------------------------------------------------------------------------------------------------


class Readers:
    """Threads that read in order, each on its own connection, with one feed for all of a process."""

    def __init__(self, url: str, number: int) -> None:
        self.seen: list[list[int]] = [[] for _ in range(number)]
        self.over = threading.Event()
        self._url = url
        self._shared = feed()
        self._threads = [threading.Thread(target=self._read, args=(each, n)) for n, each in enumerate(self.seen)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def _read(self, seen: list[int], number: int) -> None:
        head = self._shared if number else feed()
        database = open_postgres(self._url)
        while True:
            last_round = self.over.is_set()
            safe = head.safe_head(database)
            found = read_behind(database, seen[-1] if seen else 0, safe)
            seen.extend(found)
            if last_round and not found and safe >= max(stored(database), default=0):
                break
        database.close()


def write_at_random(url: str, draw: random.Random, until: float) -> None:
    """Write until that moment, and ten transactions at least."""
    writer = Writer(url)
    for number in itertools.count():
        if number >= 10 and time.monotonic() >= until:
            break
        for _ in range(draw.randrange(1, 4)):
            writer.insert()
            if draw.random() < 0.3:
                writer.connection.execute("SELECT pg_sleep(%s)", (draw.random() * 0.03,))
        if draw.random() < 0.2:
            writer.connection.rollback()
        else:
            writer.commit()
    writer.connection.close()


def test_readers_miss_no_event_of_writers_whose_transactions_take_their_time(
    url: str, database: PostgresDatabase, run_seed: int
) -> None:
    readers = Readers(url, 3)
    readers.start()
    until = time.monotonic() + RUN_S
    writers = [
        threading.Thread(target=write_at_random, args=(url, random.Random(run_seed + each), until))
        for each in range(WRITERS)
    ]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join(RUN_S + DEADLINE_S)
    readers.over.set()
    readers.join()
    committed = stored(database)
    assert len(committed) > WRITERS
    assert [len(seen) for seen in readers.seen] == [len(committed)] * 3
    assert readers.seen == [committed] * 3


def test_a_reader_goes_on_after_a_dump_and_a_restore(
    url: str,
    database: PostgresDatabase,
    session: Sessions,
    postgres_cluster: PostgresCluster,
    run_seed: int,
) -> None:
    """Its position, stored beside the events, means the same in the copy, although transactions were open."""
    database.run("CREATE TABLE reader(position bigint)")
    database.run("INSERT INTO reader VALUES (0)")
    until = time.monotonic() + RUN_S / 2
    writers = [
        threading.Thread(target=write_at_random, args=(url, random.Random(run_seed + each), until)) for each in range(3)
    ]
    for thread in writers:
        thread.start()
    head, seen, dump = feed(), list[int](), postgres_cluster.folder / "out" / "dump"
    dumping = threading.Thread(
        target=lambda: postgres_cluster.run("pg_dump", "-Fc", "-f", str(dump), "-d", url), daemon=True
    )
    while time.monotonic() < until or dumping.ident is None or dumping.is_alive():
        seen += read_behind(database, seen[-1] if seen else 0, head.safe_head(database))
        database.execute("UPDATE reader SET position = ?", (seen[-1] if seen else 0,))
        if len(seen) > 3 and dumping.ident is None:
            dumping.start()
    for thread in (*writers, dumping):
        thread.join(DEADLINE_S)
    with postgres_cluster.database() as copy_url:
        postgres_cluster.run("pg_restore", "-d", copy_url, str(dump))
        copy = open_postgres(copy_url)
        ((reached,),) = copy.rows("SELECT position FROM reader")
        writer = session(copy_url)
        writer.insert()
        writer.commit()
        new = feed()
        wait_for_head(new, copy, stored(copy)[-1])
        went_on = read_behind(copy, reached, new.safe_head(copy))
        assert [each for each in seen if each <= reached] + went_on == stored(copy)
        assert reached > 0
        writer.connection.close()
        copy.close()
