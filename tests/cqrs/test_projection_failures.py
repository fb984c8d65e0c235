"""Projections that fail: marked with what went wrong, alone, with nothing half done in their tables."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from antistrophe.cqrs.projection_registry import ProjectionRegistry
from antistrophe.errors import CqrsError
from antistrophe.eventstore.recorded import RecordedEvent
from antistrophe.eventstore.store import EventStore
from antistrophe.eventstore.versions import VersionRegistry
from tests.cqrs.totals import KINDS, MemoryTotals, SavedTotals, SqlTotals, pay
from tests.cqrs.user_versions import UserV1
from tests.waiting import until

every_kind = pytest.mark.parametrize("kind", KINDS)


def failing(kind: Any, position: int, error: BaseException, *, mended: list[bool]) -> Any:
    """A projection that takes in half of the event at that position, then raises."""
    method = "apply_in" if kind is SqlTotals else "apply"

    class Fails(kind):  # type: ignore[misc]
        pass

    def apply(self: Any, *arguments: Any) -> None:
        getattr(kind, method)(self, *arguments)
        if arguments[-1].position == position and not mended:
            raise error

    setattr(Fails, method, apply)
    return Fails


def failed(registry: ProjectionRegistry, name: str) -> bool:
    return registry.get_metadata(name).failed is not None


@every_kind
@pytest.mark.parametrize("error", [LookupError("lost"), SystemExit("lost")])
def test_one_that_fails_is_marked_and_stops_alone(
    registry: ProjectionRegistry, store: EventStore, kind: Any, error: BaseException
) -> None:
    registry.register("fine", kind)
    registry.register("fails", failing(kind, 150, error, mended=[]))
    registry.register("also fine", kind)
    pay(store, 100)
    registry.start_subscription()
    pay(store, 100)
    until(lambda: failed(registry, "fails"), "the failure")
    position = pay(store, 100)
    for name in ("fine", "also fine"):
        registry.wait_for(name, position, 30)
        assert registry.get(name).total("A") == 300
        assert registry.get_metadata(name).failed is None
    metadata = registry.get_metadata("fails")
    assert (metadata.position, metadata.lag) == (149, 151)
    assert f"{type(error).__name__}: lost" in str(metadata.failed)
    assert "at position 150 (totals.paid of stream 'payments')" in str(metadata.failed)
    assert registry.get("fails").positions()[:149] == list(range(1, 150))  # still there to look at
    registry.wait_for("fails", 149, 0)
    with pytest.raises(CqrsError, match=r"'fails' has failed and will not come to position 150: .*lost"):
        registry.wait_for("fails", 150, 30)


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise LookupError("no text")


@every_kind
def test_one_whose_exception_has_no_text_is_marked_too(
    registry: ProjectionRegistry, store: EventStore, kind: Any
) -> None:
    registry.register("fails", failing(kind, 1, SpeechlessError(), mended=[]))
    pay(store, 1)
    registry.start_subscription()
    until(lambda: failed(registry, "fails"), "the failure")
    assert "SpeechlessError: (no text" in str(registry.get_metadata("fails").failed)


@every_kind
def test_who_waits_for_one_that_fails_is_told_at_once(
    registry: ProjectionRegistry, store: EventStore, kind: Any
) -> None:
    registry.register("fails", failing(kind, 1, LookupError("lost"), mended=[]))
    told: list[str] = []

    def wait() -> None:
        try:
            registry.wait_for("fails", 1)
        except CqrsError as error:
            told.append(str(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    registry.start_subscription()
    pay(store, 1)
    waiting.join(30)
    assert len(told) == 1


@every_kind
def test_a_rebuild_mends_it_and_it_follows_again(registry: ProjectionRegistry, store: EventStore, kind: Any) -> None:
    mended: list[bool] = []
    registry.register("fails", failing(kind, 5, LookupError("lost"), mended=mended))
    registry.start_subscription()
    pay(store, 10)
    until(lambda: failed(registry, "fails"), "the failure")
    registry.start_subscription()  # does not try the culprit again by itself
    assert registry.get_metadata("fails").position == 4
    with pytest.raises(CqrsError):
        registry.rebuild("fails")
    mended.append(True)
    registry.rebuild("fails")
    assert registry.get_metadata("fails").failed is None
    registry.wait_for("fails", pay(store, 10), 30)
    assert registry.get("fails").positions() == list(range(1, 21))


@pytest.mark.parametrize("kind", [SavedTotals, SqlTotals])
def test_half_of_an_event_is_never_kept(store: EventStore, kind: Any) -> None:
    mended: list[bool] = []
    for _ in range(2):
        with ProjectionRegistry(store, checkpoint_s=0.001) as registry:
            registry.register("fails", failing(kind, 8, LookupError("lost"), mended=mended))
            registry.start_subscription()
            if not mended:
                pay(store, 10)
                until(lambda registry=registry: failed(registry, "fails"), "the failure")  # type: ignore[misc]
            else:
                registry.wait_for("fails", 10, 30)
                assert registry.get("fails").positions() == list(range(1, 11))
                assert registry.get("fails").total("A") == 10
        mended.append(True)


@every_kind
def test_an_event_that_can_not_be_read_stops_those_that_come_to_it(
    place: str | Path, store: EventStore, kind: Any
) -> None:
    versions = VersionRegistry()

    @versions.upcaster("versions.user", from_version=1, to_version=3)
    def broken(data: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("first")

    pay(store, 3)
    store.append("users", [UserV1("Ada")])
    pay(store, 3)
    with EventStore(place, versions=versions) as strict, ProjectionRegistry(strict) as registry:
        registry.register("totals", kind)
        registry.start_subscription()
        until(lambda: failed(registry, "totals"), "the failure")
        assert "broken of event type 'versions.user'" in str(registry.get_metadata("totals").failed)
        assert registry.get_metadata("totals").position == 3
        assert registry.get("totals").positions() == [1, 2, 3]
        with pytest.raises(CqrsError, match="broken of event type"):
            registry.rebuild("totals")


# --- what is saved ------------------------------------------------------------------------------------------------


def test_a_state_that_can_not_be_saved_is_a_failure(registry: ProjectionRegistry, store: EventStore) -> None:
    class Odd(SavedTotals):
        def save(self) -> Any:
            return {"self": self}

    registry.register("odd", Odd)
    registry.start_subscription()
    pay(store, 1)
    until(lambda: failed(registry, "odd"), "the failure")
    assert "NotSerializableError: the state of the projection['self']" in str(registry.get_metadata("odd").failed)


def test_a_state_that_can_not_be_loaded_is_made_again_from_the_events(
    store: EventStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Changed(SavedTotals):
        def load(self, state: Any) -> None:
            super().load(state)
            raise KeyError("a field of the new release")

    for kind in (SavedTotals, Changed):
        with ProjectionRegistry(store) as registry:
            registry.register("totals", kind)
            registry.start_subscription()
            registry.wait_for("totals", pay(store, 5), 30)
            assert registry.get("totals").positions() == list(range(1, store.head() + 1))
    assert "'totals' begins at the first event, because its saved state can't be loaded" in caplog.text


def test_a_saved_state_is_not_made_again(store: EventStore) -> None:
    applied: list[int] = []

    class Counting(SavedTotals):
        def apply(self, recorded_event: RecordedEvent) -> None:
            applied.append(recorded_event.position)
            super().apply(recorded_event)

    for _ in range(3):
        with ProjectionRegistry(store, checkpoint_s=3600) as registry:  # saved when it stops
            registry.register("totals", Counting)
            registry.start_subscription()
            registry.wait_for("totals", pay(store, 5), 30)
            assert registry.get("totals").positions() == list(range(1, store.head() + 1))
    assert applied == list(range(1, 16))


def test_an_older_state_is_not_written_over_a_rebuilt_one(store: EventStore, place: str | Path) -> None:
    with EventStore(place) as other_store:
        first, second = ProjectionRegistry(store), ProjectionRegistry(other_store)
        pay(store, 5)
        for registry in (first, second):
            registry.register("totals", SavedTotals)
        first.rebuild("totals")
        first.get("totals").seen.append(-1)  # to tell it from any other
        first.start_subscription()
        first.wait_for("totals", pay(store, 1), 30)
        first.stop()
        second.start_subscription()
        second.wait_for("totals", pay(store, 1), 30)
        second.stop()  # of an older build, and further on
    with ProjectionRegistry(store) as registry:
        registry.register("totals", SavedTotals)
        assert registry.get_metadata("totals").position == 6
        assert -1 in registry.get("totals").positions()


def test_stopping_has_a_limit(registry: ProjectionRegistry, store: EventStore) -> None:
    applying, go_on = threading.Event(), threading.Event()

    class Hangs(MemoryTotals):
        def apply(self, recorded_event: RecordedEvent) -> None:
            applying.set()
            assert go_on.wait(30)
            super().apply(recorded_event)

    registry.register("fine", MemoryTotals)
    registry.register("hangs", Hangs)
    registry.start_subscription()
    position = pay(store, 1)
    assert applying.wait(30)
    registry.wait_for("fine", position, 30)  # a slow one makes nobody wait
    assert registry.get_metadata("hangs").lag == 1
    with pytest.raises(TimeoutError, match="'hangs'"):
        registry.stop(0.05)
    go_on.set()
    registry.stop()
    assert registry.get("hangs").positions() == [1]
