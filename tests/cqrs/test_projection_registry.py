"""Projections of every kind: caught up, kept up to date, looked at and waited for."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from antistrophe.cqrs.projection_registry import ProjectionRegistry
from antistrophe.errors import CqrsError, ProjectionNotFoundError
from antistrophe.eventstore.recorded import RecordedEvent
from antistrophe.eventstore.store import EventStore
from antistrophe.eventstore.versions import VersionRegistry
from tests.cqrs.shop import UserGreeted
from tests.cqrs.totals import KINDS, MemoryTotals, SavedTotals, SqlTotals, pay
from tests.cqrs.user_versions import UserV1, UserV2
from tests.waiting import until

every_kind = pytest.mark.parametrize("kind", KINDS)


# --- following ----------------------------------------------------------------------------------------------------


@every_kind
def test_a_projection_catches_up_and_then_follows(registry: ProjectionRegistry, store: EventStore, kind: Any) -> None:
    pay(store, 1000)
    registry.register("totals", kind)
    assert registry.get("totals").positions() == []  # nothing happens before the start
    registry.start_subscription()
    registry.wait_for("totals", 1000, 30)
    for count in range(20):
        position = pay(store, 1, amount=2)
        registry.wait_for("totals", position, 30)
        assert registry.get("totals").total("A") == 1000 + 2 * (count + 1)
    assert registry.get("totals").positions() == list(range(1, 1021))


@every_kind
def test_in_memory_too_where_no_file_is_needed(kind: Any) -> None:
    with EventStore(":memory:") as store, ProjectionRegistry(store) as registry:
        if kind is SqlTotals:
            with pytest.raises(CqrsError, match="needs an event store in a SQLite file"):
                registry.register("totals", kind)
            assert registry.count == 0
            return
        registry.register("totals", kind)
        registry.start_subscription()
        registry.wait_for("totals", pay(store, 300), 30)
        registry.rebuild("totals")
        assert registry.get("totals").total("A") == 300


@every_kind
def test_starting_twice_and_starting_again_apply_nothing_twice(
    registry: ProjectionRegistry, store: EventStore, kind: Any
) -> None:
    registry.register("totals", kind)
    for _ in range(5):
        registry.start_subscription()
        registry.start_subscription()
        position = pay(store, 50)
        registry.wait_for("totals", position, 30)
        registry.stop()
        registry.stop()
        pay(store, 10)  # while nobody follows
    registry.start_subscription()
    registry.wait_for("totals", 300, 30)
    assert registry.get("totals").positions() == list(range(1, 301))


def test_starting_from_many_threads_starts_each_once(registry: ProjectionRegistry, store: EventStore) -> None:
    pay(store, 500)
    for number in range(4):
        registry.register(f"totals-{number}", MemoryTotals)
    threads = [threading.Thread(target=registry.start_subscription) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        registry.wait_for(f"totals-{number}", pay(store, 1), 30)
        assert len([each for each in threading.enumerate() if each.name == f"projection-totals-{number}"]) == 1
        assert registry.get(f"totals-{number}").positions() == list(range(1, 502 + number))


@every_kind
def test_one_that_is_registered_later_follows_as_well(
    registry: ProjectionRegistry, store: EventStore, kind: Any
) -> None:
    registry.start_subscription()
    pay(store, 10)
    registry.register("late", kind)
    registry.wait_for("late", pay(store, 1), 30)
    assert registry.get("late").total("A") == 11


@every_kind
def test_commits_of_another_connection_arrive_as_well(
    registry: ProjectionRegistry, store: EventStore, kind: Any, place: str | Path
) -> None:
    registry.register("totals", kind)
    registry.start_subscription()
    with EventStore(place) as other:
        registry.wait_for("totals", pay(other, 5), 30)
    assert registry.get("totals").total("A") == 5


@every_kind
def test_many_writers_one_order(registry: ProjectionRegistry, store: EventStore, kind: Any) -> None:
    registry.register("totals", kind)
    registry.start_subscription()
    threads = [threading.Thread(target=lambda: [pay(store, 3) for _ in range(30)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    registry.wait_for("totals", 360, 30)
    assert registry.get("totals").positions() == list(range(1, 361))


def test_old_events_reach_projections_in_their_newest_form(tmp_path: Path) -> None:
    class Names:
        def __init__(self) -> None:
            self.seen: list[object] = []

        def apply(self, recorded_event: RecordedEvent) -> None:
            self.seen.append(recorded_event.event)

    versions = VersionRegistry()

    @versions.upcaster("versions.user", from_version=1, to_version=3)
    def to_third(data: dict[str, Any]) -> dict[str, Any]:
        return {"first": data["name"], "last": "", "email": "e"}

    @versions.upcaster("versions.user", from_version=2)
    def second(data: dict[str, Any]) -> dict[str, Any]:
        return {"first": data["name"], "last": "2", "email": data["email"]}

    with EventStore(tmp_path / "events.db", versions=versions) as store, ProjectionRegistry(store) as registry:
        store.append("users", [UserV1("Ada"), UserV2("Eve", "x")])
        registry.register("names", Names)
        registry.start_subscription()
        registry.wait_for("names", 2, 30)
        live = registry.get("names").seen
        assert [(each.first, each.last, each.email) for each in live] == [("Ada", "", "e"), ("Eve", "2", "x")]
        registry.rebuild("names")
        assert registry.get("names").seen == live


# --- looking ------------------------------------------------------------------------------------------------------


@every_kind
def test_metadata_tells_where_it_stands(registry: ProjectionRegistry, store: EventStore, kind: Any) -> None:
    before = datetime.now(UTC)
    registry.register("totals", kind)
    registry.register("other", kind)
    pay(store, 7)
    start = registry.get_metadata("totals")
    assert (start.name, start.position, start.updated_at, start.lag) == ("totals", 0, None, 7)
    assert (start.rebuilding, start.failed) == (False, None)
    registry.start_subscription()
    registry.wait_for("totals", 7, 30)
    registry.wait_for("other", 7, 30)
    first, second = registry.get_all_metadata()
    assert (first.name, first.position, first.lag, second.name, second.position) == ("totals", 7, 0, "other", 7)
    assert first.updated_at is not None
    assert before <= first.updated_at <= datetime.now(UTC)


def test_waiting_has_a_limit_and_may_be_for_the_past(registry: ProjectionRegistry, store: EventStore) -> None:
    registry.register("totals", MemoryTotals)
    registry.wait_for("totals", 0, 0)
    registry.start_subscription()
    with pytest.raises(TimeoutError, match=r"'totals' is at position 0 after 0.05 s, and not at 1"):
        registry.wait_for("totals", 1, 0.05)
    registry.wait_for("totals", pay(store, 3))
    registry.wait_for("totals", 2, 0)


NOT_FOLLOWED = r"'totals' is at position \d+ and does not follow .* call start_subscription\(\) first"


@every_kind
def test_to_wait_for_what_never_comes_is_refused_at_once(
    registry: ProjectionRegistry, store: EventStore, kind: Any
) -> None:
    registry.register("totals", kind)
    position = pay(store, 3)
    with pytest.raises(CqrsError, match=NOT_FOLLOWED):
        registry.wait_for("totals", position)
    registry.start_subscription()
    registry.wait_for("totals", position, 30)
    registry.stop()
    registry.wait_for("totals", position, 0)
    with pytest.raises(CqrsError, match=NOT_FOLLOWED):
        registry.wait_for("totals", position + 1)
    registry.start_subscription()
    registry.wait_for("totals", pay(store, 1), 30)


@pytest.mark.parametrize("end", ["registry", "store"])
def test_who_waits_while_all_of_it_is_stopped_is_told(
    registry: ProjectionRegistry, store: EventStore, end: str
) -> None:
    registry.register("totals", MemoryTotals)
    registry.start_subscription()
    told: list[Exception] = []

    def wait() -> None:
        try:
            registry.wait_for("totals", 99)
        except CqrsError as error:
            told.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    until(lambda: registry._follower("totals")._waiters == 1, "somebody waits")
    (registry.stop if end == "registry" else store.close)()
    waiter.join(30)
    assert len(told) == 1
    assert ("call start_subscription() first" if end == "registry" else "the store is closed") in str(told[0])


@pytest.mark.parametrize("place", ["file"], indirect=True)  # each look at the lag is a query elsewhere
def test_while_one_reads_nothing_changes(registry: ProjectionRegistry, store: EventStore) -> None:
    class Halves:
        """Its two sides differ only within ``apply``."""

        def __init__(self) -> None:
            self.left = self.right = 0

        def apply(self, recorded_event: RecordedEvent) -> None:
            self.left += 1
            sorted(range(500))
            self.right += 1

    registry.register("halves", Halves)
    pay(store, 5_000)
    registry.start_subscription()
    reads, last = 0, 5_000
    deadline = time.monotonic() + 30
    while (behind := registry.get_metadata("halves").lag) or reads <= 20:
        assert time.monotonic() < deadline, "the follower keeps the readers out"
        if not behind:  # this thread stood still meanwhile
            last = pay(store, 5_000)
            continue
        with registry.reading("halves") as halves, registry.reading("halves") as again:
            assert halves is again
            assert halves.left == halves.right
        reads += 1
    assert registry.get("halves").right == last


def test_a_table_can_be_read_while_a_transaction_is_open(registry: ProjectionRegistry, store: EventStore) -> None:
    applying, go_on = threading.Event(), threading.Event()

    class Slow(SqlTotals):
        def apply_in(self, connection: Any, recorded_event: RecordedEvent) -> None:
            super().apply_in(connection, recorded_event)
            if recorded_event.position == 3:
                applying.set()
                assert go_on.wait(30)

    registry.register("slow", Slow)
    registry.start_subscription()
    registry.wait_for("slow", pay(store, 2), 30)
    pay(store, 1)
    assert applying.wait(30)
    assert registry.get("slow").positions() == [1, 2]  # the committed state, and no wait
    go_on.set()
    registry.wait_for("slow", 3, 30)


# --- wrong use ----------------------------------------------------------------------------------------------------


def test_an_unknown_name_is_told_by_every_question(registry: ProjectionRegistry) -> None:
    registry.register("known", MemoryTotals)
    for ask in (registry.get, registry.rebuild, registry.get_metadata, registry.reading):
        with pytest.raises(ProjectionNotFoundError, match="no projection 'unknown'; registered: 'known'"):
            ask("unknown")
    with pytest.raises(ProjectionNotFoundError):
        registry.wait_for("unknown", 1, 1)


def test_a_name_can_be_taken_once(registry: ProjectionRegistry) -> None:
    registry.register("totals", MemoryTotals)
    mine = registry.get("totals")
    with pytest.raises(CqrsError, match="'totals' already"):
        registry.register("totals", SavedTotals)
    assert registry.get("totals") is mine
    assert registry.count == 1


@pytest.mark.parametrize(
    ("name", "factory", "message"),
    [
        ("", MemoryTotals, "must be a text of at least one character"),
        (5, MemoryTotals, "must be a text of at least one character"),
        ("totals \udcff", MemoryTotals, r"lone surrogate can't be stored: 'totals \\udcff'"),
        ("totals", MemoryTotals(), "can't be called"),
        ("totals", lambda: UserGreeted("x"), "has no method apply"),
        ("totals", lambda: None, "has no method apply"),
    ],
)
def test_what_is_no_projection_is_refused(registry: ProjectionRegistry, name: Any, factory: Any, message: str) -> None:
    with pytest.raises(CqrsError, match=message):
        registry.register(name, factory)
    assert registry.count == 0


def test_a_factory_that_fails_registers_nothing(registry: ProjectionRegistry) -> None:
    class Broken:
        def __init__(self) -> None:
            raise LookupError("no such thing")

        def apply(self, recorded_event: RecordedEvent) -> None: ...

    with pytest.raises(LookupError, match="no such thing"):
        registry.register("broken", Broken)
    assert registry.count == 0


def test_a_closed_store_ends_the_following_quietly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = EventStore(tmp_path / "events.db")
    registry = ProjectionRegistry(store)
    registry.register("totals", SavedTotals)
    registry.start_subscription()
    registry.wait_for("totals", pay(store, 3), 30)
    store.close()
    registry.stop()
    assert caplog.records == []
    assert not [thread for thread in threading.enumerate() if thread.name == "projection-totals"]
