"""A command that is repeated after a release: the same values are the same command, and get the answer of the key."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import Any

import attrs
import pytest

from antistrophe.cqrs.bus import CommandBus
from antistrophe.cqrs.idempotency import Claim, Held, KeyedCommand
from antistrophe.cqrs.idempotency_sqlite import SqliteIdempotencyStore
from antistrophe.cqrs.same_command import KEPT_BYTES
from antistrophe.errors import IdempotencyConflictError
from antistrophe.eventstore.store import EventStore
from antistrophe.storage.opening import open_database
from antistrophe.storage.schema import MIGRATIONS
from tests.contract.listed_events import ListedEvents
from tests.cqrs.shop import UserCreated


def release(*fields: Any, name: str = "Order", methods: dict[str, Any] | None = None) -> Any:
    """The class of the commands in one release: other fields under the same name."""
    return make_dataclass(name, fields, frozen=True, namespace=methods)


def once(store: EventStore | None, *commands: Any) -> list[Any]:
    """The answers to the commands with one key, each from a bus of its own where that shares its keys. An answer counts
    how many handlers have run."""
    runs: list[Any] = []
    answers = []
    bus = CommandBus(store)
    for command in commands:
        bus = bus if store is None else CommandBus(store)

        def handle(command: Any) -> list[Any]:
            runs.append(command)
            return [UserCreated(str(len(runs)))]

        bus.register(type(command), handle, replace=True)
        answers.append(bus.dispatch(command, "key"))
    return answers


FIRST = [UserCreated("1")]


@pytest.fixture(params=["none", "memory", "file", "backend", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventStore | None]:
    if request.param == "none":
        yield None
        return
    places: dict[str, Any] = {"memory": ":memory:", "file": tmp_path / "events.db", "backend": ListedEvents()}
    if request.param == "postgres":
        places["postgres"] = request.getfixturevalue("postgres_store_url")
    with EventStore(places[request.param]) as some:
        yield some


def test_a_field_that_was_added_has_its_default(store: EventStore | None) -> None:
    first = release(("goods", str))
    second = release(("goods", str), ("memo", str, ""))
    third = release(("urgent", bool, field(default=False, kw_only=True)), ("goods", str), ("memo", str, ""))
    assert once(store, first("tea"), second("tea"), third("tea"), second("tea"), first("tea")) == [FIRST] * 5
    for other in (second("tea", "x"), third("tea", urgent=True), second("oil"), first("oil")):
        with pytest.raises(IdempotencyConflictError, match="was used for another Order, not for this Order: a key"):
            once(store, first("tea"), other)
    with pytest.raises(IdempotencyConflictError, match="was used for a Order, not for this Other"):
        once(store, first("tea"), release(("goods", str), ("memo", str, ""), name="Other")("tea"))


class Colour(Enum):
    RED = 1


def lines(*added: Any) -> Any:
    return release(("goods", str), *added, name="Line")


OLD_LINE: Any = lines()
NEW_LINE: Any = lines(("count", int, 1))


def each_in(cls: Any) -> Any:
    return list[cls]


def by_name(cls: Any) -> Any:
    return dict[str, cls | None]


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NAN = float("nan")


@attrs.frozen
class OldBox:
    size: int


@attrs.frozen
class NewBox:
    size: int
    colour: Colour = Colour.RED


NewBox.__name__ = OldBox.__name__


def sums_up(self: Any) -> None:
    if self.total is None:
        object.__setattr__(self, "total", self.amount * 2)


def needs_a_memo(self: Any) -> None:
    if not self.memo:
        raise ValueError("an order needs a memo")


SAME: dict[str, tuple[Any, Any]] = {
    "within a list": (
        release(("lines", each_in(OLD_LINE)))([OLD_LINE("tea")]),
        release(("lines", each_in(NEW_LINE)))([NEW_LINE("tea")]),
    ),
    "within a dict and an optional": (
        release(("lines", by_name(OLD_LINE)))({"a": OLD_LINE("tea"), "b": None}),
        release(("lines", by_name(NEW_LINE)))({"b": None, "a": NEW_LINE("tea")}),
    ),
    "a list of its own": (
        release(("goods", str))("tea"),
        release(("goods", str), ("more", list[str], field(default_factory=list)))("tea"),
    ),
    "attrs": (OldBox(5), NewBox(5)),
    "computed from others": (
        release(("amount", int))(5),
        release(("amount", int), ("total", int | None, None), methods={"__post_init__": sums_up})(5),
    ),
    "in another order": (release(("a", int), ("b", int))(1, 2), release(("b", int), ("a", int))(2, 1)),
    "a number": (release(("amount", float))(5), release(("amount", float), ("memo", str, ""))(5.0)),
    "no number": (release(("amount", float))(NAN), release(("amount", float), ("memo", str, ""))(NAN)),
    "a moment": (
        release(("at", datetime))(NOON),
        release(("at", datetime))(NOON.astimezone(timezone(timedelta(hours=2)))),
    ),
    "keys in another order": (release(("tags", Any))({"a": 1, "b": 2}), release(("tags", Any))({"b": 2, "a": 1})),
    "all fields": (release()(), release(("memo", str, ""))()),
}

OTHER: dict[str, tuple[Any, Any]] = {
    "within a list": (SAME["within a list"][0], release(("lines", each_in(NEW_LINE)))([NEW_LINE("tea", 2)])),
    "more of them": (SAME["within a list"][0], release(("lines", each_in(NEW_LINE)))([NEW_LINE("tea")] * 2)),
    "a field that was removed": (release(("goods", str), ("memo", str, ""))("tea"), release(("goods", str))("tea")),
    "a field that was renamed": (release(("good", str))("tea"), release(("goods", str, "tea"))("tea")),
    "a field without a default": (release(("goods", str))("tea"), release(("goods", str), ("memo", str))("tea", "")),
    "a flag for a number": (release(("tags", Any))({"a": True}), release(("tags", Any))({"a": 1})),
    "of another type": (release(("amount", int))(5), release(("amount", str))("5")),
    "that the class would refuse": (
        release(("goods", str))("tea"),
        release(("goods", str), ("memo", str, ""), methods={"__post_init__": needs_a_memo})("tea", "x"),
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_values_are_the_same_command(case: str) -> None:
    with EventStore(":memory:") as store:
        assert once(store, *SAME[case]) == [FIRST] * 2


@pytest.mark.parametrize("case", OTHER)
def test_other_values_are_another_command(case: str) -> None:
    with EventStore(":memory:") as store, pytest.raises(IdempotencyConflictError):
        once(store, *OTHER[case])


def test_the_handler_of_an_older_release_is_waited_for_and_its_claim_is_taken_over(tmp_path: Path) -> None:
    old, new = release(("goods", str))("tea"), release(("goods", str), ("memo", str, ""))("tea")
    other = release(("goods", str), ("memo", str, ""))("tea", "x")
    with EventStore(tmp_path / "events.db") as store:
        keys = SqliteIdempotencyStore(store, 600.0)
        claim = keys.claim(KeyedCommand.of(old, "key"))
        assert isinstance(claim, Claim)
        assert isinstance(keys.claim(KeyedCommand.of(new, "key")), Held)
        with pytest.raises(IdempotencyConflictError):
            keys.claim(KeyedCommand.of(other, "key"))
        database = open_database(tmp_path / "events.db")
        database.execute("UPDATE claims SET owner_start_ticks = 1, token = 'of a process that died'")
        database.close()
        assert once(store, new, old, new) == [FIRST] * 3
        keys.release(claim)  # which is not held any more, and need not be renewed
        assert once(store, old) == [FIRST]


def test_the_users_code_runs_while_the_file_is_not_locked(tmp_path: Path) -> None:
    def write(self: Any) -> None:
        other = open_database(tmp_path / "events.db", busy_timeout_s=0.0)
        with other.transaction():  # raises at once where anybody holds the write lock
            pass
        other.close()

    new = release(("goods", str), ("memo", str, ""), methods={"__post_init__": write})
    with EventStore(tmp_path / "events.db") as store:
        assert once(store, release(("goods", str))("tea"), new("tea")) == [FIRST] * 2


# --- what has a fingerprint only ----------------------------------------------------------------------------------


def file_of_version_2(path: Path, commands: Sequence[Any]) -> None:
    """A file as that version has left it, with an answer without events for each command."""
    database = open_database(path, migrations=MIGRATIONS[:2])
    for number, command in enumerate(commands):
        keyed = KeyedCommand.of(command, f"key {number}")
        database.execute(
            "INSERT INTO claims(key, command_hash, command_type, token, owner_pid, owner_start_ticks, owner_boot_id,"
            " answer, updated_at) VALUES (?, ?, ?, ?, 1, 1, '', ?, ?)",
            (keyed.key, keyed.fingerprint, keyed.command_type, f"t{number}", b"\x90", 2**62),
        )
    database.close()


def test_a_file_of_version_2_is_read_and_its_keys_keep_their_commands(tmp_path: Path) -> None:
    old = release(("goods", str), ("count", int, 1))
    new = release(("goods", str), ("count", int, 1), ("memo", str, ""), ("more", int, 0))
    file_of_version_2(tmp_path / "events.db", [old("tea"), old("oil", 2)])
    with EventStore(tmp_path / "events.db") as store:
        bus = CommandBus(store)
        for cls in (old, new):
            bus.register(cls, lambda command: [UserCreated("runs")])
        for command in (old("tea"), new("tea")):
            assert bus.dispatch(command, "key 0") == []
        assert bus.dispatch(new("oil", 2), "key 1") == []
        for other, key in ((new("oil"), "key 0"), (new("oil", 3), "key 1"), (new("oil", 2, "x"), "key 1")):
            with pytest.raises(IdempotencyConflictError):
                bus.dispatch(other, key)
        assert bus.dispatch(new("tea"), "new key") == [UserCreated("runs")]


def test_a_large_command_is_not_kept_and_still_known(tmp_path: Path) -> None:
    text = "x" * KEPT_BYTES
    old, new = release(("text", str)), release(("text", str), ("memo", str, ""))
    with EventStore(tmp_path / "events.db") as store:
        assert once(store, old(text), old(text), new(text)) == [FIRST] * 3
        for other in (new(text, "x"), new(text + "x")):
            with pytest.raises(IdempotencyConflictError):
                once(store, other)
    assert (tmp_path / "events.db").stat().st_size < KEPT_BYTES


@pytest.mark.parametrize("spoilt", [b"", b"\xc1", b"\x01", "text", 5])
def test_a_spoilt_row_is_another_command(tmp_path: Path, spoilt: Any) -> None:
    old, new = release(("goods", str)), release(("goods", str), ("memo", str, ""))
    with EventStore(tmp_path / "events.db") as store:
        once(store, old("tea"))
        database = open_database(tmp_path / "events.db")
        database.execute("UPDATE claims SET command = ?", (spoilt,))
        database.close()
        assert once(store, old("tea")) == [FIRST]
        with pytest.raises(IdempotencyConflictError):
            once(store, new("tea"))


# --- a program and its releases -----------------------------------------------------------------------------------

SCRIPT = """
from dataclasses import dataclass
from antistrophe.cqrs import CommandBus, EventStore, event

@event("ordered")
@dataclass(frozen=True)
class Ordered:
    goods: str

@dataclass(frozen=True)
class Line:
    goods: str
{line}

@dataclass(frozen=True)
class Order:
    lines: list[Line]
{fields}

def run():
    with EventStore("shop.db") as store:
        bus = CommandBus(store)

        @bus.handles(Order)
        def handle(order):
            print("runs")
            return [Ordered(order.lines[0].goods)]

        print(bus.dispatch(Order([Line("tea")]), idempotency_key="request-1"))

if __name__ == "__main__":
    run()
"""


def test_a_script_and_its_import_and_its_next_release_are_one(tmp_path: Path) -> None:
    def says(*command: str, line: str = "", fields: str = "") -> list[str]:
        (tmp_path / "shop.py").write_text(SCRIPT.format(line=line, fields=fields), "utf-8")
        ended = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.splitlines()

    answer = "[Ordered(goods='tea')]"
    assert says("shop.py") == ["runs", answer]
    assert says("-c", "import shop; shop.run()") == [answer]
    assert says("shop.py", line="    count: int = 1", fields="    memo: str = ''") == [answer]
    assert says("-c", "import shop; shop.run()", line="    count: int = 1") == [answer]


@dataclass(frozen=True)
class Plain:
    """A command with its fields as they are: nothing is read again where the fingerprint is the same."""

    goods: str


def test_the_same_bytes_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antistrophe.cqrs.same_command.in_words_of", None)
    with EventStore(":memory:") as store:
        assert once(store, Plain("tea"), Plain("tea")) == [FIRST] * 2
