"""The command bus: who handles what, what is checked before, what is stored and answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from antistrophe.cqrs.bus import CommandBus
from antistrophe.cqrs.results import Appends
from antistrophe.errors import (
    CommandRejectedError,
    ConcurrencyError,
    CqrsError,
    DuplicateHandlerError,
    FieldError,
    HandlerNotFoundError,
    NotSerializableError,
    ValidationError,
)
from antistrophe.eventstore.store import EventStore
from tests.cqrs.shop import CreateUser, RenameUser, UserCreated, UserGreeted


@pytest.fixture(params=["memory", "file", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore]:
    place = ":memory:" if request.param == "memory" else tmp_path / "events.db"
    if request.param == "postgres":
        place = request.getfixturevalue("postgres_store_url")
    with EventStore(place) as opened:
        yield opened


# --- registering --------------------------------------------------------------------------------------------------


def test_a_command_reaches_its_handler_and_its_events_come_back() -> None:
    bus = CommandBus()

    @bus.handles(CreateUser)
    def create(command: CreateUser) -> list[Any]:
        return [UserCreated(command.name), UserGreeted(command.name, command.age)]

    assert bus.dispatch(CreateUser("Ada", 2)) == [UserCreated("Ada"), UserGreeted("Ada", 2)]
    assert create(CreateUser("B"))[0] == UserCreated("B")  # the decorator hands the function back
    assert bus.handlers_count == 1


def test_a_callable_object_may_handle_and_be_registered_by_a_call() -> None:
    class Handler:
        def __call__(self, command: CreateUser) -> list[Any]:
            return [UserCreated(command.name)]

    bus = CommandBus()
    bus.register(CreateUser, Handler())
    assert bus.dispatch(CreateUser("Ada")) == [UserCreated("Ada")]


def test_a_second_handler_is_refused_unless_it_is_to_replace_the_first() -> None:
    bus = CommandBus()
    bus.register(CreateUser, lambda command: [UserCreated("first")])
    with pytest.raises(DuplicateHandlerError, match="CreateUser has a handler already"):
        bus.register(CreateUser, lambda command: [UserCreated("second")])
    with pytest.raises(DuplicateHandlerError):
        bus.handles(CreateUser)(lambda command: [])
    assert bus.dispatch(CreateUser("Ada")) == [UserCreated("first")]
    bus.register(CreateUser, lambda command: [UserCreated("second")], replace=True)
    assert bus.dispatch(CreateUser("Ada")) == [UserCreated("second")]
    assert bus.handlers_count == 1


def test_a_command_without_a_handler_is_refused_by_its_type() -> None:
    class Special(CreateUser):
        pass

    bus = CommandBus()
    bus.register(CreateUser, lambda command: [])
    for command in (RenameUser("Ada"), Special("Ada")):
        with pytest.raises(HandlerNotFoundError, match=type(command).__name__):
            bus.dispatch(command)
        with pytest.raises(HandlerNotFoundError, match=type(command).__name__):
            bus.dispatch(command, "key")


def test_what_can_not_handle_or_be_handled_is_refused_when_registered() -> None:
    bus = CommandBus()
    wrong: Any
    for wrong in (None, "text", CreateUser):
        with pytest.raises(CqrsError, match="can't handle commands"):
            bus.register(CreateUser, wrong)
    with pytest.raises(CqrsError, match="is not a class: pass the class"):
        bus.register(CreateUser("Ada"), lambda command: [])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="keys_expire_s"):
        CommandBus(keys_expire_s=0)
    assert bus.handlers_count == 0


def test_a_handler_may_register_and_dispatch_while_it_runs(store: EventStore) -> None:
    bus = CommandBus(store)

    @bus.handles(CreateUser)
    def create(command: CreateUser) -> list[Any]:
        bus.register(RenameUser, lambda other: [UserGreeted(other.name)])
        store.append("by hand", [UserGreeted("hand")])
        return [UserCreated(command.name), *bus.dispatch(RenameUser("inner"), "inner key")]

    assert bus.dispatch(CreateUser("Ada"), "outer key") == [UserCreated("Ada"), UserGreeted("inner")]
    assert [(each.stream, each.event) for each in store.read()] == [
        ("by hand", UserGreeted("hand")),
        ("RenameUser", UserGreeted("inner")),
        ("CreateUser", UserCreated("Ada")),
        ("CreateUser", UserGreeted("inner")),
    ]


# --- failing ------------------------------------------------------------------------------------------------------


def test_all_wrong_fields_come_out_at_once_and_the_handler_does_not_run(store: EventStore) -> None:
    bus = CommandBus(store)
    bus.register(CreateUser, lambda command: [UserCreated(command.name)])

    @bus.validates(CreateUser)
    def name(command: CreateUser) -> list[FieldError]:
        return [] if command.name else [FieldError("name", "must not be empty", "required")]

    @bus.validates(CreateUser)
    def age(command: CreateUser) -> None:
        if command.age < 0:
            raise ValidationError([FieldError("age", "must not be negative"), FieldError("age", "is odd", "odd")])

    @bus.validates(RenameUser)
    def never(command: RenameUser) -> None:
        raise AssertionError("a check of another type of command")

    with pytest.raises(ValidationError) as caught:
        bus.dispatch(CreateUser("", -1))
    assert caught.value.errors == [
        FieldError("name", "must not be empty", "required"),
        FieldError("age", "must not be negative", "validation_failed"),
        FieldError("age", "is odd", "odd"),
    ]
    assert store.get_all_events() == []
    assert bus.dispatch(CreateUser("Ada", 1)) == [UserCreated("Ada")]


@pytest.mark.parametrize("error", [CommandRejectedError("no"), KeyError("unexpected"), ZeroDivisionError()])
def test_what_a_handler_raises_comes_out_unchanged_and_nothing_is_stored(store: EventStore, error: Exception) -> None:
    bus = CommandBus(store)

    @bus.handles(CreateUser)
    def create(command: CreateUser) -> Iterator[Any]:
        yield UserCreated(command.name)
        raise error

    with pytest.raises(type(error)) as caught:
        bus.dispatch(CreateUser("Ada"))
    assert caught.value is error
    assert store.get_all_events() == []


@pytest.mark.parametrize("wrong", ["text", 5, {"a": 1}, {UserCreated("x")}, object()])
def test_what_is_neither_events_nor_appends_is_refused(wrong: Any) -> None:
    bus = CommandBus()
    bus.register(CreateUser, lambda command: wrong)
    with pytest.raises(CqrsError, match="the handler returned"):
        bus.dispatch(CreateUser("Ada"))


def test_what_is_no_event_is_not_stored(store: EventStore) -> None:
    bus = CommandBus(store)
    bus.register(CreateUser, lambda command: [UserCreated("Ada"), "text"])
    with pytest.raises(NotSerializableError):
        bus.dispatch(CreateUser("Ada"))
    assert store.get_all_events() == []


# --- storing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Returns:
    value: Any


RETURNED: list[tuple[Any, list[tuple[str, Any]]]] = [
    (None, []),
    ([], []),
    (UserCreated("a"), [("Returns", UserCreated("a"))]),
    ((UserCreated("a"), UserGreeted("a")), [("Returns", UserCreated("a")), ("Returns", UserGreeted("a"))]),
    (iter([UserCreated("a")]), [("Returns", UserCreated("a"))]),
    (Appends("s", [UserCreated("a"), UserCreated("b")]), [("s", UserCreated("a")), ("s", UserCreated("b"))]),
    (Appends("s", iter([UserCreated("a")]), 0), [("s", UserCreated("a"))]),  # type: ignore[arg-type]
    (
        [Appends("s", [UserCreated("a")]), Appends("t", [UserCreated("b")], 0), Appends("s", [UserCreated("c")], 1)],
        [("s", UserCreated("a")), ("t", UserCreated("b")), ("s", UserCreated("c"))],
    ),
]


@pytest.mark.parametrize(("returned", "stored"), RETURNED)
@pytest.mark.parametrize("key", [None, "a key"])
def test_everything_a_handler_may_return(
    tmp_path: Path, returned: Any, stored: list[tuple[str, Any]], key: str | None
) -> None:
    if isinstance(returned, Iterator):
        returned = iter([UserCreated("a")])  # the parameter is shared by both runs
    with EventStore(tmp_path / "events.db") as store:
        bus = CommandBus(store)
        bus.register(Returns, lambda command: returned)
        assert bus.dispatch(Returns(1), key) == [event for _, event in stored]
        assert [(each.stream, each.event) for each in store.read()] == stored


def test_events_carry_which_command_made_them(store: EventStore) -> None:
    bus = CommandBus(store)

    @bus.handles(CreateUser)
    def create(command: CreateUser) -> list[Any]:
        bus.dispatch(RenameUser("inner"))
        return [UserCreated(command.name)]

    bus.register(RenameUser, lambda command: [UserGreeted(command.name)])
    bus.dispatch(CreateUser("Ada"), "key 1")
    bus.dispatch(RenameUser("alone"))
    inner, outer, alone = (each.metadata for each in store.read())
    assert (outer["command"], outer["idempotency_key"]) == ("CreateUser", "key 1")
    assert inner["command"] == "RenameUser"
    assert "idempotency_key" not in inner
    assert inner["correlation"] == outer["correlation"] == outer["causation"] != inner["causation"]
    assert alone["correlation"] == alone["causation"] != outer["correlation"]


def test_several_appends_are_stored_all_or_none(store: EventStore) -> None:
    store.append("t", [UserCreated("before")])
    bus = CommandBus(store)
    bus.register(CreateUser, lambda command: [Appends("s", [UserCreated("x")]), Appends("t", [UserCreated("y")], 0)])
    for key in (None, "key"):
        with pytest.raises(ConcurrencyError, match="'t' is at version 1, not 0"):
            bus.dispatch(CreateUser("Ada"), key)
    assert [each.stream for each in store.read()] == ["t"]


def test_without_a_store_events_are_only_answered() -> None:
    bus = CommandBus()
    thing = object()
    bus.register(CreateUser, lambda command: Appends("s", [thing], 7))
    assert bus.dispatch(CreateUser("Ada")) == [thing]
    assert bus.dispatch(CreateUser("Ada"), "key") == [thing]


# --- middleware ---------------------------------------------------------------------------------------------------


def test_middleware_stands_around_everything_the_first_outermost(store: EventStore) -> None:
    bus = CommandBus(store)
    bus.register(CreateUser, lambda command: [UserCreated(command.name)])
    seen: list[Any] = []

    def tracing(name: str) -> Callable[[Any, Callable[[Any], list[Any]]], list[Any]]:
        def trace(command: Any, proceed: Callable[[Any], list[Any]]) -> list[Any]:
            seen.append((name, command.name, store.version("CreateUser")))
            events = proceed(CreateUser(command.name + name))
            seen.append((name, events, store.version("CreateUser")))
            return events

        return trace

    bus.add_middleware(tracing("1"))
    bus.add_middleware(tracing("2"))
    created = UserCreated("Ada12")
    assert bus.dispatch(CreateUser("Ada")) == [created]
    assert seen == [("1", "Ada", 0), ("2", "Ada1", 0), ("2", [created], 1), ("1", [created], 1)]


@pytest.mark.parametrize("key", [None, "key"])
def test_middleware_may_try_again_after_a_conflict(store: EventStore, key: str | None) -> None:
    bus = CommandBus(store)
    reads: list[int] = []

    @bus.handles(CreateUser)
    def create(command: CreateUser) -> Appends:
        reads.append(store.version("users"))
        if len(reads) == 1:
            store.append("users", [UserCreated("somebody else")])
        return Appends("users", [UserCreated(command.name)], reads[-1])

    @bus.add_middleware
    def retry(command: Any, proceed: Callable[[Any], list[Any]]) -> list[Any]:
        try:
            return proceed(command)
        except ConcurrencyError:
            return proceed(command)

    assert bus.dispatch(CreateUser("Ada"), key) == [UserCreated("Ada")]
    assert reads == [0, 1]
    assert store.get_events("users") == [UserCreated("somebody else"), UserCreated("Ada")]


def test_what_middleware_answers_by_itself_is_not_stored_but_remembered(store: EventStore) -> None:
    bus = CommandBus(store)
    bus.register(CreateUser, lambda command: [UserCreated(command.name)])
    calls: list[Any] = []

    @bus.add_middleware
    def answer(command: Any, proceed: Callable[[Any], list[Any]]) -> list[Any]:
        calls.append(command)
        return [UserGreeted(command.name)]

    for _ in range(2):
        assert bus.dispatch(CreateUser("Ada"), "key") == [UserGreeted("Ada")]
    assert len(calls) == 1
    assert store.get_all_events() == []


def test_with_a_key_nothing_is_stored_twice_even_if_middleware_goes_on_twice(store: EventStore) -> None:
    bus = CommandBus(store)
    bus.register(CreateUser, lambda command: [UserCreated(command.name)])
    bus.add_middleware(lambda command, proceed: proceed(command) + proceed(command))
    with pytest.raises(CqrsError, match="called next again"):
        bus.dispatch(CreateUser("Ada"), "key")
    assert bus.dispatch(CreateUser("Ada"), "key") == [UserCreated("Ada")]
    assert len(store.get_all_events()) == 1


# --- threads ------------------------------------------------------------------------------------------------------


def test_many_threads_dispatch_and_register_at_once(store: EventStore) -> None:
    bus = CommandBus(store)
    bus.register(CreateUser, lambda command: Appends(f"user-{command.age}", [UserCreated(command.name)]))
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for count in range(20):
            bus.dispatch(CreateUser(f"{number}-{count}", number))
            bus.register(type(f"Command{number}{count}", (), {}), lambda command: [])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bus.handlers_count == 161
    for number in range(8):
        names = [each.data["name"] for each in store.read_stream(f"user-{number}")]
        assert names == [f"{number}-{count}" for count in range(20)]


def test_one_event_without_a_list_is_refused_by_name() -> None:
    wrong: Any = UserCreated("a")
    with pytest.raises(TypeError, match=r"Appends takes its events in a list: \[UserCreated"):
        Appends("s", wrong)
