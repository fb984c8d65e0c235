"""Events: which classes are events, under which type and version, and which events can be read again."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from decimal import Decimal
from types import ModuleType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antistrophe.definition import events
from antistrophe.definition.events import (
    EncodedEvent,
    RawEvent,
    decode_event,
    decode_fields,
    encode_event,
    event,
    event_class,
    event_key,
    newest_version,
)
from antistrophe.errors import InvalidDefinitionError, NotSerializableError, UnreadableDataError
from antistrophe.serialization.payload import pack_payload, unpack_payload


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes that a test registers are gone after it."""
    monkeypatch.setattr(events, "_classes", dict(events._classes))
    monkeypatch.setattr(events, "_newest", dict(events._newest))


@event
@dataclass(frozen=True)
class Debited:
    account: str
    amount: Decimal


@event("account.credited", version=2)
@dataclass(frozen=True, slots=True)
class Credited:
    account: str
    note: str | None = None


@event("seat.taken")
@attrs.frozen
class SeatTaken:
    seat: int


@dataclass(frozen=True)
class Unmarked(Debited):
    pass


def make(qualname: str = "Made", module: str = __name__, **annotations: type) -> Any:
    """A new class each time, as if it were written in this module under this name."""
    space = {"__annotations__": annotations, "__qualname__": qualname, "__module__": module}
    return dataclass(frozen=True)(type(qualname.rpartition(".")[2], (), space))


def test_the_type_is_the_class_name_unless_given() -> None:
    assert event_key(Debited) == ("Debited", 1)
    assert event_key(Credited) == ("account.credited", 2)
    assert event_key(SeatTaken) == ("seat.taken", 1)
    assert event_class("account.credited", 2) is Credited
    assert event_class("account.credited", 1) is None


def test_a_subclass_is_no_event_of_its_own() -> None:
    assert event_key(Unmarked) is None
    with pytest.raises(NotSerializableError, match="is no event: put @event above"):
        encode_event(Unmarked("A", Decimal(1)))


@given(st.text(), st.decimals(allow_nan=False))
def test_an_event_comes_back(account: str, amount: Decimal) -> None:
    encoded = encode_event(Debited(account, amount))
    assert (encoded.type, encoded.type_version) == ("Debited", 1)
    assert decode_event(encoded.type, encoded.type_version, encoded.data) == Debited(account, amount)


def test_an_encoded_event_is_a_value() -> None:
    encoded = encode_event(Credited("A"))
    assert encoded == EncodedEvent("account.credited", 2, pack_payload({"account": "A", "note": None}))
    assert {encoded: 1}[encode_event(Credited("A"))] == 1


@pytest.mark.parametrize("thing", [None, 5, "text", object(), Debited, {"account": "A"}])
def test_what_is_no_event_is_refused(thing: object) -> None:
    with pytest.raises(NotSerializableError, match="is no event"):
        encode_event(thing)


def test_an_event_that_could_not_be_read_again_is_refused() -> None:
    with pytest.raises(NotSerializableError, match=r"event Debited: field amount: Decimal is declared.*'1'"):
        encode_event(Debited("A", "1"))  # type: ignore[arg-type]
    with pytest.raises(NotSerializableError, match=r"event Debited: field account, declared str, can't travel"):
        encode_event(Debited(lambda: "A", Decimal(1)))  # type: ignore[arg-type]


def test_an_unknown_type_or_version_is_a_raw_event() -> None:
    data = pack_payload({"account": "A", "amount": 5})
    assert decode_event("account.debited", 1, data) == RawEvent("account.debited", 1, {"account": "A", "amount": 5})
    assert decode_event("account.credited", 1, data) == RawEvent("account.credited", 1, {"account": "A", "amount": 5})


def test_fields_can_be_changed_before_the_event_is_made() -> None:
    fields = unpack_payload(encode_event(Debited("A", Decimal(1))).data)
    assert decode_fields("Debited", 1, {**fields, "amount": Decimal(2)}) == Debited("A", Decimal(2))


def test_unknown_fields_are_ignored_and_missing_ones_take_their_defaults() -> None:
    assert decode_event("account.credited", 2, pack_payload({"account": "A", "later": 1})) == Credited("A")


@pytest.mark.parametrize("type_name", ["Debited", "nobody.knows"])
@pytest.mark.parametrize("data", [b"", b"\xc1", pack_payload(5), pack_payload([]), pack_payload({"account": 1})[:-1]])
def test_what_is_no_map_of_fields_is_unreadable(type_name: str, data: bytes) -> None:
    with pytest.raises(UnreadableDataError, match=type_name):
        decode_event(type_name, 1, data)


def test_fields_that_do_not_fit_are_unreadable() -> None:
    with pytest.raises(UnreadableDataError, match=r"Debited does not fit its class: .*amount"):
        decode_event("Debited", 1, pack_payload({"account": "A"}))


@given(st.sampled_from(["Debited", "account.credited", "other"]), st.integers(0, 3), st.binary(max_size=60))
def test_garbage_is_an_event_or_unreadable(type_name: str, version: int, data: bytes) -> None:
    try:
        found = decode_event(type_name, version, data)
    except UnreadableDataError:
        return
    assert isinstance(found, Debited | Credited | RawEvent)


def test_newest_version() -> None:
    event("ship.sailed", version=3)(make("Sailed3"))
    event("ship.sailed", version=1)(make("Sailed1"))
    assert newest_version("ship.sailed") == 3
    assert newest_version("ship") is None


def test_two_classes_for_one_type_and_version_are_refused() -> None:
    event("ship.sunk")(make("Sunk"))
    with pytest.raises(
        InvalidDefinitionError, match=r"event 'ship\.sunk' version 1 is already .*\.Sunk and can't be .*\.Gone too"
    ):
        event("ship.sunk")(make("Gone"))
    event("ship.sunk", version=2)(make("Gone"))


def test_the_same_class_defined_again_takes_the_place_of_the_older_one() -> None:
    old = event(make("Again", text=str))
    new = event(make("Again", text=str))
    assert event_class("Again", 1) is new
    # An object of the older class is still an event, and reading it gives an object of the newer class.
    encoded = encode_event(old("x"))
    assert type(decode_event(encoded.type, 1, encoded.data)) is new


def module(name: str, file: str | None) -> ModuleType:
    made = ModuleType(name)
    if file is not None:
        made.__file__ = file
    return made


def test_a_script_is_one_source_under_all_its_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    script = tmp_path / "bank.py"
    script.touch()
    link = tmp_path / "link.py"
    link.symlink_to(script)
    for name, file in (("as_main", script), ("as_step", script), ("by_name", link), ("other", tmp_path / "other.py")):
        monkeypatch.setitem(sys.modules, name, module(name, str(file)))
    event("bank.opened")(make("Opened", "as_main"))
    event("bank.opened")(make("Opened", "as_step"))
    event("bank.opened")(make("Opened", "by_name"))
    with pytest.raises(InvalidDefinitionError, match=r"bank\.opened"):
        event("bank.opened")(make("Opened", "other"))


def test_modules_without_a_file_go_by_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cell_1", "cell_2"):
        monkeypatch.setitem(sys.modules, name, module(name, None))
    event("note.taken")(make("Taken", "cell_1"))
    event("note.taken")(make("Taken", "cell_1"))
    with pytest.raises(InvalidDefinitionError, match=r"note\.taken"):
        event("note.taken")(make("Taken", "cell_2"))


WRONG_VERSIONS: dict[str, Any] = {
    "none": 0, "negative": -1, "float": 1.0, "bool": True, "text": "1", "null": None, "past the table": 2**63,
    "endless": 2**20_000,
}  # fmt: skip


@pytest.mark.parametrize("version", WRONG_VERSIONS.values(), ids=WRONG_VERSIONS)
def test_a_bad_version_is_refused(version: Any) -> None:
    with pytest.raises(InvalidDefinitionError, match="version must be a whole number"):
        event("x", version=version)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", 5, b"x"])
def test_a_bad_name_is_refused(name: Any) -> None:
    with pytest.raises(InvalidDefinitionError, match="must be a printable text"):
        event(name)


def test_a_class_without_declared_fields_is_refused() -> None:
    with pytest.raises(InvalidDefinitionError, match="put @event above @dataclass"):

        @event
        class Bare:
            account: str

    with pytest.raises(InvalidDefinitionError, match="put @event above @dataclass"):
        event("x")(lambda: None)  # type: ignore[type-var]
