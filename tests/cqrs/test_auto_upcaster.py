"""From one event class to the next by their fields: what is taken over, and what is refused when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum

import attrs
import pytest

from antistrophe.definition.events import decode_event, decode_fields, encode_event, event
from antistrophe.errors import InvalidUpcasterError
from antistrophe.eventstore.auto_upcaster import AutoUpcaster
from antistrophe.eventstore.versions import VersionRegistry
from antistrophe.serialization.payload import unpack_payload
from tests.cqrs.user_versions import UserV1, UserV2, UserV3, fields_of, full_chain


class Level(Enum):
    LOW = 1
    HIGH = 2


@dataclass(frozen=True)
class Address:
    street: str
    zip: str = "0000"


def test_a_chain_of_classes_leads_to_the_newest_class() -> None:
    version, data = full_chain().upcast("versions.user", 1, fields_of(UserV1("Ada Lovelace")))
    assert (version, data) == (3, {"first": "Ada", "last": "Lovelace", "email": "unknown@example.org"})
    assert decode_fields("versions.user", version, data) == UserV3("Ada", "Lovelace", "unknown@example.org")


def test_fields_of_every_kind_pass_an_auto_upcaster_unchanged() -> None:
    @event("versions.kinds")
    @dataclass(frozen=True)
    class Before:
        at: datetime
        amount: Decimal
        level: Level
        home: Address
        pair: tuple[int, str]
        names: set[str]
        dropped: int

    @event("versions.kinds", version=2)
    @dataclass(frozen=True)
    class After:
        at: datetime
        amount: Decimal
        level: Level
        home: Address
        pair: tuple[int, str]
        names: set[str]
        note: str | None = None

    versions = VersionRegistry()
    versions.register_upcaster(AutoUpcaster(Before, After))
    now = datetime.now(UTC)
    before = Before(now, Decimal("1.10"), Level.HIGH, Address("Main St"), (1, "a"), {"x", "y"}, 7)
    version, data = versions.upcast("versions.kinds", 1, fields_of(before))
    after = After(now, Decimal("1.10"), Level.HIGH, Address("Main St"), (1, "a"), {"x", "y"})
    assert decode_fields("versions.kinds", version, data) == after
    assert data == fields_of(after)


def test_attrs_classes_too() -> None:
    @event("versions.attrs")
    @attrs.frozen
    class Before:
        a: int

    @event("versions.attrs", version=2)
    @attrs.frozen
    class After:
        a: int
        b: list[int] = attrs.field(factory=list)

    @event("versions.attrs", version=3)
    @attrs.frozen
    class Needy:
        a: int
        c: int

    versions = VersionRegistry()
    versions.register_upcaster(AutoUpcaster(Before, After))
    versions.upcaster("versions.attrs", from_version=2)(lambda data: {"a": data["a"], "c": len(data["b"])})
    assert versions.upcast("versions.attrs", 1, {"a": 5}) == (3, {"a": 5, "c": 0})
    with pytest.raises(InvalidUpcasterError, match="Needy needs c"):
        AutoUpcaster(After, Needy)


def test_a_field_without_source_or_default_is_refused_at_once() -> None:
    @event("versions.homeless")
    @dataclass(frozen=True)
    class Before:
        kept: int

    @event("versions.homeless", version=2)
    @dataclass(frozen=True)
    class After:
        kept: int
        needed: str
        also_needed: int
        given: int = 1

    with pytest.raises(InvalidUpcasterError, match=r"After needs also_needed, needed: .*Before has no such field"):
        AutoUpcaster(Before, After)


def test_from_previous_is_not_inherited() -> None:
    @event("versions.user_family")
    @dataclass(frozen=True)
    class First:
        a: int

    @event("versions.user_family", version=2)
    @dataclass(frozen=True)
    class Second:
        a: int

        @classmethod
        def from_previous(cls, previous: First) -> Second:
            return cls(previous.a + 1)

    @event("versions.user_family", version=3)
    @dataclass(frozen=True)
    class Third(Second):
        b: int = 0

    versions = VersionRegistry()
    versions.register_upcaster(AutoUpcaster(First, Second))
    versions.register_upcaster(AutoUpcaster(Second, Third))
    assert versions.upcast("versions.user_family", 1, {"a": 1}) == (3, {"a": 2, "b": 0})


def test_what_is_no_pair_of_versions_of_one_event_is_refused() -> None:
    @event("versions.other")
    @dataclass(frozen=True)
    class Other:
        name: str

    @event("versions.odd", version=2)
    @dataclass(frozen=True)
    class Odd:
        name: str
        from_previous: int = 3

    @event("versions.odd")
    @dataclass(frozen=True)
    class OddBefore:
        name: str

    with pytest.raises(InvalidUpcasterError, match=r"'versions[.]other'"):
        AutoUpcaster(UserV1, Other)
    with pytest.raises(InvalidUpcasterError, match="is no event"):
        AutoUpcaster(Address, UserV1)
    with pytest.raises(InvalidUpcasterError, match="from_previous is not callable"):
        AutoUpcaster(OddBefore, Odd)
    for pair in ((UserV2, UserV1), (UserV1, UserV1)):
        with pytest.raises(InvalidUpcasterError, match="must lead to a later version"):
            VersionRegistry().register_upcaster(AutoUpcaster(*pair))


def test_from_previous_has_to_return_the_new_class() -> None:
    @event("versions.liar")
    @dataclass(frozen=True)
    class Before:
        a: int

    @event("versions.liar", version=2)
    @dataclass(frozen=True)
    class After:
        a: int

        @staticmethod
        def from_previous(previous: Before) -> Before:
            return previous

    versions = VersionRegistry()
    versions.register_upcaster(AutoUpcaster(Before, After))
    with pytest.raises(InvalidUpcasterError, match=r"from_previous returned .*Before"):
        versions.upcast("versions.liar", 1, {"a": 1})


def test_data_that_do_not_fit_the_old_class_are_refused_by_name() -> None:
    with pytest.raises(InvalidUpcasterError, match=r"AutoUpcaster\(UserV1, UserV2\) of event type 'versions.user'"):
        full_chain().upcast("versions.user", 1, {"name": 5})


def test_stored_bytes_of_an_old_version_come_back_as_the_newest_class() -> None:
    stored = encode_event(UserV1("Grace Hopper"))
    version, data = full_chain().upcast(stored.type, stored.type_version, unpack_payload(stored.data))
    assert decode_fields(stored.type, version, data) == UserV3("Grace", "Hopper", "unknown@example.org")
    assert decode_event(stored.type, stored.type_version, stored.data) == UserV1("Grace Hopper")
