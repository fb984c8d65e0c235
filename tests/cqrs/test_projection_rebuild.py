"""Rebuilding a projection: a new one is made beside the old one, which answers until the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from antistrophe.cqrs.projection import ProjectionConnection, Tables
from antistrophe.cqrs.projection_registry import ProjectionRegistry
from antistrophe.errors import CqrsError
from antistrophe.eventstore.recorded import RecordedEvent
from antistrophe.eventstore.store import EventStore
from antistrophe.storage.opening import open_database
from tests.cqrs.totals import KINDS, MemoryTotals, SavedTotals, SqlTotals, pay

every_kind = pytest.mark.parametrize("kind", KINDS)


in_a_file = pytest.mark.parametrize("place", ["file"], indirect=True)  # what SQLite alone has, or is quick enough for


@pytest.fixture
def registry(store: EventStore) -> Iterator[ProjectionRegistry]:
    with ProjectionRegistry(store) as opened:
        yield opened


class Gate:
    """Holds back the builds of a projection after the first one, at one position."""

    def __init__(self, kind: Any, position: int) -> None:
        self.arrived, self.go_on = threading.Event(), threading.Event()
        self.builds = 0
        gate = self
        method = "apply_in" if kind is SqlTotals else "apply"

        class Gated(kind):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                gate.builds += 1
                self.build = gate.builds

        def apply(self: Any, *arguments: Any) -> None:
            if self.build > 1 and arguments[-1].position == position:
                gate.arrived.set()
                assert gate.go_on.wait(30)
            getattr(kind, method)(self, *arguments)

        setattr(Gated, method, apply)
        self.factory: Any = Gated


def tables_of(file: Path) -> set[str]:
    database = open_database(file, read_only=True)
    names = {name for (name,) in database.rows("SELECT name FROM sqlite_master WHERE name LIKE 'projection:%'")}
    database.close()
    return names


@in_a_file
@every_kind
def test_a_rebuild_begins_from_nothing_however_often(
    registry: ProjectionRegistry, store: EventStore, kind: Any
) -> None:
    pay(store, 700)
    registry.register("totals", kind)
    first = registry.get("totals")
    for _ in range(3):
        registry.rebuild("totals")
        assert registry.get_metadata("totals").position == 700
        assert registry.get("totals").total("A") == 700
    assert registry.get("totals") is not first
    registry.start_subscription()
    registry.wait_for("totals", pay(store, 1), 30)
    assert registry.get("totals").positions() == list(range(1, 702))


@in_a_file
@every_kind
def test_the_old_one_answers_and_follows_until_the_new_one_is_there(
    registry: ProjectionRegistry, store: EventStore, kind: Any
) -> None:
    pay(store, 1000)
    gate = Gate(kind, 900)
    registry.register("totals", gate.factory)
    registry.start_subscription()
    registry.wait_for("totals", 1000, 30)
    old = registry.get("totals")
    assert not registry.get_metadata("totals").rebuilding
    with ThreadPoolExecutor(1) as pool:
        rebuilding = pool.submit(registry.rebuild, "totals")
        if kind is SqlTotals:
            # Its events wait for each other: both builds are in one file, which has one writer.
            assert gate.arrived.wait(30)
            assert registry.get_metadata("totals").rebuilding
            assert registry.get("totals").total("A") == 1000
        else:
            assert gate.arrived.wait(30)
            registry.wait_for("totals", pay(store, 5), 30)
            metadata = registry.get_metadata("totals")
            assert (metadata.rebuilding, metadata.position, metadata.failed) == (True, 1005, None)
            assert registry.get("totals") is old
            assert old.total("A") == 1005
        gate.go_on.set()
        rebuilding.result(30)
    assert not registry.get_metadata("totals").rebuilding
    assert registry.get("totals") is not old
    position = pay(store, 5)
    registry.wait_for("totals", position, 30)
    assert registry.get("totals").positions() == list(range(1, position + 1))


@in_a_file
@every_kind
def test_rebuilds_under_load_lose_nothing_and_double_nothing(
    registry: ProjectionRegistry, store: EventStore, kind: Any
) -> None:
    registry.register("totals", kind)
    registry.start_subscription()
    done = threading.Event()
    highest: list[int] = [0]

    def write() -> None:
        while not done.is_set():
            pay(store, 5)

    def watch() -> None:
        while not done.is_set():
            position = registry.get_metadata("totals").position
            assert position >= highest[-1], "a rebuild went back behind what was answered before"
            highest.append(position)

    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(write), pool.submit(watch)]
        for _ in range(5):
            both = [pool.submit(registry.rebuild, "totals") for _ in range(2)]
            for each in both:
                each.result(30)
        done.set()
        for other in others:
            other.result(30)
    registry.wait_for("totals", store.head(), 30)
    assert registry.get("totals").positions() == list(range(1, store.head() + 1))
    assert registry.get("totals").total("A") == store.head()


@every_kind
def test_all_are_rebuilt_though_one_fails(registry: ProjectionRegistry, store: EventStore, kind: Any) -> None:
    class Fails(MemoryTotals):
        def apply(self, recorded_event: RecordedEvent) -> None:
            if recorded_event.position == 3:
                raise ZeroDivisionError("no way")
            super().apply(recorded_event)

    pay(store, 5)
    registry.register("a", kind)
    registry.register("fails", Fails)
    registry.register("z", kind)
    with pytest.raises(
        CqrsError, match=r"'fails' could not be rebuilt: ZeroDivisionError: no way at position 3"
    ) as info:
        registry.rebuild_all()
    assert isinstance(info.value.__cause__, CqrsError)
    assert isinstance(info.value.__cause__.__cause__, ZeroDivisionError)
    assert [each.position for each in registry.get_all_metadata()] == [5, 0, 5]
    assert "no way" in str(registry.get_metadata("fails").failed)
    assert not registry.get_metadata("fails").rebuilding


@every_kind
def test_the_old_one_stays_where_the_new_one_fails(
    registry: ProjectionRegistry, store: EventStore, kind: Any, tmp_path: Path
) -> None:
    broken: list[bool] = []
    method = "apply_in" if kind is SqlTotals else "apply"

    class Moody(kind):  # type: ignore[misc]
        pass

    def apply(self: Any, *arguments: Any) -> None:
        if broken:
            raise LookupError("moody")
        getattr(kind, method)(self, *arguments)

    setattr(Moody, method, apply)
    registry.register("totals", Moody)
    registry.start_subscription()
    registry.wait_for("totals", pay(store, 10), 30)
    broken.append(True)
    with pytest.raises(CqrsError, match="moody at position 1 "):
        registry.rebuild("totals")
    broken.clear()
    assert "the rebuild failed: LookupError: moody" in str(registry.get_metadata("totals").failed)
    registry.wait_for("totals", pay(store, 1), 30)  # it goes on, though
    assert registry.get("totals").total("A") == 11
    registry.rebuild("totals")
    assert registry.get_metadata("totals").failed is None
    assert registry.get("totals").positions() == list(range(1, 12))


def test_a_factory_that_gives_the_same_object_can_not_rebuild(registry: ProjectionRegistry, store: EventStore) -> None:
    only = MemoryTotals()
    registry.register("totals", lambda: only)
    pay(store, 3)
    with pytest.raises(CqrsError, match="the same object again"):
        registry.rebuild("totals")
    assert only.positions() == []


# --- tables -------------------------------------------------------------------------------------------------------


@in_a_file
def test_tables_of_the_generation_before_stay_for_their_readers_and_older_ones_go(
    registry: ProjectionRegistry, store: EventStore, tmp_path: Path
) -> None:
    pay(store, 3)
    registry.register("my Totals", SqlTotals)
    registry.register("my totals", SqlTotals)  # not the same to us, though SQLite does not tell them apart
    stem = "projection:my%20%54otals:"
    builds = []
    for generation in range(2, 6):
        builds.append(registry.get("my Totals"))
        registry.rebuild("my Totals")
        assert {name for name in tables_of(tmp_path / "events.db") if name.startswith(stem)} == {
            f"{stem}{kept}:{table}" for kept in (generation - 1, generation) for table in ("totals", "seen")
        }
        assert builds[-1].total("A") == (3 if generation > 2 else 0)
    assert registry.get("my Totals").total("A") == 3
    assert registry.get("my totals").total("A") == 0
    assert registry.get_metadata("my totals").position == 0


@in_a_file
def test_what_a_rebuild_that_was_never_finished_left_is_cleared_away(
    registry: ProjectionRegistry, store: EventStore, tmp_path: Path
) -> None:
    class Fails(SqlTotals):
        def apply_in(self, connection: ProjectionConnection, recorded_event: RecordedEvent) -> None:
            if fail:
                raise LookupError
            super().apply_in(connection, recorded_event)

        def create_in(self, connection: ProjectionConnection, tables: Tables) -> None:
            super().create_in(connection, tables)
            words, view, index = tables.name("words"), tables.name("rich"), tables.name("by_total")
            connection.execute(f"CREATE VIRTUAL TABLE IF NOT EXISTS {words} USING fts5(text)")
            connection.execute(f"CREATE VIEW IF NOT EXISTS {view} AS SELECT account FROM {self.totals}")
            connection.execute(f"CREATE INDEX IF NOT EXISTS {index} ON {self.totals}(total)")

    fail = True
    registry.register("totals", Fails)
    pay(store, 3)
    for _ in range(3):
        with pytest.raises(CqrsError):
            registry.rebuild("totals")
    assert {name.split(":")[2] for name in tables_of(tmp_path / "events.db")} == {"1", "2", "3", "4"}
    fail = False
    registry.rebuild("totals")
    assert {name.split(":")[2] for name in tables_of(tmp_path / "events.db")} == {"1", "5"}
    registry.rebuild("totals")
    assert {name.split(":")[2] for name in tables_of(tmp_path / "events.db")} == {"5", "6"}
    assert registry.get("totals").positions() == [1, 2, 3]


@in_a_file
def test_two_registries_share_the_tables_and_go_over_to_a_rebuilt_one(
    registry: ProjectionRegistry, store: EventStore, place: str | Path
) -> None:
    with EventStore(place) as other_store, ProjectionRegistry(other_store) as other:
        for each in (registry, other):
            each.register("totals", SqlTotals)
            each.start_subscription()
        for round_ in range(6):
            position = pay(store if round_ % 2 else other_store, 100)
            for each in (registry, other):
                each.wait_for("totals", position, 30)
            assert registry.get("totals").positions() == list(range(1, position + 1))
            if round_ in (2, 4):
                (registry if round_ == 2 else other).rebuild("totals")
        old = other.get("totals").seen
        registry.rebuild("totals")
        position = pay(store, 1)
        other.wait_for("totals", position, 30)
        assert other.get("totals").seen == registry.get("totals").seen != old
        assert other.get("totals").positions() == list(range(1, position + 1))


@pytest.mark.parametrize("at", [512, 600])
def test_a_rebuild_that_another_one_overtook_takes_over_what_that_made(
    registry: ProjectionRegistry, store: EventStore, place: str | Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    pay(store, 600)
    with EventStore(place) as other_store, ProjectionRegistry(other_store) as other:
        for each in (registry, other):
            each.register("totals", SqlTotals)
        head, read, overtaken = store.head, store.read, threading.Event()

        def overtake(position: int) -> None:
            if position == at and not overtaken.is_set():
                overtaken.set()
                other.rebuild("totals")  # begun later and finished first, its tables are what counts

        def read_and_be_overtaken(from_position: int = 0, limit: int | None = None) -> list[RecordedEvent]:
            overtake(from_position)
            return read(from_position, limit)

        def head_and_be_overtaken() -> int:
            if heads.pop():
                overtake(at)
            return head()

        heads = [at == 600, False]  # the second time is just before the new one is put in its place
        monkeypatch.setattr(store, "read", read_and_be_overtaken)
        monkeypatch.setattr(store, "head", head_and_be_overtaken)
        registry.rebuild("totals")
        monkeypatch.undo()
        assert overtaken.is_set()
        assert registry.get_metadata("totals").failed is None
        assert registry.get("totals").seen == other.get("totals").seen
        registry.start_subscription()
        registry.wait_for("totals", pay(store, 1), 30)
        assert registry.get("totals").positions() == list(range(1, 602))


def test_a_projection_may_change_its_kind(store: EventStore) -> None:
    for kind in (SavedTotals, SqlTotals, SavedTotals, MemoryTotals, SqlTotals):
        position = pay(store, 5)
        with ProjectionRegistry(store) as registry:
            registry.register("totals", kind)
            registry.start_subscription()
            registry.wait_for("totals", position, 30)
            assert registry.get("totals").positions() == list(range(1, position + 1)), kind
