"""The event store over both backends: streams, versions, metadata, snapshots, old and unknown events, bad input."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from antistrophe.definition import events as registry
from antistrophe.definition.events import RawEvent, event
from antistrophe.errors import (
    AntistropheError,
    ConcurrencyError,
    CqrsError,
    JournalError,
    NotSerializableError,
    UnknownVersionError,
    UnreadableDataError,
)
from antistrophe.eventstore.recorded import RecordedEvent
from antistrophe.eventstore.sqlite import SqliteEvents
from antistrophe.eventstore.store import EventStore
from antistrophe.eventstore.versions import VersionRegistry
from antistrophe.storage.opening import open_in_memory
from tests.contract.listed_events import ListedEvents


@event("store.credited")
@dataclass(frozen=True)
class Credited:
    account: str
    amount: Decimal


@event("store.opened", version=1)
@dataclass(frozen=True)
class OpenedV1:
    name: str


@event("store.opened", version=2)
@dataclass(frozen=True)
class OpenedV2:
    first: str
    last: str


ONE, TWO, THREE = (Credited("A", Decimal(amount)) for amount in ("1.10", "2", "3"))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_store_url"))
    return ":memory:" if request.param == "memory" else tmp_path / "events.db"


@pytest.fixture
def store(place: str | Path) -> Iterator[EventStore]:
    with EventStore(place) as opened:
        yield opened


def of(events: list[RecordedEvent]) -> list[object]:
    return [each.event for each in events]


def test_what_is_appended_is_read(store: EventStore) -> None:
    before = datetime.now(UTC)
    assert store.append("a", [ONE, TWO], metadata={"saga_id": "t-1", "step": 0}) == 2
    assert store.append("b", [THREE]) == 1
    assert store.append("b", []) == 1
    first = store.read(limit=1)[0]
    assert (first.position, first.stream, first.version) == (1, "a", 1)
    assert (first.type, first.type_version) == ("store.credited", 1)
    assert first.data == {"account": "A", "amount": Decimal("1.10")}
    assert first.event == ONE
    assert first.metadata == {"saga_id": "t-1", "step": 0}
    assert before - timedelta(milliseconds=1) <= first.recorded_at <= datetime.now(UTC)
    assert store.get_events("a") == of(store.read_stream("a")) == [ONE, TWO]
    assert store.get_events_after("a", 1) == of(store.read_stream("a", after_version=1)) == [TWO]
    assert [(each.stream, each.version, each.position) for each in store.read_stream("a", 1)] == [("a", 2, 2)]
    assert store.get_all_events() == of(store.read()) == [ONE, TWO, THREE]
    assert of(store.read(from_position=1, limit=1)) == [TWO]
    assert (store.version("a"), store.version("b"), store.version("c"), store.head()) == (2, 1, 0, 3)
    assert store.get_events("c") == store.read_stream("c") == []
    assert store.read()[2].metadata == {}


def test_a_recorded_event_can_be_made_and_compared(store: EventStore) -> None:
    store.append("a", [ONE], metadata={"by": "me"})
    (read,) = store.read()
    made = RecordedEvent(
        position=1,
        stream="a",
        version=1,
        type="store.credited",
        type_version=1,
        data={"account": "A", "amount": Decimal("1.10")},
        event=ONE,
        metadata={"by": "me"},
        recorded_at=read.recorded_at,
    )
    assert made == read
    assert hash(made) == hash(read)
    assert made.event is ONE
    assert made.recorded_at == read.recorded_at
    assert made != store
    assert "stream='a'" in repr(read)
    assert "Decimal('1.10')" in repr(read)


def test_an_expected_version_that_is_not_met_appends_nothing(store: EventStore) -> None:
    store.append("a", [ONE], expected_version=0)
    with pytest.raises(ConcurrencyError, match="stream 'a' is at version 1, not 0") as caught:
        store.append("a", [TWO], expected_version=0)
    assert (caught.value.stream, caught.value.expected, caught.value.actual) == ("a", 0, 1)
    assert store.append("a", [TWO], expected_version=1) == 2
    assert of(store.read()) == [ONE, TWO]


def test_what_can_not_be_stored_appends_nothing(store: EventStore) -> None:
    bad: list[Any] = [ONE, Credited("A", open)]  # type: ignore[arg-type]
    with pytest.raises(NotSerializableError, match="field amount"):
        store.append("a", bad)
    with pytest.raises(NotSerializableError, match="is no event"):
        store.append("a", [ONE, {"account": "A"}])
    for no_list in (ONE, None, 5):
        with pytest.raises(NotSerializableError, match="the events to append come in a list"):
            store.append("a", no_list)  # type: ignore[arg-type]
    with pytest.raises(NotSerializableError, match="the metadata"):
        store.append("a", [ONE], metadata={"who": object()})
    assert store.read() == []


@pytest.mark.parametrize("stream", ["", None, 1, b"a"])
def test_a_stream_has_a_name(store: EventStore, stream: Any) -> None:
    with pytest.raises(ValueError, match="the name of a stream must be a text"):
        store.append(stream, [ONE])


@pytest.mark.parametrize("number", [-1, 1.0, True, "1"])
def test_positions_and_versions_are_whole_numbers_from_0_on(store: EventStore, number: Any) -> None:
    for use in (
        lambda: store.read(number),
        lambda: store.read(0, number),
        lambda: store.get_events_after("a", number),
        lambda: store.read_stream("a", number),
        lambda: store.subscribe(number),
        lambda: store.append("a", [ONE], expected_version=number),
    ):
        with pytest.raises(ValueError, match="must be a whole number from 0 on"):
            use()


def test_numbers_beyond_every_position_are_no_error(store: EventStore) -> None:
    store.append("a", [ONE])
    assert store.read(2**70) == []
    assert len(store.read(0, 2**70)) == 1
    assert store.get_events_after("a", 2**70) == []


def test_several_streams_in_one_transaction(store: EventStore) -> None:
    with store.transaction() as transaction:
        assert transaction.append("a", [ONE], 0, {"n": 1}) == 1
        assert transaction.append("b", [TWO]) == 1
        assert store.read() == []
    assert of(store.read()) == [ONE, TWO]
    assert store.read()[0].metadata == {"n": 1}
    with pytest.raises(ConcurrencyError):
        with_a_conflict(store)
    assert of(store.read()) == [ONE, TWO]


def with_a_conflict(store: EventStore) -> None:
    with store.transaction() as transaction:
        transaction.append("a", [THREE])
        transaction.append("b", [THREE], expected_version=0)


def test_a_transaction_takes_rows_of_ones_own_along(store: EventStore) -> None:
    with store.transaction() as transaction:
        assert transaction.database is not None
        transaction.append("a", [ONE])
        transaction.database.execute("CREATE TABLE mine(balance integer)")
        transaction.database.execute("INSERT INTO mine VALUES (1)")
    with contextlib.suppress(KeyError), store.transaction() as transaction:
        assert transaction.database is not None
        transaction.database.execute("UPDATE mine SET balance = 2")
        transaction.append("a", [ONE])
        raise KeyError
    with store.transaction() as transaction:
        assert transaction.database is not None
        assert transaction.database.rows("SELECT balance FROM mine") == [(1,)]
    assert store.head() == 1


def test_a_transaction_of_a_backend_of_ones_own_has_no_database() -> None:
    with EventStore(ListedEvents()) as store:
        with store.transaction() as transaction:
            assert transaction.database is None
            transaction.append("a", [ONE])
        assert of(store.read()) == [ONE]


def test_other_threads_wait_for_a_transaction_in_memory_and_then_see_it() -> None:
    with EventStore(":memory:") as store, ThreadPoolExecutor(2) as pool:
        with store.transaction() as transaction:
            transaction.append("a", [ONE])
            reads: Future[Any] = pool.submit(lambda: (store.head(), store.version("a"), of(store.read())))
            writes: Future[Any] = pool.submit(store.append, "a", [TWO], 1)
            assert not wait((reads, writes), timeout=0.05).done
            assert (store.head(), store.version("a"), store.get_events("a")) == (0, 0, [])
            transaction.append("a", [THREE])
            with pytest.raises(RuntimeError, match="has a transaction open"), store.transaction():
                pass
        with pytest.raises(ConcurrencyError):
            writes.result(30)
        head, version, events = reads.result(30)
        assert (head, version, events) == (2, 2, [ONE, THREE])


def test_a_store_in_memory_is_a_store_of_its_own() -> None:
    with EventStore(":memory:") as first, EventStore(":memory:") as second:
        first.append("a", [ONE])
        assert (first.head(), second.head()) == (1, 0)


def test_a_store_in_memory_that_nobody_closes_is_closed_without_a_warning() -> None:
    for _ in range(3):
        EventStore(":memory:").append("a", [ONE])
    gc.collect()


# --- snapshots ----------------------------------------------------------------------------------------------------


def test_a_snapshot_stands_for_the_first_events_of_a_stream(store: EventStore) -> None:
    assert store.get_latest_snapshot("a") is None
    store.append("a", [ONE, TWO, THREE])
    store.save_snapshot("a", 1, {"balance": Decimal("1.10"), "seen": {1, 2}})
    store.save_snapshot("a", 2, ["anything", ("plain",)])
    snapshot = store.get_latest_snapshot("a")
    assert snapshot is not None
    assert (snapshot.stream, snapshot.version, snapshot.state) == ("a", 2, ["anything", ("plain",)])
    assert abs(datetime.now(UTC) - snapshot.recorded_at) < timedelta(minutes=1)
    assert store.get_events_after("a", snapshot.version) == [THREE]
    assert store.get_latest_snapshot("b") is None
    stats = store.stats()
    assert (stats.events, stats.streams, stats.snapshots) == (3, 1, 2)
    assert stats.backend["kind"] in {"memory", "sqlite", "postgresql"}


@pytest.mark.parametrize("version", [0, 2, -1, "1", None, 1.0, True])
def test_a_snapshot_of_what_the_stream_does_not_have_is_refused(store: EventStore, version: Any) -> None:
    store.append("a", [ONE])
    with pytest.raises(CqrsError, match=f"no snapshot of version {version!r} can be saved: stream 'a' is at version 1"):
        store.save_snapshot("a", version, {})
    with pytest.raises(NotSerializableError, match="the snapshot"):
        store.save_snapshot("a", 1, object())
    assert store.get_latest_snapshot("a") is None


# --- old, new and unknown events ----------------------------------------------------------------------------------


class Program:
    """Which event classes this program has, for one test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._classes = dict(registry._classes)
        self._newest = dict(registry._newest)
        monkeypatch.setattr(registry, "_classes", self._classes)
        monkeypatch.setattr(registry, "_newest", self._newest)

    def lacks(self, name: str, version: int) -> None:
        del self._classes[name, version]
        del self._newest[name]
        versions = [each[1] for each in self._classes if each[0] == name]
        if versions:
            self._newest[name] = max(versions)

    def has(self, name: str, version: int, cls: type) -> None:
        self._classes[name, version] = cls
        self._newest[name] = max(version, self._newest.get(name, version))


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    return Program(monkeypatch)


@pytest.fixture
def two_versions() -> VersionRegistry:
    versions = VersionRegistry()

    @versions.upcaster("store.opened", from_version=1)
    def split(data: dict[str, Any]) -> dict[str, Any]:
        first, _, last = data["name"].partition(" ")
        return {"first": first, "last": last}

    return versions


def test_an_older_version_may_be_appended_and_is_read_as_the_newest(
    place: str | Path, two_versions: VersionRegistry
) -> None:
    with EventStore(place, versions=two_versions) as store:
        store.append("a", [OpenedV1("Ada Lovelace"), OpenedV2("Alan", "Turing"), ONE])
        old, new, other = store.read()
        assert (old.type_version, old.data, old.event) == (
            2,
            {"first": "Ada", "last": "Lovelace"},
            OpenedV2("Ada", "Lovelace"),
        )
        assert (old.position, old.stream, old.version, old.metadata) == (1, "a", 1, {})
        assert (new.type_version, new.event) == (2, OpenedV2("Alan", "Turing"))
        assert other.event == ONE
        assert store.get_events("a")[0] == old.event
        found = store.subscribe().poll(5.0)
        assert found is not None
        assert found.event == old.event


def test_without_upcasters_an_older_version_is_read_as_it_was_stored(store: EventStore, program: Program) -> None:
    store.append("a", [OpenedV1("Ada Lovelace")])
    assert of(store.read()) == [OpenedV1("Ada Lovelace")]
    program.lacks("store.opened", 1)
    assert of(store.read()) == [RawEvent("store.opened", 1, {"name": "Ada Lovelace"})]


def test_an_unknown_type_is_read_raw(place: str | Path, two_versions: VersionRegistry, program: Program) -> None:
    for versions in (None, two_versions):
        store = EventStore(place, versions=versions)
        store.append("a", [ONE])
        program.lacks("store.credited", 1)
        (read,) = store.read(limit=1)
        assert (read.type, read.type_version) == ("store.credited", 1)
        assert read.event == RawEvent("store.credited", 1, {"account": "A", "amount": Decimal("1.10")})
        program.has("store.credited", 1, Credited)
        store.close()


def test_a_newer_version_than_is_known_never_passes_silently(place: str | Path, program: Program) -> None:
    for versions in (None, VersionRegistry()):
        store = EventStore(place, versions=versions)
        store.append("a", [ONE, OpenedV2("Ada", "Lovelace"), TWO])
        program.lacks("store.opened", 2)
        position = store.head() - 3
        for read in (store.get_all_events, store.read, lambda s=store: s.read_stream("a")):
            with pytest.raises(UnknownVersionError, match=r"'store\.opened' is of version 2; .* versions up to 1"):
                read()
        with store.subscribe(position) as subscription:
            assert next(subscription).event == ONE
            for _ in range(2):
                with pytest.raises(UnknownVersionError):
                    next(subscription)
            program.has("store.opened", 2, OpenedV2)
            assert [next(subscription).event, next(subscription).event] == [OpenedV2("Ada", "Lovelace"), TWO]
        store.close()


def test_data_that_no_longer_fit_their_class_are_told_when_they_are_asked_for(
    store: EventStore, program: Program
) -> None:
    store.append("a", [ONE])
    program.has("store.credited", 1, OpenedV1)
    (read,) = store.read()
    assert read.data == {"account": "A", "amount": Decimal("1.10")}
    with pytest.raises(UnreadableDataError, match="does not fit its class"):
        _ = read.event
    for read_objects in (store.get_all_events, lambda: store.get_events("a")):
        with pytest.raises(UnreadableDataError, match="does not fit its class"):
            read_objects()


# --- the store itself ---------------------------------------------------------------------------------------------


def test_events_outlive_the_store_that_wrote_them(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with EventStore(str(path)) as store:
        store.append("a", [ONE])
        store.save_snapshot("a", 1, 1)
        store.flush()
    with EventStore(path, synchronous="NORMAL") as store:
        assert of(store.read()) == [ONE]
        assert store.get_latest_snapshot("a") is not None
        assert store.append("a", [TWO], expected_version=1) == 2
        assert store.stats().backend["path"] == str(path)


def test_a_backend_of_ones_own_can_be_given() -> None:
    backend = SqliteEvents(open_in_memory())
    EventStore(backend).append("a", [ONE])
    assert of(EventStore(backend).read()) == [ONE]


def test_a_closed_store_says_so(store: EventStore) -> None:
    store.close()
    store.close()
    for use in (
        store.get_all_events,
        store.stats,
        store.flush,
        store.head,
        store.subscribe,
        lambda: store.append("a", [ONE]),
        lambda: store.version("a"),
        lambda: store.get_latest_snapshot("a"),
        lambda: store.save_snapshot("a", 1, 1),
    ):
        with pytest.raises(CqrsError, match="is closed"):
            use()


def test_a_bad_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_text("this is no database, but it is long enough to be one" * 20)
    with pytest.raises(JournalError, match=r"events\.db: it is not a SQLite database"):
        EventStore(path)


def test_a_fork_can_not_use_the_store(store: EventStore) -> None:
    store.append("a", [ONE])
    subscription = store.subscribe()
    child = os.fork()
    if child == 0:
        refused = 0
        try:
            for use in (store.get_all_events, lambda: store.append("a", [ONE]), lambda: next(subscription)):
                try:
                    use()
                except AntistropheError as error:
                    refused += "fork" in str(error)
        finally:
            os._exit(refused)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 3
    assert of(store.read()) == [ONE]
