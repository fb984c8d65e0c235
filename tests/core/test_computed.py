"""What a step computes when it is made: the same in the application, in each attempt and in the compensation."""

from __future__ import annotations

import dataclasses
import functools
import random
import re
import secrets
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from itertools import count
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar

import attrs
import pytest

from antistrophe import (
    FatalError,
    InvalidStepError,
    PayloadTooLargeError,
    RetryPolicy,
    SagaDefinition,
    SagaStep,
    UnreadableDataError,
    step,
)
from antistrophe.definition.calling import build_step
from antistrophe.definition.step_options import step_spec
from antistrophe.serialization.payload import pack_payload, unpack_payload
from antistrophe.testing import run_inline

T = TypeVar("T")
_numbers = count(1)


class Colour(Enum):
    RED = 1
    BLUE = 2


class Base(SagaStep):
    def execute(self) -> None: ...

    def compensate(self) -> None: ...


@dataclass(frozen=True)
class Money:
    amount: int


@dataclass(frozen=True)
class Drawn(Base):
    account: str
    payment_id: str = field(init=False, default_factory=lambda: uuid.uuid4().hex)
    number: int = field(init=False, default_factory=lambda: next(_numbers))
    at: datetime = field(init=False, default_factory=lambda: datetime.now(UTC))
    colour: Colour = field(init=False, default_factory=lambda: random.choice(list(Colour)))
    money: Money = field(init=False, default_factory=lambda: Money(next(_numbers)))
    place: Path = field(init=False, default_factory=lambda: Path(secrets.token_hex(4)))


@dataclass
class PostInit(Base):
    account: str

    def __post_init__(self) -> None:
        self.payment_id = uuid.uuid4().hex
        self.rate = Decimal(next(_numbers))


@dataclass(frozen=True)
class FrozenPostInit(Base):
    account: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "payment_id", uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Slotted(Base):
    account: str
    payment_id: str = field(init=False, default_factory=lambda: uuid.uuid4().hex)


@attrs.define
class Attrs(Base):
    account: str
    payment_id: str = attrs.field(init=False, factory=lambda: uuid.uuid4().hex)


@attrs.frozen
class AttrsDependent(Base):
    account: str
    payment_id: str = attrs.field(init=False)

    @payment_id.default
    def _payment_id(self) -> str:
        return self.account + uuid.uuid4().hex


@attrs.define(slots=False)
class AttrsPostInit(Base):
    account: str

    def __attrs_post_init__(self) -> None:
        self.payment_id = uuid.uuid4().hex


@dataclass(init=False)
class OwnInit(Base):
    account: str

    def __init__(self, account: str) -> None:
        self.account = account
        self.payment_id = uuid.uuid4().hex


@dataclass
class Kept(Base):
    account: str

    def __post_init__(self) -> None:
        assert self.payment_id

    @functools.cached_property
    def payment_id(self) -> str:
        return uuid.uuid4().hex


@dataclass(init=False)
class OwnOption(Base):
    account: str

    def __init__(self, account: str) -> None:
        self.account, self.timeout_s = account, float(next(_numbers))


CLASSES: list[Any] = [
    Drawn, PostInit, FrozenPostInit, Slotted, Attrs, AttrsDependent, AttrsPostInit, OwnInit, Kept, OwnOption,
]  # fmt: skip


def state(made: object) -> dict[str, object]:
    names = {*getattr(made, "__dict__", ()), *getattr(made, "__slots__", ())} - {"__weakref__"}
    return {name: getattr(made, name) for name in names}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_each_process_has_what_the_application_has(cls: Callable[[str], SagaStep]) -> None:
    made = cls("A")
    spec = step_spec(made)
    first, second = (build_step(type(made), spec.input, spec.computed) for _ in range(2))
    assert state(first) == state(second) == state(made)
    assert unpack_payload(spec.input) == {"account": "A"}
    assert step_spec(first) == spec


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_what_is_computed_does_not_tell_definitions_apart(cls: Callable[[str], SagaStep]) -> None:
    one, other = (SagaDefinition("s").add_step(cls("A")).spec() for _ in range(2))
    assert one.steps[0].computed != other.steps[0].computed
    assert one.same_definition(other)


def test_a_step_that_computes_nothing_packs_nothing() -> None:
    @dataclass
    class Plain(Base):
        account: str

        @functools.cached_property
        def shout(self) -> str:
            return self.account.upper()

    globals()["Plain"], Plain.__qualname__ = Plain, "Plain"
    assert step_spec(Plain("A")).computed == b""


@dataclass(frozen=True)
class Charge(Base):
    ledger: Path
    payment_id: str = field(init=False, default_factory=lambda: uuid.uuid4().hex)

    def execute(self) -> None:
        self._write("charge")

    def compensate(self) -> None:
        self._write("refund")

    def _write(self, what: str) -> None:
        with self.ledger.open("a", encoding="utf-8") as file:
            file.write(f"{what} {self.payment_id}\n")


class Refuse(Base):
    def execute(self) -> None:
        raise FatalError("no")


def test_charge_and_refund_are_of_one_payment(tmp_path: Path) -> None:
    charge = Charge(tmp_path / "ledger")
    run_inline(SagaDefinition("paid").add_step(charge).add_step(Refuse()))
    assert charge.ledger.read_text("utf-8") == f"charge {charge.payment_id}\nrefund {charge.payment_id}\n"


# --- what can't be packed -----------------------------------------------------------------------------------------


@dataclass
class Locked(Base):
    account: str
    lock: Any = field(init=False, default_factory=threading.Lock)


@dataclass
class LockedLater(Base):
    account: str

    def __post_init__(self) -> None:
        self.token = object()


@dataclass
class Compiled(Base):
    pattern: str

    def __post_init__(self) -> None:
        self.compiled = re.compile(self.pattern)
        self.colour = Colour.RED

    @functools.cached_property
    def lock(self) -> threading.Lock:
        return threading.Lock()


@dataclass
class Property(Base):
    account: str

    @functools.cached_property
    def payment_id(self) -> str:
        return "-".join(uuid.uuid4().hex for _ in range(2))


@dataclass
class FromModule(Property):
    @functools.cached_property
    def payment_id(self) -> str:
        return str(random.random())


@dataclass
class Mended(Property):
    payment_id = functools.cached_property(lambda self: random.Random(self.account).random())  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (Locked("A"), "attribute 'lock' is computed when the step is made, and .* can't travel.* Make it in execute"),
        (LockedLater("A"), "attribute 'token' is computed"),
        (Property("A"), r"cached_property 'payment_id' calls uuid4\(\).*Make it a field"),
        (FromModule("A"), r"cached_property 'payment_id' calls random\(\)"),
    ],
)
def test_what_would_differ_in_each_process_is_refused_by_name(made: SagaStep, says: str) -> None:
    with pytest.raises(InvalidStepError, match=f"step '{type(made).__name__}': .*{says}"):
        SagaDefinition("s").add_step(made)


def test_what_is_the_same_each_time_and_what_a_cache_keeps_may_stay() -> None:
    given = Compiled("a+")
    assert given.lock
    spec = step_spec(given)
    made: Any = build_step(Compiled, spec.input, spec.computed)
    assert (made.compiled, made.colour) == (given.compiled, Colour.RED)
    assert "lock" not in vars(made)
    assert step_spec(Mended("A")).computed == b""


def test_a_property_whose_value_is_known_travels() -> None:
    given = Property("A")
    known = given.payment_id
    spec = step_spec(given)
    made: Any = build_step(Property, spec.input, spec.computed)
    assert made.payment_id == known


# --- within fields ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    goods: str
    line_id: str = field(init=False, default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Doubled:
    amount: int
    double: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "double", 2 * self.amount)


@dataclass(frozen=True)
class Order(Base):
    lines: list[Line] = field(default_factory=list)
    named: dict[str, tuple[Line, ...]] = field(default_factory=dict)
    one: Line | None = None
    sums: tuple[Doubled, ...] = ()


@pytest.mark.parametrize(
    ("made", "place"),
    [
        (Order(lines=[Line("tea")]), r"lines\[0\].line_id"),
        (Order(named={"a": (Line("tea"),)}), r"named\['a'\]\[0\].line_id"),
        (Order(one=Line("tea")), "one.line_id"),
    ],
)
def test_a_value_that_computes_another_part_each_time_is_refused(made: SagaStep, place: str) -> None:
    with pytest.raises(InvalidStepError, match=f"step 'Order': {place} is computed .* field with init=True"):
        SagaDefinition("s").add_step(made)


class Named(NamedTuple):
    line: Line


class Typed(TypedDict):
    line: Line


@dataclass(frozen=True)
class Box(Generic[T]):
    inside: T


@dataclass(frozen=True)
class Wrapped(Base):
    named: Named | None = None
    typed: Typed | None = None
    boxed: Box[Line] | None = None
    some: frozenset[Line] = frozenset()


@step
def pay(line: Line) -> None: ...


@pay.compensation
def repay(line: Line) -> None: ...


@pytest.mark.parametrize(
    "made",
    [
        Wrapped(named=Named(Line("tea"))),
        Wrapped(typed={"line": Line("tea")}),
        Wrapped(boxed=Box(Line("tea"))),
        Wrapped(some=frozenset({Line("tea")})),
        pay(Line("tea")),
    ],
    ids=["named", "typed", "boxed", "some", "function"],
)
def test_no_wrapping_hides_what_is_computed(made: SagaStep) -> None:
    with pytest.raises(InvalidStepError, match="is computed when the value is made"):
        SagaDefinition("s").add_step(made)


def test_an_option_of_the_instance_alone_still_counts() -> None:
    made = Compiled("a")
    made.retry = RetryPolicy(max_attempts=7)  # type: ignore[attr-defined]
    assert step_spec(made).retry.max_attempts == 7


def test_a_value_that_computes_the_same_part_each_time_travels() -> None:
    made = Order(sums=(Doubled(2),))
    spec = step_spec(made)
    assert build_step(Order, spec.input, spec.computed) == made


# --- limits and damage --------------------------------------------------------------------------------------------


def test_what_is_computed_counts_for_the_limit() -> None:
    saga = SagaDefinition("s").add_step(PostInit("A"))
    with pytest.raises(PayloadTooLargeError, match="the input of step 0"):
        saga.spec(max_payload_bytes=60)


def test_a_computed_field_that_does_not_fit_any_more_is_unreadable() -> None:
    data = pack_payload({"fields": {"number": "x"}, "attributes": {}})
    with pytest.raises(UnreadableDataError, match="Drawn does not fit its class: field number"):
        build_step(Drawn, step_spec(Drawn("A")).input, data)
    for damaged in (b"\xc1", pack_payload([1]), pack_payload({"fields": 5, "attributes": {}})):
        with pytest.raises(UnreadableDataError):
            build_step(Drawn, step_spec(Drawn("A")).input, damaged)


def test_a_spec_from_before_is_read_with_nothing_computed() -> None:
    spec = SagaDefinition("s").add_step(Drawn("A")).spec().steps[0]
    older = dataclasses.replace(spec, computed=b"")
    made: Any = build_step(Drawn, older.input, older.computed)
    assert made.account == "A"
