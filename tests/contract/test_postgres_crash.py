"""A server of PostgreSQL that crashes, and crashes again, under writers, readers in order, projections and commands.

``ANTISTROPHE_CRASHES`` is how often (3).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from antistrophe.cqrs import Appends, CommandBus, EventStore, ProjectionRegistry, event
from antistrophe.errors import CommitUnknownError, JournalError
from tests.cqrs.totals import SqlTotals
from tests.postgres_cluster import PostgresCluster
from tests.postgres_fixtures import require_postgres

CRASHES = int(os.environ.get("ANTISTROPHE_CRASHES", "3"))
BETWEEN_S = 0.4
DEADLINE_S = 60.0

pytestmark = pytest.mark.timeout(180)  # a server comes back when it has read its log


@event("crash.counted")
@dataclass(frozen=True)
class Counted:
    name: str


@dataclass(frozen=True)
class Count:
    name: str


@pytest.fixture
def cluster() -> Iterator[PostgresCluster]:
    require_postgres()
    with PostgresCluster({"shared_buffers": "4MB", "max_connections": "40"}) as made:
        yield made


class Worker:
    """A thread that does its work again and again until ``over``, and again after the server has failed it."""

    def __init__(self, work: Callable[[int], object], over: threading.Event) -> None:
        self.done: list[int] = []
        self.unknown: list[int] = []
        self.failures = 0
        self.problem: BaseException | None = None
        self._work, self._over = work, over
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        number = 0
        try:
            while not self._over.is_set():
                number += 1
                try:
                    self._work(number)
                except CommitUnknownError:
                    self.unknown.append(number)
                except JournalError:
                    self.failures += 1
                    self._over.wait(0.01)
                else:
                    self.done.append(number)
        except BaseException as error:
            self.problem = error


def test_nothing_that_was_acknowledged_is_lost_or_doubled_over_crashes_of_the_server(
    cluster: PostgresCluster,
) -> None:
    url, over = cluster.url(), threading.Event()
    handled: list[str] = []
    with EventStore(url) as store, ProjectionRegistry(store) as registry:
        registry.register("totals", SqlTotals)
        registry.start_subscription()
        bus = CommandBus(store)

        @bus.handles(Count)
        def count(command: Count) -> Appends:
            handled.append(command.name)
            return Appends("commands", [Counted(command.name)])

        seen: list[int] = []
        subscription = store.subscribe()

        def follow(_: int) -> None:
            found = subscription.poll(0.05)
            if found is not None:
                seen.append(found.position)

        workers = [
            Worker(lambda number: store.append("a", [Counted(f"a{number}")]), over),
            Worker(lambda number: store.append("b", [Counted(f"b{number}")]), over),
            Worker(lambda number: bus.dispatch(Count(f"c{number}"), f"key {number}"), over),
        ]
        reader = Worker(follow, over)
        for _ in range(CRASHES):
            until = time.monotonic() + BETWEEN_S
            while time.monotonic() < until:
                time.sleep(0.01)
            cluster.restart("immediate")
        until = time.monotonic() + BETWEEN_S
        while time.monotonic() < until:
            time.sleep(0.01)
        over.set()
        for worker in (*workers, reader):
            worker.thread.join(DEADLINE_S)
            assert not worker.thread.is_alive()
            assert worker.problem is None

        head, deadline = store.head(), time.monotonic() + DEADLINE_S
        while (stored := store.read())[-1].position < head:  # a transaction of a projection may be open
            assert time.monotonic() < deadline
        names = [each.event.name for each in stored if isinstance(each.event, Counted)]
        assert len(names) == len(set(names)), "an event was stored twice"
        for worker, letter in zip(workers, "abc", strict=True):
            acknowledged = {f"{letter}{number}" for number in worker.done}
            maybe = {f"{letter}{number}" for number in worker.unknown}
            found = {name for name in names if name.startswith(letter)}
            assert acknowledged <= found <= acknowledged | maybe
            assert acknowledged
        for stream in ("a", "b", "commands"):
            versions = [each.version for each in store.read_stream(stream)]
            assert versions == list(range(1, len(versions) + 1))

        deadline = time.monotonic() + DEADLINE_S
        while (found_last := subscription.poll(0.5)) is not None:
            seen.append(found_last.position)
            assert time.monotonic() < deadline
        assert seen == [each.position for each in stored]
        registry.wait_for("totals", store.head(), DEADLINE_S)
        assert registry.get("totals").positions() == seen
        for number in workers[2].done:
            assert bus.dispatch(Count(f"c{number}"), f"key {number}") == [Counted(f"c{number}")]
        assert sum(worker.failures for worker in workers) > 0, "no crash was felt"
