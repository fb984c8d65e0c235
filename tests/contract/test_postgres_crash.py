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

from antistrophe.cqrs import Appends, CommandBus, EventStore, ProjectionRegistry, RecordedEvent, event
from antistrophe.errors import CommitUnknownError, JournalError
from tests.cqrs.totals import SqlTotals
from tests.postgres_cluster import PostgresCluster
from tests.postgres_fixtures import require_postgres
from tests.waiting import until

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


class Shop:
    """A store with a projection, a subscription and a command bus, and a thread for each."""

    def __init__(self, store: EventStore, registry: ProjectionRegistry) -> None:
        self.store, self.registry = store, registry
        registry.register("totals", SqlTotals)
        registry.start_subscription()
        self.bus = CommandBus(store)
        self.bus.register(Count, lambda command: Appends("commands", [Counted(command.name)]))
        self.subscription = store.subscribe()
        self.seen: list[int] = []
        self.over = threading.Event()
        self.writers = {
            "a": Worker(lambda number: store.append("a", [Counted(f"a{number}")]), self.over),
            "b": Worker(lambda number: store.append("b", [Counted(f"b{number}")]), self.over),
            "c": Worker(lambda number: self.bus.dispatch(Count(f"c{number}"), f"key {number}"), self.over),
        }
        self.reader = Worker(lambda _: self.follow(0.05), self.over)

    def follow(self, timeout_s: float) -> bool:
        found = self.subscription.poll(timeout_s)
        if found is not None:
            self.seen.append(found.position)
        return found is not None

    def end(self) -> None:
        self.over.set()
        for worker in (*self.writers.values(), self.reader):
            worker.thread.join(DEADLINE_S)
            assert not worker.thread.is_alive()
            assert worker.problem is None

    def stored(self) -> list[RecordedEvent]:
        """All events in order, once no transaction of the projection is before the last."""
        head, deadline = self.store.head(), time.monotonic() + DEADLINE_S
        while (stored := self.store.read())[-1].position < head:
            assert time.monotonic() < deadline
        return stored


def wait_for_writers(shop: Shop) -> None:
    """Wait for a moment, and until each writer has been told again that something is stored."""
    at, before = time.monotonic() + BETWEEN_S, {name: len(worker.done) for name, worker in shop.writers.items()}
    until(
        lambda: time.monotonic() > at and all(len(shop.writers[name].done) > before[name] for name in before),
        "each writer has written",
        DEADLINE_S,
    )


def check_what_is_stored(shop: Shop, stored: list[RecordedEvent]) -> None:
    names = [each.event.name for each in stored if isinstance(each.event, Counted)]
    assert len(names) == len(set(names)), "an event was stored twice"
    for letter, worker in shop.writers.items():
        acknowledged = {f"{letter}{number}" for number in worker.done}
        maybe = {f"{letter}{number}" for number in worker.unknown}
        assert acknowledged
        assert acknowledged <= {name for name in names if name.startswith(letter)} <= acknowledged | maybe
    for stream in ("a", "b", "commands"):
        versions = [each.version for each in shop.store.read_stream(stream)]
        assert versions == list(range(1, len(versions) + 1))


def test_nothing_that_was_acknowledged_is_lost_or_doubled_over_crashes_of_the_server(cluster: PostgresCluster) -> None:
    with EventStore(cluster.url()) as store, ProjectionRegistry(store) as registry:
        shop = Shop(store, registry)
        for _ in range(CRASHES):
            wait_for_writers(shop)
            cluster.restart("immediate")
        wait_for_writers(shop)
        shop.end()
        assert sum(worker.failures for worker in shop.writers.values()) > 0, "no crash was felt"
        stored = shop.stored()
        check_what_is_stored(shop, stored)
        deadline = time.monotonic() + DEADLINE_S
        while len(shop.seen) < len(stored) and time.monotonic() < deadline:
            shop.follow(0.5)
        assert not shop.follow(0.1), "nothing more comes"
        assert shop.seen == [each.position for each in stored]
        registry.wait_for("totals", store.head(), DEADLINE_S)
        assert registry.get("totals").positions() == shop.seen
        for number in shop.writers["c"].done:
            assert shop.bus.dispatch(Count(f"c{number}"), f"key {number}") == [Counted(f"c{number}")]
