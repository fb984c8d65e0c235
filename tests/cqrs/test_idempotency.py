"""Idempotency keys: one answer for each, whoever asks, wherever the keys and the events are."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from antistrophe.cqrs.bus import CommandBus
from antistrophe.cqrs.idempotency import Batch, Claim, KeyedCommand
from antistrophe.cqrs.idempotency_answers import LiveAnswers
from antistrophe.cqrs.idempotency_sqlite import SqliteIdempotencyStore
from antistrophe.cqrs.results import Appends
from antistrophe.definition.events import encode_event
from antistrophe.errors import (
    CommandRejectedError,
    ConcurrencyError,
    CqrsError,
    IdempotencyConflictError,
    NotSerializableError,
    ValidationError,
)
from antistrophe.eventstore.backend import NewEvent
from antistrophe.eventstore.store import EventStore
from antistrophe.storage.opening import open_database
from tests.contract.listed_events import ListedEvents
from tests.cqrs.shop import CreateUser, RenameUser, UserCreated, UserGreeted


@dataclass
class Place:
    """A store, or none, and the buses on it."""

    store: EventStore | None

    def bus(self, **options: Any) -> CommandBus:
        return CommandBus(self.store, **options)

    def stored(self) -> list[Any]:
        return [] if self.store is None else self.store.get_all_events()


@pytest.fixture(params=["none", "memory", "file", "backend", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "none":
        yield Place(None)
        return
    places: dict[str, Any] = {"memory": ":memory:", "file": tmp_path / "events.db", "backend": ListedEvents()}
    if request.param == "postgres":
        places["postgres"] = request.getfixturevalue("postgres_store_url")
    with EventStore(places[request.param]) as store:
        yield Place(store)


def counting(bus: CommandBus, make: Callable[[Any], Any] = lambda command: [UserCreated(command.name)]) -> list[Any]:
    calls: list[Any] = []

    @bus.handles(CreateUser)
    def handle(command: CreateUser) -> Any:
        calls.append(command)
        return make(command)

    return calls


def test_the_same_command_with_the_same_key_is_handled_once(place: Place) -> None:
    bus = place.bus()
    calls = counting(bus, lambda command: [UserCreated(command.name), UserGreeted(command.name)])
    answer = [UserCreated("Ada"), UserGreeted("Ada")]
    for _ in range(3):
        answered = bus.dispatch(CreateUser("Ada"), "key")
        assert answered == answer
        answered.clear()  # the caller's own list
    assert len(calls) == 1
    assert bus.dispatch(CreateUser("Ada"), "another key") == answer
    assert bus.dispatch(CreateUser("Ada")) == answer
    assert bus.dispatch(CreateUser("Ada")) == answer
    assert len(calls) == 4
    assert place.store is None or place.stored() == answer * 4


def test_an_answer_without_events_is_an_answer(place: Place) -> None:
    bus = place.bus()
    calls = counting(bus, lambda command: None)
    assert bus.dispatch(CreateUser("Ada"), "key") == bus.dispatch(CreateUser("Ada"), "key") == []
    assert len(calls) == 1


def test_one_key_belongs_to_one_command_with_all_its_fields(place: Place) -> None:
    bus = place.bus()
    counting(bus)
    bus.register(RenameUser, lambda command: [UserGreeted(command.name)])
    bus.dispatch(CreateUser("Ada"), "key")
    with pytest.raises(IdempotencyConflictError, match="was used for another CreateUser, not for this CreateUser"):
        bus.dispatch(CreateUser("Eve"), "key")
    with pytest.raises(IdempotencyConflictError, match="was used for a CreateUser, not for this RenameUser"):
        bus.dispatch(RenameUser("Ada"), "key")
    assert bus.dispatch(CreateUser("Ada"), "key") == [UserCreated("Ada")]


def test_a_failure_is_not_remembered_and_frees_the_key_for_any_command(place: Place) -> None:
    bus = place.bus()
    fail = CommandRejectedError("no")

    @bus.handles(CreateUser)
    def refuse(command: CreateUser) -> None:
        raise fail

    for _ in range(2):
        with pytest.raises(CommandRejectedError) as caught:
            bus.dispatch(CreateUser("Ada"), "key")
        assert caught.value is fail
    bus.register(RenameUser, lambda command: [UserGreeted(command.name)])
    assert bus.dispatch(RenameUser("Ada"), "key") == [UserGreeted("Ada")]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValidationError([])])
def test_not_even_an_interrupt_keeps_the_key(place: Place, error: Any) -> None:
    bus = place.bus()

    @bus.validates(CreateUser)
    def interrupted(command: CreateUser) -> None:
        if not stored:
            raise error

    stored: list[bool] = []
    bus.register(CreateUser, lambda command: [UserCreated(command.name)])
    if not isinstance(error, ValidationError):
        with pytest.raises(error):
            bus.dispatch(CreateUser("Ada"), "key")
    stored.append(True)
    assert bus.dispatch(CreateUser("Ada"), "key", timeout_s=0) == [UserCreated("Ada")]


def test_what_can_not_be_stored_frees_the_key(tmp_path: Path) -> None:
    with EventStore(tmp_path / "events.db") as store:
        bus = CommandBus(store)
        bus.register(CreateUser, lambda command: ["no event"])
        for _ in range(2):
            with pytest.raises(NotSerializableError):
                bus.dispatch(CreateUser("Ada"), "key")
        bus.register(CreateUser, lambda command: Appends("", [UserCreated("x")]), replace=True)
        with pytest.raises(ValueError, match="stream"):
            bus.dispatch(CreateUser("Ada"), "key")
        bus.register(CreateUser, lambda command: [UserCreated("x")], replace=True)
        assert bus.dispatch(CreateUser("Ada"), "key", timeout_s=0) == [UserCreated("x")]
        assert store.version("CreateUser") == 1


def test_of_many_threads_one_runs_and_all_get_its_answer(place: Place) -> None:
    buses = [place.bus() for _ in range(3)] if place.store is not None else [place.bus()]
    running: list[Any] = []
    most: list[int] = []
    for bus in buses:

        @bus.handles(CreateUser)
        def handle(command: CreateUser) -> list[Any]:
            running.append(command)
            most.append(len(running))
            started.set()
            answers_wanted.wait(30)
            running.pop()
            return [UserCreated(command.name)]

    started, answers_wanted = threading.Event(), threading.Event()
    with ThreadPoolExecutor(12) as pool:
        futures = [pool.submit(buses[n % len(buses)].dispatch, CreateUser("Ada"), "key") for n in range(12)]
        assert started.wait(30)
        answers_wanted.set()
        assert [future.result(30) for future in futures] == [[UserCreated("Ada")]] * 12
    assert most == [1]
    assert place.store is None or place.stored() == [UserCreated("Ada")]


def test_after_a_failure_a_waiting_caller_runs_the_handler(place: Place) -> None:
    bus = place.bus()
    first_runs, second_waits = threading.Event(), threading.Event()
    calls: list[str] = []

    @bus.handles(CreateUser)
    def handle(command: CreateUser) -> list[Any]:
        calls.append("call")
        if len(calls) == 1:
            first_runs.set()
            assert second_waits.wait(30)
            raise CommandRejectedError("the first one fails")
        return [UserCreated(command.name)]

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(bus.dispatch, CreateUser("Ada"), "key")
        assert first_runs.wait(30)
        second = pool.submit(bus.dispatch, CreateUser("Ada"), "key")
        with pytest.raises(TimeoutError, match="still being handled by process"):
            bus.dispatch(CreateUser("Ada"), "key", timeout_s=0.05)
        second_waits.set()
        with pytest.raises(CommandRejectedError):
            first.result(30)
        assert second.result(30) == [UserCreated("Ada")]
    assert len(calls) == 2


def test_other_keys_and_writers_go_on_while_a_handler_runs(place: Place) -> None:
    bus = place.bus()

    @bus.handles(RenameUser)
    def slow(command: RenameUser) -> list[Any]:
        counting(bus)
        with ThreadPoolExecutor(1) as pool:  # another thread, which would not pass a lock of this one
            if place.store is not None:
                pool.submit(place.store.append, "free", [UserGreeted("beside")]).result(30)
            return pool.submit(bus.dispatch, CreateUser("inner"), "inner").result(30)

    assert bus.dispatch(RenameUser("Ada"), "outer", timeout_s=10) == [UserCreated("inner")]


def test_the_file_is_not_locked_while_a_handler_runs(tmp_path: Path) -> None:
    with EventStore(tmp_path / "events.db") as store:
        bus = CommandBus(store)

        @bus.handles(CreateUser)
        def handle(command: CreateUser) -> list[Any]:
            other = open_database(tmp_path / "events.db", busy_timeout_s=0.0)
            with other.transaction():  # raises at once where anybody holds the write lock
                pass
            other.close()
            return [UserCreated(command.name)]

        assert bus.dispatch(CreateUser("Ada"), "key") == [UserCreated("Ada")]


def test_a_handler_that_dispatches_its_own_key_is_told_and_does_not_wait_for_itself(place: Place) -> None:
    bus = place.bus()

    @bus.handles(CreateUser)
    def again(command: CreateUser) -> list[Any]:
        if command.age:
            with pytest.raises(CqrsError, match="would wait for itself"):
                bus.dispatch(CreateUser("Ada", command.age), "key")
            bus.dispatch(CreateUser("Ada", 0), "other key")
        return [UserCreated(command.name)]

    assert bus.dispatch(CreateUser("Ada", 1), "key") == [UserCreated("Ada")]


@pytest.mark.parametrize("place", ["none", "memory", "file", "backend"], indirect=True)
def test_answers_expire_by_the_stated_limit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"s": 1_000_000.0}
    monkeypatch.setattr("antistrophe.cqrs.idempotency_sqlite.time.time_ns", lambda: int(now["s"] * 1e9))
    bus = place.bus(keys_expire_s=100.0)
    calls = counting(bus)
    bus.dispatch(CreateUser("Ada"), "key")
    now["s"] += 99
    bus.dispatch(CreateUser("Ada"), "key")
    assert len(calls) == 1
    now["s"] += 2
    assert bus.dispatch(CreateUser("Eve"), "key") == [UserCreated("Eve")]  # free for another command as well
    assert len(calls) == 2


@pytest.mark.parametrize("key", ["", 5, b"key"])
def test_a_key_is_a_text(place: Place, key: Any) -> None:
    bus = place.bus()
    counting(bus)
    with pytest.raises(ValueError, match="idempotency key"):
        bus.dispatch(CreateUser("Ada"), key)


def test_a_command_with_a_key_has_to_be_data(place: Place) -> None:
    @dataclass(frozen=True)
    class Odd:
        what: Any
        at: datetime

    bus = place.bus()
    bus.register(Odd, lambda command: [UserCreated("Ada")])
    now = datetime.now(UTC)
    assert bus.dispatch(Odd(object(), now)) == [UserCreated("Ada")]
    with pytest.raises(NotSerializableError, match="command Odd: field what"):
        bus.dispatch(Odd(object(), now), "key")
    assert bus.dispatch(Odd({1, 2}, now), "key") == bus.dispatch(Odd({2, 1}, now), "key")


def test_buses_of_one_store_share_their_keys_and_those_of_others_do_not(place: Place) -> None:
    first, second = place.bus(), place.bus()
    counting(first)
    calls = counting(second)
    first.dispatch(CreateUser("Ada"), "key")
    second.dispatch(CreateUser("Ada"), "key")
    assert len(calls) == (1 if place.store is None else 0)
    with EventStore(":memory:") as other:
        bus = CommandBus(other)
        calls = counting(bus)
        bus.dispatch(CreateUser("Ada"), "key")
        assert len(calls) == 1


def test_events_and_answer_are_stored_both_or_neither(place: Place) -> None:
    bus = place.bus()
    calls = counting(bus, lambda command: Appends("users", [UserCreated(command.name)], expected_version=1))
    if place.store is None:
        assert bus.dispatch(CreateUser("Ada"), "key") == [UserCreated("Ada")]
        return
    with pytest.raises(ConcurrencyError):
        bus.dispatch(CreateUser("Ada"), "key")
    assert place.stored() == []
    place.store.append("users", [UserCreated("first")])
    assert bus.dispatch(CreateUser("Ada"), "key") == [UserCreated("Ada")]
    assert bus.dispatch(CreateUser("Ada"), "key") == [UserCreated("Ada")]
    assert len(calls) == 2
    assert place.stored() == [UserCreated("first"), UserCreated("Ada")]


def test_a_bus_without_a_store_forgets_the_answers_of_keys_that_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"s": 1_000_000.0}
    monkeypatch.setattr("antistrophe.cqrs.idempotency_sqlite.time.time_ns", lambda: int(now["s"] * 1e9))
    keys = SqliteIdempotencyStore(None, 100.0)
    for number in range(250):
        claim = keys.claim(KeyedCommand(f"key {number}", "Command", b""))
        assert isinstance(claim, Claim)
        keys.settle(claim, (), ["any object"])
        keys.release(claim)
    assert isinstance(keys._answers, LiveAnswers)
    assert len(keys._answers._events) == 250
    now["s"] += 101
    keys.claim(KeyedCommand("key 249", "Command", b""))  # replaced, before its turn to be purged
    assert len(keys._answers._events) == 149
    for number in range(2):
        keys.claim(KeyedCommand(f"new {number}", "Command", b""))
    assert keys._answers._events == {}


def test_a_claim_that_was_lost_stores_nothing(place: Place) -> None:
    keys = SqliteIdempotencyStore(place.store, 600.0)
    command = KeyedCommand("key", "CreateUser", b"fingerprint")
    claim = keys.claim(command)
    assert isinstance(claim, Claim)
    keys.release(claim)
    event = encode_event(UserCreated("Ada"))
    batch = Batch("users", [NewEvent(event.type, event.type_version, event.data)], None)
    with pytest.raises(CqrsError, match="the key 'key' is not held any more: nothing was stored"):
        keys.settle(claim, [batch], [UserCreated("Ada")])
    assert place.stored() == []


def test_a_bus_without_a_store_goes_on_in_a_fork() -> None:
    bus = CommandBus()
    counting(bus)
    bus.dispatch(CreateUser("Ada"), "key")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if bus.dispatch(CreateUser("Eve"), "key in the fork") == [UserCreated("Eve")] else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_who_waits_in_this_process_is_told_and_need_not_look(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antistrophe.cqrs.idempotency_sqlite._poll", None)
    bus = place.bus()
    started, go_on = threading.Event(), threading.Event()

    def slow(command: CreateUser) -> list[Any]:
        started.set()
        assert go_on.wait(30)
        return [UserCreated(command.name)]

    bus.register(CreateUser, slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(bus.dispatch, CreateUser("Ada"), "key")
        assert started.wait(30)
        second = pool.submit(bus.dispatch, CreateUser("Ada"), "key")
        with pytest.raises(TimeoutError):
            bus.dispatch(CreateUser("Ada"), "key", timeout_s=0.05)
        go_on.set()
        assert first.result(30) == second.result(30) == [UserCreated("Ada")]


def test_what_went_wrong_comes_out_even_if_the_key_can_not_be_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = EventStore(tmp_path / "events.db")
    bus = CommandBus(store)

    @bus.handles(CreateUser)
    def closes(command: CreateUser) -> list[Any]:
        store.close()
        raise CommandRejectedError("the handler's own")

    with pytest.raises(CommandRejectedError):
        bus.dispatch(CreateUser("Ada"), "key")
    assert "'key' could not be given up" in caplog.text
    # Nobody holds the claim, so the next caller has it at once.
    with EventStore(tmp_path / "events.db") as again:
        bus = CommandBus(again)
        counting(bus)
        assert bus.dispatch(CreateUser("Ada"), "key", timeout_s=0) == [UserCreated("Ada")]
