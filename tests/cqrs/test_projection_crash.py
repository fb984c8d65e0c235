"""Projections in processes that are killed with SIGKILL: state and position never disagree, and nothing is doubled."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from antistrophe.cqrs.projection_registry import ProjectionRegistry
from antistrophe.eventstore.store import EventStore
from antistrophe.serialization.payload import unpack_payload
from antistrophe.storage.database import Database
from antistrophe.storage.opening import open_database
from tests.cqrs.totals import SavedTotals, SqlTotals, pay
from tests.house.tree import ROOT
from tests.waiting import until

pytestmark = pytest.mark.timeout(180)  # starts many processes, on a machine that may be busy

kept_kinds = pytest.mark.parametrize("kind", [SavedTotals, SqlTotals])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@contextmanager
def projector(file: Path, kind: type, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is killed at the end."""
    command = [sys.executable, "-m", "tests.cqrs.projector", str(file), kind.__name__, *options]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield process
        assert process.poll() is None, "it ended by itself"
    finally:
        process.kill()
        process.wait()


def row_of(database: Database) -> Any:
    return database.row("SELECT position, generation, last_generation, state FROM projections") or (0, 0, 0, None)


def column(number: int, database: Database) -> int:
    return int(row_of(database)[number])


def in_file(kind: Any, database: Database) -> list[int]:
    """What the state in the file holds, as a process that starts now would find it."""
    _, generation, _, state = row_of(database)
    if kind is SavedTotals:
        return [] if state is None else list(unpack_payload(state)["seen"])
    rows = database.rows(f'SELECT position FROM "projection:totals:{generation}:seen" ORDER BY turn')
    return [row[0] for row in rows]


def is_beyond(read: Callable[[Database], int], database: Database, count: int) -> bool:
    return read(database) > count


@kept_kinds
def test_wherever_a_follower_is_killed_each_event_counts_once(file: Path, kind: Any, run_seed: int) -> None:
    draw = random.Random(run_seed)
    position_in = partial(column, 0)
    with EventStore(file) as store:
        database = open_database(file, read_only=True)
        for life in range(5):
            pay(store, draw.randrange(200, 2000))
            with projector(file, kind):
                before = column(0, database)
                aim = before + draw.randrange(0, max(1, store.head() - before))
                until(partial(is_beyond, position_in, database, aim), f"progress in life {life}")
            assert in_file(kind, database) == list(range(1, column(0, database) + 1))
        database.close()
        with ProjectionRegistry(store) as registry:
            registry.register("totals", kind)
            registry.start_subscription()
            registry.wait_for("totals", store.head(), 30)
            assert registry.get("totals").positions() == list(range(1, store.head() + 1))
            assert registry.get("totals").total("A") == store.head()


@kept_kinds
def test_wherever_a_rebuild_is_killed_what_answers_is_whole(file: Path, kind: Any, run_seed: int) -> None:
    draw = random.Random(run_seed)
    with EventStore(file) as store:
        pay(store, 3_000)
        database = open_database(file, read_only=True)
        for life in range(3):
            number = draw.choice([1, 2]) if kind is SqlTotals else 1  # after one was finished, or only begun
            with projector(file, kind, "rebuild"):
                aim = column(number, database) + draw.randrange(0, 2)
                until(partial(is_beyond, partial(column, number), database, aim), f"a rebuild in life {life}")
            position = column(0, database)
            assert position in (0, 3_000)
            assert in_file(kind, database) == list(range(1, position + 1))
        with ProjectionRegistry(store) as registry:
            registry.register("totals", kind)
            registry.rebuild("totals")
            registry.rebuild("totals")
            assert registry.get("totals").positions() == list(range(1, 3_001))
        generations = {
            name.split(":")[2]
            for (name,) in database.rows("SELECT name FROM sqlite_master WHERE name LIKE 'projection:%'")
        }
        newest = column(1, database)
        assert generations == (set() if kind is SavedTotals else {str(newest - 1), str(newest)})
        database.close()


def test_processes_that_share_tables_take_in_each_event_once(file: Path) -> None:
    with EventStore(file) as store:
        pay(store, 500)
        with ProjectionRegistry(store) as registry:
            registry.register("totals", SqlTotals)
            with projector(file, SqlTotals), projector(file, SqlTotals):
                for _ in range(100):
                    pay(store, 10)
                with projector(file, SqlTotals, "rebuild"):
                    for _ in range(100):
                        pay(store, 10)
                database = open_database(file, read_only=True)
                until(partial(is_beyond, partial(column, 0), database, 2_499), "the last event")
                database.close()
            registry.start_subscription()
            registry.wait_for("totals", 2_500, 30)
            assert registry.get("totals").positions() == list(range(1, 2_501))
