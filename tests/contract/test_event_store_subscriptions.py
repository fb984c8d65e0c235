"""Subscriptions of the event store: each event once and in order, from any position, only after its commit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from antistrophe.definition.events import event
from antistrophe.eventstore import subscription as waiting
from antistrophe.eventstore.recorded import RecordedEvent
from antistrophe.eventstore.store import EventStore
from antistrophe.eventstore.subscription import Subscription
from tests.waiting import until

DEADLINE_S = 20.0


@event("subscription.counted")
@dataclass(frozen=True)
class Counted:
    number: int


def counted(first: int, last: int) -> list[Counted]:
    return [Counted(number) for number in range(first, last + 1)]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    place = ":memory:" if request.param == "memory" else tmp_path / "events.db"
    with EventStore(place, synchronous="NORMAL") as opened:
        yield opened


class Reader:
    """Reads a subscription to its end in a thread of its own."""

    def __init__(self, subscription: Subscription, look: Callable[[RecordedEvent], object] | None = None) -> None:
        self.seen: list[int] = []
        self.problems: list[BaseException] = []
        self._subscription = subscription
        self._look = look
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        try:
            for each in self._subscription:
                if self._look is not None:
                    self._look(each)
                self.seen.append(each.position)
        except BaseException as error:
            self.problems.append(error)

    def has_seen(self, count: int) -> None:
        until(lambda: len(self.seen) >= count or self.problems, f"{count} events")
        assert self.problems == []

    def ended(self) -> list[int]:
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()
        assert self.problems == []
        return self.seen


def need_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits does not look by itself, within the time that a test has."""
    monkeypatch.setattr(waiting, "_SHORTEST_WAIT_S", 3600.0)
    monkeypatch.setattr(waiting, "_LONGEST_WAIT_S", 3600.0)


def test_what_is_there_comes_first_and_then_what_is_new(store: EventStore) -> None:
    store.append("a", counted(1, 3))
    with store.subscribe() as subscription:
        assert [next(subscription).position for _ in range(3)] == [1, 2, 3]
        assert subscription.poll() is None
        store.append("b", counted(4, 5))
        assert [next(subscription).event for _ in range(2)] == counted(4, 5)
        assert subscription.position == 5


@pytest.mark.parametrize("position", [0, 1, 599, 600, 601])
def test_it_begins_behind_any_position(store: EventStore, position: int) -> None:
    store.append("a", counted(1, 600))
    reader = Reader(store.subscribe(position))
    store.append("a", counted(601, 700))
    reader.has_seen(700 - position)
    store.close()
    assert reader.ended() == list(range(position + 1, 701))


def test_each_reader_gets_each_event_once_and_in_order(store: EventStore) -> None:
    readers = [Reader(store.subscribe()) for _ in range(4)]
    writers = [threading.Thread(target=lambda: [store.append("s", counted(1, 2)) for _ in range(50)]) for _ in range(3)]
    for writer in writers:
        writer.start()
    for reader in readers:
        reader.has_seen(300)
    store.close()
    for reader in readers:
        assert reader.ended() == list(range(1, 301))


def test_of_several_threads_on_one_subscription_each_event_goes_to_one(store: EventStore) -> None:
    subscription = store.subscribe()
    readers = [Reader(subscription) for _ in range(4)]
    for _ in range(100):
        store.append("s", counted(1, 3))
    until(lambda: sum(len(reader.seen) for reader in readers) == 300, "all to be seen")
    subscription.close()
    parts = [reader.ended() for reader in readers]
    assert sorted(position for part in parts for position in part) == list(range(1, 301))
    assert all(part == sorted(part) for part in parts)


def test_nothing_is_told_before_its_commit_or_without_one(store: EventStore) -> None:
    reader = Reader(store.subscribe())
    failed = False
    try:
        with store.transaction() as transaction:
            transaction.append("s", counted(1, 2))
            raise KeyError  # what a subscriber has heard of by now would be a phantom
    except KeyError:
        failed = True
    assert failed
    with store.transaction() as transaction:
        transaction.append("s", counted(3, 4))
        with store.subscribe() as other:
            assert other.poll(0.02) is None
    reader.has_seen(2)
    store.close()
    assert reader.ended() == [1, 2]


def test_a_slow_reader_costs_a_writer_nothing(store: EventStore) -> None:
    stop = threading.Event()
    with store.subscribe() as subscription:
        reader = Reader(subscription, look=lambda _: stop.wait(DEADLINE_S))
        for _ in range(200):
            store.append("s", counted(1, 5))
        assert store.head() == 1000
        assert len(reader.seen) <= 1
        stop.set()
        reader.has_seen(1000)
    assert reader.ended() == list(range(1, 1001))


@pytest.mark.parametrize("end", ["subscription", "store"])
def test_who_waits_is_woken_by_the_end(store: EventStore, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    need_not_look(monkeypatch)
    subscription = store.subscribe()
    store.append("s", counted(1, 1))
    reader = Reader(subscription)
    reader.has_seen(1)
    (subscription if end == "subscription" else store).close()
    assert reader.ended() == [1]
    assert list(subscription) == []
    assert subscription.poll(0.01) is None


def test_events_that_were_not_asked_for_are_not_handed_out_after_the_end(store: EventStore) -> None:
    store.append("s", counted(1, 3))
    subscription = store.subscribe()
    next(subscription)
    subscription.close()
    assert list(subscription) == []


def test_a_poll_waits_as_long_as_it_was_told_to(store: EventStore) -> None:
    subscription = store.subscribe()
    for timeout_s in (0.0, 0.05):
        begun = time.monotonic()
        assert subscription.poll(timeout_s) is None
        assert timeout_s <= time.monotonic() - begun < timeout_s + DEADLINE_S
    reader = Reader(subscription)
    until(subscription._reader.locked, "the reader")
    assert subscription.poll(0.01) is None  # another thread waits as the reader
    subscription.close()
    assert reader.ended() == []


def test_who_waits_in_this_process_is_told_and_need_not_look(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_not_look(monkeypatch)
    reader = Reader(store.subscribe())
    for number in range(1, 31):
        store.append("s", [Counted(number)])
        reader.has_seen(number)
    store.close()
    assert reader.ended() == list(range(1, 31))


def test_a_reader_of_another_store_on_the_same_file_hears_soon(tmp_path: Path) -> None:
    with EventStore(tmp_path / "events.db") as writer, EventStore(tmp_path / "events.db") as other:
        reader = Reader(other.subscribe())
        for _ in range(20):
            writer.append("s", counted(1, 2))
        reader.has_seen(40)
        other.close()
        assert reader.ended() == list(range(1, 41))


def test_closing_while_many_read_and_write_ends_all(tmp_path: Path) -> None:
    for _ in range(5):
        store = EventStore(tmp_path / "events.db", synchronous="NORMAL")
        readers = [Reader(store.subscribe()) for _ in range(6)]
        store.append("s", counted(1, 20))
        readers[0].has_seen(20)
        store.close()
        for reader in readers:
            reader.ended()
