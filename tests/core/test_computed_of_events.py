"""What an event computes by itself is stored with it: every reader sees the values that its maker had."""

from __future__ import annotations

import itertools
import random
import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import attrs
import pytest

from antistrophe.cqrs.bus import CommandBus
from antistrophe.definition.events import RawEvent, decode_event, encode_event, event
from antistrophe.errors import NotSerializableError, UnreadableDataError
from antistrophe.eventstore.auto_upcaster import AutoUpcaster
from antistrophe.eventstore.store import EventStore
from antistrophe.eventstore.versions import VersionRegistry
from antistrophe.serialization.payload import pack_payload, unpack_payload

_numbers = itertools.count()


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Money:
    units: int


@event("computed.paid")
@dataclass(frozen=True)
class Paid:
    amount: int
    paid_id: str = field(init=False, default_factory=lambda: uuid.uuid4().hex)
    at: datetime = field(init=False, default_factory=lambda: datetime.now(UTC))
    colour: Colour = field(init=False, default_factory=lambda: random.choice(list(Colour)))
    number: int = field(init=False, default_factory=lambda: next(_numbers))
    money: Money = field(init=False, default_factory=lambda: Money(next(_numbers)))
    double: int = field(init=False)
    ratio: float = field(init=False, default=float("nan"), compare=False)
    never_set: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "double", self.amount * 2)


@event("computed.slotted")
@dataclass(frozen=True, slots=True)
class Slotted:
    slot_id: uuid.UUID = field(init=False, default_factory=uuid.uuid4)


@event("computed.attrs")
@attrs.frozen
class WithAttrs:
    amount: int
    made: str = attrs.field(init=False, factory=lambda: uuid.uuid4().hex)


def read_again(made: Any) -> Any:
    encoded = encode_event(made)
    return decode_event(encoded.type, encoded.type_version, encoded.data)


@pytest.mark.parametrize("made", [Paid(5), Slotted(), WithAttrs(5)], ids=["dataclass", "slots", "attrs"])
def test_every_reader_sees_what_the_maker_has_computed(made: Any) -> None:
    assert read_again(made) == read_again(made) == made


def test_what_was_not_set_stays_so_and_no_number_is_one() -> None:
    read = read_again(Paid(5))
    assert not hasattr(read, "never_set")
    assert read.ratio != read.ratio


def test_answers_and_streams_have_the_same_values(tmp_path: Path) -> None:
    with EventStore(tmp_path / "events.db") as store:
        bus = CommandBus(store)
        bus.register(Money, lambda command: [Paid(command.units)])
        answers = [bus.dispatch(Money(5), "key") for _ in range(2)]
    with EventStore(tmp_path / "events.db") as store:
        assert [store.get_events("Money"), *answers] == [answers[0]] * 3


def test_an_event_that_was_stored_without_them_computes_them() -> None:
    read: Any = decode_event("computed.paid", 1, pack_payload({"amount": 5}))
    assert read.double == 10
    assert len(read.paid_id) == 32


def test_a_value_that_no_longer_fits_is_told() -> None:
    fields = {**unpack_payload(encode_event(Paid(5)).data), "paid_id": 7}
    with pytest.raises(UnreadableDataError, match=r"Paid does not fit its class: field paid_id: str is declared"):
        decode_event("computed.paid", 1, pack_payload(fields))


def test_a_program_without_the_class_sees_them_too() -> None:
    encoded = encode_event(made := Slotted())
    assert decode_event("computed.unknown", 1, encoded.data) == RawEvent(
        "computed.unknown", 1, {"slot_id": made.slot_id}
    )


@event("computed.locked")
@dataclass(frozen=True)
class Locked:
    lock: Any = field(init=False, default_factory=threading.Lock)


@event("computed.beside")
@dataclass(frozen=True)
class LockedBeside:
    amount: int
    lock: Any = field(init=False, compare=False, default_factory=threading.Lock)


@event("computed.alike")
@dataclass(frozen=True)
class Alike:
    kind: Any = field(init=False, default=int)


@dataclass(frozen=True)
class Line:
    goods: str
    line_id: str = field(init=False, default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Sum:
    units: int
    double: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "double", self.units * 2)


@event("computed.lines")
@dataclass(frozen=True)
class Lines:
    lines: list[Line]


@event("computed.sums")
@dataclass(frozen=True)
class Sums:
    sums: list[Sum]


def test_what_can_not_travel_and_would_differ_is_refused_by_name() -> None:
    with pytest.raises(NotSerializableError, match=r"event computed.locked: field lock is computed .* can't travel"):
        encode_event(Locked())
    with pytest.raises(NotSerializableError, match=r"event computed.lines: lines\[0\].line_id is computed"):
        encode_event(Lines([Line("tea")]))


def test_what_each_reader_computes_alike_or_does_not_compare_may_stay() -> None:
    for made in (LockedBeside(5), Alike(), Sums([Sum(5)])):
        assert read_again(made) == made


@event("computed.moved")
@dataclass(frozen=True)
class MovedV1:
    amount: int
    move_id: str = field(init=False, default_factory=lambda: uuid.uuid4().hex)
    shown: str = field(init=False, default_factory=lambda: uuid.uuid4().hex)


@event("computed.moved", version=2)
@dataclass(frozen=True)
class MovedV2:
    amount: int
    move_id: str = field(init=False, default_factory=lambda: uuid.uuid4().hex)
    shown: str = ""


@event("computed.moved", version=3)
@dataclass(frozen=True)
class MovedV3:
    amount: int
    id: str
    again: str = field(init=False)

    @classmethod
    def from_previous(cls, old: MovedV2) -> MovedV3:
        new = cls(old.amount, old.move_id)
        object.__setattr__(new, "again", old.move_id)
        return new


def test_upcasters_take_them_along() -> None:
    second, third = AutoUpcaster(MovedV1, MovedV2), AutoUpcaster(MovedV2, MovedV3)
    first = MovedV1(5)
    versions = VersionRegistry()
    versions.register_upcaster(second)
    versions.register_upcaster(third)
    data = second.upcast(unpack_payload(encode_event(first).data))
    assert data == {"amount": 5, "move_id": first.move_id, "shown": first.shown}
    assert third.upcast(data) == {"amount": 5, "id": first.move_id, "again": first.move_id}
    with EventStore(":memory:", versions) as store:
        store.append("s", [first])
        read: Any = store.get_events("s")[0]
        assert (read.id, read.again) == (first.move_id, first.move_id)
