"""pydantic models as fields of steps, as events and within both: validated, stored as plain values, restored alike."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import pytest
from pydantic import AliasChoices, AwareDatetime, BaseModel, ConfigDict, Field, PositiveInt, PrivateAttr, RootModel

from antistrophe import (
    InvalidStepError,
    NotSerializableError,
    RawEvent,
    SagaDefinition,
    SagaStatus,
    SagaStep,
    StepContext,
    StepResult,
    UnreadableDataError,
    event,
    step,
)
from antistrophe.cqrs import AutoUpcaster, EventStore, VersionRegistry
from antistrophe.definition.calling import build_step
from antistrophe.definition.events import decode_event, encode_event
from antistrophe.definition.same_values import same_fields, spec_as_accepted
from antistrophe.definition.step_options import step_spec
from antistrophe.serialization.payload import pack_fields, pack_payload, unpack_fields, unpack_payload
from antistrophe.testing import run_inline


class Colour(str, Enum):
    RED = "r"
    BLUE = "b"


class Item(BaseModel):
    model_config = ConfigDict(frozen=True)

    sku: str
    price: Decimal = Field(gt=0, alias="thePrice")


class Card(BaseModel):
    kind: Literal["card"] = "card"
    number: str


class Invoice(BaseModel):
    kind: Literal["invoice"] = "invoice"
    days: int = 30


class Tags(RootModel[list[str]]):
    pass


class Order(BaseModel):
    id: UUID
    at: AwareDatetime
    colour: Colour
    items: list[Item]
    by_sku: dict[str, Item] = {}
    payment: Annotated[Card | Invoice, Field(discriminator="kind")]
    gift: Item | None = None
    pair: tuple[int, Item] | None = None
    tags: Tags = Tags(["new"])
    count: PositiveInt = 1
    note: str | None = Field(None, validation_alias=AliasChoices("nOte", "NOTE"), serialization_alias="remark")


class Special(Order):
    pass


@event("models.placed")
class Placed(BaseModel):
    order: Order


@dataclass(frozen=True)
class Place(SagaStep):
    order: Order
    more: tuple[Order, ...] = ()

    def execute(self, ctx: StepContext) -> StepResult[Any]:
        return StepResult(self.order.model_dump(mode="json"), [Placed(order=self.order)])

    def compensate(self) -> None: ...


@step(requires_compensation=False)
def check(ctx: StepContext, order: Order, limit: Decimal) -> list[Placed]:
    assert Order.model_validate(ctx.outputs["Place"], by_name=True) == order
    return [Placed(order=order)] if limit > 0 else []


class Pay(BaseModel, SagaStep):
    amount: PositiveInt

    class Options:
        timeout_s = 3

    def execute(self) -> None: ...

    def compensate(self) -> None: ...


@pytest.fixture
def order() -> Order:
    lyre = Item(sku="lyre", thePrice=Decimal("1.50"))
    return Order.model_validate(
        {
            "id": uuid4(),
            "at": datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
            "colour": "b",
            "items": [lyre],
            "by_sku": {"lyre": lyre},
            "payment": {"kind": "card", "number": "17"},
            "pair": (1, lyre),
            "NOTE": "ring twice",
        }
    )


def test_a_step_gets_the_model_again(order: Order) -> None:
    made = build_step(Place, step_spec(Place(order, (order,))).input)
    assert made == Place(order, (order,))
    assert isinstance(made, Place)
    assert isinstance(made.order.payment, Card)
    assert made.order.items[0].price == Decimal("1.50")
    assert made.order.model_fields_set == order.model_fields_set
    assert build_step(check, step_spec(check(order, Decimal(1))).input) == check(order, Decimal(1))
    paid = step_spec(Pay(amount=3))
    assert build_step(Pay, paid.input) == Pay(amount=3)
    assert paid.timeout_s == 3


def test_models_may_be_in_a_set() -> None:
    class Bag(BaseModel):
        items: frozenset[Item]

    bag = Bag(items=frozenset({Item(sku="a", thePrice=Decimal(1)), Item(sku="b", thePrice=Decimal(2))}))
    assert unpack_fields(pack_fields(bag, Bag), Bag) == bag


def test_it_is_stored_as_plain_values_under_the_names_of_its_fields(order: Order) -> None:
    stored = unpack_payload(step_spec(Place(order)).input)["order"]
    assert stored["items"] == [{"sku": "lyre", "price": Decimal("1.50")}]
    assert stored["colour"] == "BLUE"
    assert stored["note"] == "ring twice"
    assert stored["tags"] == {"root": ["new"]}


def test_a_saga_runs_with_models(order: Order) -> None:
    outcome = run_inline(SagaDefinition("s").add_step(Place(order)).add_step(check(order, Decimal(2))))
    assert (outcome.status, outcome.error) == (SagaStatus.COMPLETED, None)
    assert outcome.events == [Placed(order=order), Placed(order=order)]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda order: order.model_copy(update={"count": 0}), "Order does not allow these values: count: .*than 0$"),
        (lambda order: order.model_copy(update={"id": 5}), "UUID is declared, the value is 5"),
        (lambda order: order.model_copy(update={"at": datetime(2026, 1, 1)}), "at: .* timezone"),  # noqa: DTZ001
        (lambda order: Order.model_construct(id=order.id), "Order has no value for its field at"),
        (lambda order: order.model_dump(), "Order is declared, the value is {"),
        (lambda order: Special.model_validate(dict(order)), "Order is declared, the value is S"),
    ],
)
def test_what_its_class_does_not_allow_is_no_step(order: Order, spoil: Callable[[Order], Any], reason: str) -> None:
    with pytest.raises(InvalidStepError, match=f"step 'Place': field order.*{reason}"):
        step_spec(Place(spoil(order)))


def test_what_another_process_would_not_have_is_refused() -> None:
    class Secret(BaseModel):
        open: int
        _drawn: str = PrivateAttr(default_factory=lambda: str(uuid4()))

    class Stamped(BaseModel):
        id: str = ""

        def model_post_init(self, context: object, /) -> None:
            self.id = str(uuid4())

    with pytest.raises(NotSerializableError, match=r"the private attribute _drawn of .*Secret is .* make it a field"):
        pack_fields(Secret(open=1), Secret)
    with pytest.raises(NotSerializableError, match=r"field id, declared str, is '.*' .* and comes back as '"):
        pack_fields(Stamped(), Stamped)
    with pytest.raises(NotSerializableError, match=r"the output can't travel: .* return its model_dump"):
        pack_payload(Secret(open=1), what="the output")


def test_what_a_model_takes_beside_its_fields_travels_if_it_may() -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")
        one: int

    class Closed(BaseModel):
        one: int

    wide = pack_fields(Open.model_validate({"one": 1, "two": [2]}), Open)
    assert unpack_fields(wide, Open, forbid_unknown=True).model_extra == {"two": [2]}
    assert unpack_fields(wide, Closed) == Closed(one=1)
    with pytest.raises(UnreadableDataError, match="Closed has no field two"):
        unpack_fields(wide, Closed, forbid_unknown=True)


def test_a_class_that_has_changed_says_what_does_not_fit() -> None:
    class Old(BaseModel):
        amount: int

    class Younger(BaseModel):
        amount: int
        currency: str = "EUR"

    class Stricter(BaseModel):
        amount: int = Field(gt=100)

    class Renamed(BaseModel):
        cents: int

    class Retyped(BaseModel):
        amount: str

    data = pack_fields(Old(amount=5), Old)
    made = unpack_fields(data, Younger, forbid_unknown=True)
    assert (made, made.model_fields_set) == (Younger(amount=5), {"amount"})
    assert same_fields(Younger, pack_fields(Younger(amount=5), Younger), data)
    assert not same_fields(Younger, pack_fields(Younger(amount=6), Younger), data)
    for cls, reason in (
        (Stricter, "Stricter does not allow these values: amount: Input should be greater than 100"),
        (Renamed, "Renamed has no field amount"),
        (Retyped, "str is declared, the value is 5"),
    ):
        with pytest.raises(UnreadableDataError, match=f"{cls.__qualname__} does not fit its class: .*{reason}"):
            unpack_fields(data, cls, forbid_unknown=True)
    with pytest.raises(UnreadableDataError, match="cents: Field required"):
        unpack_fields(data, Renamed)


def test_the_same_saga_is_known_by_the_values_of_its_models(order: Order) -> None:
    ours = SagaDefinition("s").add_step(Place(order))
    again = SagaDefinition("s").add_step(Place(Order.model_validate(order.model_dump(by_alias=False), by_name=True)))
    other = SagaDefinition("s").add_step(Place(order.model_copy(update={"count": 2})))
    spec, repeated, different = (each.spec() for each in (ours, again, other))
    assert spec_as_accepted(again.steps, repeated, spec) == spec, "given or a default: the values are the same"
    assert spec_as_accepted(other.steps, different, spec) is None


def test_events_that_are_models_are_stored_read_and_brought_up_to_date(order: Order) -> None:
    @event("models.user")
    class UserV1(BaseModel):
        name: str

    @event("models.user", version=2)
    class UserV2(BaseModel):
        name: str
        language: str = "el"

    @event("models.user", version=3)
    class User(BaseModel):
        first: str
        last: str
        language: str

    versions = VersionRegistry()
    versions.register_upcaster(AutoUpcaster(UserV1, UserV2))

    @versions.upcaster("models.user", from_version=2)
    def split(data: dict[str, Any]) -> dict[str, Any]:
        first, _, last = data["name"].partition(" ")
        return {"first": first, "last": last, "language": data["language"]}

    versions.check()
    with EventStore(":memory:", versions=versions) as store:
        store.append(
            "s", [Placed(order=order), UserV1(name="Ada Lovelace"), User(first="Alan", last="T", language="en")]
        )
        assert store.get_events("s") == [
            Placed(order=order),
            User(first="Ada", last="Lovelace", language="el"),
            User(first="Alan", last="T", language="en"),
        ]


def test_an_event_that_its_class_no_longer_allows_is_unreadable(order: Order) -> None:
    stored = encode_event(Placed(order=order))
    assert decode_event("models.placed", 1, stored.data) == Placed(order=order)
    fields = unpack_payload(stored.data)
    fields["order"]["count"] = -1
    with pytest.raises(UnreadableDataError, match=r"models\.placed does not fit its class: .*count"):
        decode_event("models.placed", 1, pack_payload(fields))
    with pytest.raises(UnreadableDataError, match="Order is declared, the value is 5"):
        decode_event("models.placed", 1, pack_payload({"order": 5}))
    assert isinstance(decode_event("models.gone", 1, stored.data), RawEvent)


def test_pydantic_is_not_imported_by_the_package() -> None:
    code = "import sys, antistrophe, antistrophe.testing, antistrophe.cqrs; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
