"""Hidden fields: found in every kind of class, masked wherever they stand, and told by no error."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, TypedDict

import attrs
import pydantic
import pytest

from antistrophe.definition.context import StepContext
from antistrophe.definition.events import encode_event, event
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.definition.step import SagaStep, step
from antistrophe.errors import NotSerializableError, UnreadableDataError
from antistrophe.serialization.masks import MASK, Secret, masked, masked_paths
from antistrophe.serialization.payload import pack_fields, pack_payload, unpack_fields, unpack_payload

TOKEN = "tok-4711"


@dataclass(frozen=True)
class Card:
    owner: str
    number: str = field(repr=False)


@attrs.frozen
class Account:
    iban: str = attrs.field(repr=False)
    bank: str = "B"


class Login(pydantic.BaseModel):
    user: str
    password: str = pydantic.Field(repr=False)


@dataclass(frozen=True)
class Cash:
    coins: int


class Pair(NamedTuple):
    card: Card
    note: str


class Extra(TypedDict):
    card: Card


@dataclass(frozen=True)
class Tree:
    name: str
    key: str = field(repr=False)
    below: list[Tree] = field(default_factory=list)


@dataclass(frozen=True)
class Plain:
    name: str
    below: list[Plain] = field(default_factory=list)


@dataclass(frozen=True)
class Everything:
    card: Card
    account: Account
    login: Login
    cards: list[Card]
    by_name: dict[str, Card]
    maybe: Card | None
    either: Card | Cash
    pair: Pair
    extra: Extra
    tree: Tree
    marked: Annotated[str, Secret]
    shown: str = "shown"


CARD = Card("eva", TOKEN)
EVERYTHING = Everything(
    CARD,
    Account(TOKEN),
    Login(user="eva", password=TOKEN),
    [CARD],
    {"one": CARD},
    CARD,
    CARD,
    Pair(CARD, "note"),
    {"card": CARD},
    Tree("root", TOKEN, [Tree("leaf", TOKEN)]),
    TOKEN,
)


def test_hidden_fields_are_masked_wherever_they_stand() -> None:
    packed = unpack_payload(pack_fields(EVERYTHING, Everything))
    assert repr(packed).count(TOKEN) == 12
    shown = masked(packed, masked_paths(Everything))
    assert TOKEN not in repr(shown)
    assert shown["shown"] == "shown"
    assert shown["card"] == shown["cards"][0] == shown["maybe"] == {"owner": "eva", "number": MASK}
    assert shown["by_name"] == {"one": {"owner": "eva", "number": MASK}}
    assert shown["either"]["value"] == {"owner": "eva", "number": MASK}
    assert shown["account"] == {"iban": MASK, "bank": "B"}
    assert shown["marked"] == MASK
    assert unpack_fields(pack_fields(EVERYTHING, Everything), Everything) == EVERYTHING


def test_a_class_that_hides_nothing_has_nothing_masked() -> None:
    assert masked_paths(Plain) == masked_paths(Cash) == ()


def test_a_value_of_another_form_is_shown_as_it_is() -> None:
    paths = masked_paths(Everything)
    odds: list[Any] = [None, 7, "text", [], {}, {"card": None, "cards": 7, "either": {"type": "x"}}]
    for odd in odds:
        assert masked(odd, paths) == odd


@dataclass(frozen=True)
class Charge(SagaStep):
    card: Card
    token: str = field(repr=False)
    amount: int = 1

    def execute(self) -> None: ...
    def compensate(self) -> None: ...


@step(requires_compensation=False)
def charge(ctx: StepContext, amount: int, token: Annotated[str, Secret]) -> None: ...


def test_a_definition_names_the_hidden_fields_of_its_steps() -> None:
    saga = SagaDefinition("s").add_step(Charge(CARD, TOKEN)).add_step(charge(7, TOKEN))
    assert [each.masked for each in saga.spec().steps] == [("card.number", "token"), ("token",)]
    assert TOKEN not in repr(saga)


@event("masks.charged")
@dataclass(frozen=True)
class Charged:
    amount: int
    token: str = field(repr=False)
    trace: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "trace", f"of {self.token}")


def test_an_event_names_its_hidden_fields_those_that_it_computes_included() -> None:
    encoded = encode_event(Charged(7, TOKEN))
    assert encoded.masked == ("token", "trace")
    assert masked(unpack_payload(encoded.data), encoded.masked) == {"amount": 7, "token": MASK, "trace": MASK}


class Odd:
    def __repr__(self) -> str:
        return f"Odd({TOKEN})"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Charge(CARD, Odd()),  # type: ignore[arg-type]
        lambda: Charge(Card("eva", Odd()), "t"),  # type: ignore[arg-type]
        lambda: Charge(Card("eva", [TOKEN]), "t"),  # type: ignore[arg-type]
        lambda: charge(1, [TOKEN]),  # type: ignore[arg-type]
    ],
)
def test_no_error_tells_what_a_hidden_field_holds(wrong: Any) -> None:
    with pytest.raises(NotSerializableError) as raised:
        SagaDefinition("s").add_step(wrong())
    told = "".join(traceback.format_exception(raised.value))
    assert TOKEN not in told
    assert "field card" in told or "field token" in told, "it names the field"


def test_an_error_about_a_field_that_hides_nothing_tells_its_value() -> None:
    with pytest.raises(NotSerializableError, match="'many'"):
        SagaDefinition("s").add_step(Charge(CARD, TOKEN, "many"))  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [{"card": {"owner": "eva", "number": [TOKEN]}, "token": "t"}, {"token": [TOKEN]}])
def test_no_error_tells_what_was_stored_in_a_hidden_field(fields: Mapping[str, object]) -> None:
    with pytest.raises(UnreadableDataError) as raised:
        unpack_fields(pack_payload(fields), Charge)
    assert TOKEN not in "".join(traceback.format_exception(raised.value))
