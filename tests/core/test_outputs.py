"""The outputs of steps: plain values, and pydantic models that come back as models."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Generic, TypeVar

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from antistrophe import NotSerializableError, SagaDefinition, SagaStatus, StepContext, StepResult, step
from antistrophe.definition.outputs import pack_output, unpack_output
from antistrophe.definition.spec import Origin
from antistrophe.errors import UnreadableDataError
from antistrophe.serialization.msgpack_values import MODEL
from antistrophe.serialization.payload import pack_payload, unpack_payload
from antistrophe.testing import run_inline

T = TypeVar("T")


class Item(BaseModel):
    model_config = ConfigDict(frozen=True)

    sku: str
    count: int = Field(default=1, gt=0)


class Basket(BaseModel):
    items: list[Item]


class Box(BaseModel, Generic[T]):
    content: T


class Drawn(BaseModel):
    open: int
    _drawn: int = PrivateAttr(default_factory=lambda: len(vars(sys)) + id(object()))


class Outer:
    class Inner(BaseModel):
        x: int


undone: list[Any] = []


@step()
def collect(ctx: StepContext, sku: str) -> StepResult[Any]:
    return StepResult(output=Basket(items=[Item(sku=sku)]))


@collect.compensation
def put_back(ctx: StepContext, sku: str) -> None:
    undone.append(ctx.output)


@step(requires_compensation=False)
def check(ctx: StepContext) -> StepResult[Any]:
    basket = ctx.outputs["collect"]
    return StepResult(output={"basket": basket, "first": (basket.items[0], 2)})


@step(requires_compensation=False)
def fail(ctx: StepContext) -> None:
    assert ctx.outputs["check"] == {"basket": ctx.outputs["collect"], "first": (Item(sku="lyre"), 2)}
    raise ValueError("enough")


def test_a_model_is_what_later_steps_and_the_undo_get() -> None:
    undone.clear()
    saga = SagaDefinition("s").add_step(collect("lyre")).add_step(check()).add_step(fail())
    outcome = run_inline(saga)
    assert (outcome.status, str(outcome.error).count("enough")) == (SagaStatus.COMPENSATED, 1)
    assert undone == [Basket(items=[Item(sku="lyre")])]


@pytest.mark.parametrize(
    "value",
    [
        Item(sku="a"),
        [Item(sku="a"), {"x": (Item(sku="b"), {1, 2})}],
        Basket(items=[Item(sku="a", count=2)]),
        Outer.Inner(x=1),
        {"plain": (1, {frozenset({2})})},
    ],
    ids=["model", "within collections", "model in a model", "class in a class", "plain"],
)
def test_it_comes_back_as_it_was(value: Any) -> None:
    back = unpack_output(pack_output(value), "the output")
    assert back == value
    assert type(back) is type(value)


def test_which_fields_nobody_had_set_is_kept() -> None:
    back = unpack_output(pack_output(Item(sku="a")), "the output")
    assert back.model_dump(exclude_unset=True) == {"sku": "a"}


def test_screens_show_its_fields_without_its_class() -> None:
    assert unpack_payload(pack_output([Item(sku="a", count=2)])) == [{"sku": "a", "count": 2}]


def test_a_plain_value_is_stored_as_it_always_was() -> None:
    value = {"a": [1, (2, {3})], b"\x0b\x93": "no model"}
    assert pack_output(value) == pack_payload(value)
    assert unpack_output(pack_output(value), "the output") == value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Box[int](content=1), r"would not find Box\[int\] in module .*test_outputs.* return model_dump"),
        (Item.model_construct(sku="a", count=-1), "the output, a Item: Item does not allow these values: count"),
        (Drawn(open=1), "the private attribute _drawn of Drawn is .* make it a field"),
        ([Item(sku="a"), object()], r"the output\[1\] can't travel: <object object"),
        ({Item(sku="a")}, r"the output\[0\] can't travel: Item.* return its model_dump"),
    ],
    ids=["generic", "not valid", "private", "beside an object", "in a set"],
)
def test_what_would_not_come_back_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(NotSerializableError, match=reason):
        pack_output(value)


def test_a_class_that_only_a_function_has_is_refused() -> None:
    class Local(BaseModel):
        x: int

    with pytest.raises(NotSerializableError, match=r"would not find .*<locals>\.Local .* top level of a module"):
        pack_output(Local(x=1))


def test_a_class_that_is_gone_or_has_changed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("shop_of_outputs")

    def release(cls: type | None) -> None:
        if cls is None:
            del vars(module)["Order"]
            return
        cls.__module__, cls.__qualname__ = module.__name__, "Order"
        vars(module)["Order"] = cls

    class Order(BaseModel):
        total: int

    class Stricter(BaseModel):
        total: int = Field(lt=5)

    class Younger(BaseModel):
        total: int
        currency: str = "EUR"

    monkeypatch.setitem(sys.modules, module.__name__, module)
    release(Order)
    data = pack_output([Order(total=7)])
    release(Younger)
    assert unpack_output(data, "the output") == [Younger(total=7)]
    release(Stricter)
    with pytest.raises(UnreadableDataError, match=r"the output does not fit its class: .*total.*less than 5"):
        unpack_output(data, "the output")
    release(None)
    with pytest.raises(UnreadableDataError, match="the output is a Order, and shop_of_outputs has no pydantic model"):
        unpack_output(data, "the output")
    monkeypatch.delitem(sys.modules, module.__name__)
    with pytest.raises(UnreadableDataError, match=r"the output is a Order, whose class can't be loaded: .*shop_of_out"):
        unpack_output(data, "the output")


def test_a_class_of_a_script_is_looked_for_in_that_script_only(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pack_output(Item(sku="a")).replace(_packed_text(f"{__name__}:Item"), _packed_text("__main__:Item"))
    data = _of_length(data)
    with pytest.raises(UnreadableDataError, match=r"defined in the script /gone/shop\.py, which this process has not"):
        unpack_output(data, "the output", Origin("/gone/shop.py", (), "/"))
    assert unpack_output(data, "the output", Origin(__file__, (), "/")) == Item(sku="a"), "imported by its name here"


@pytest.mark.parametrize(
    "name", ["os:system", "subprocess:Popen", f"{__name__}:Outer", "pydantic:BaseModel.model_dump", "a b:c", "x", ""]
)
def test_a_name_that_leads_to_no_model_runs_nothing(name: str) -> None:
    data = msgpack.packb(msgpack.ExtType(MODEL, msgpack.packb([name, {"args": "true"}, []])))
    with pytest.raises(UnreadableDataError, match=r"the output (is a|names)"):
        unpack_output(data, "the output")


@given(data=st.binary(max_size=60), cut=st.integers(0, 40))
def test_garbage_is_unreadable_and_nothing_else(data: bytes, cut: int) -> None:
    good = pack_output([Item(sku="a"), {2}])
    for each in (data, msgpack.packb(msgpack.ExtType(MODEL, b"\x93" + data)), good[:cut] + data, good[:-cut]):
        try:
            unpack_output(each, "the output")
        except UnreadableDataError:
            continue


def test_models_that_hold_each_other_without_end_do_not_break_the_process() -> None:
    data = msgpack.packb(["builtins:dict", {}, []])
    for _ in range(2_000):
        data = msgpack.packb(["builtins:dict", msgpack.ExtType(MODEL, data), []])
    for read in (unpack_payload, lambda packed: unpack_output(packed, "the output")):
        with pytest.raises(UnreadableDataError):
            read(msgpack.packb(msgpack.ExtType(MODEL, data)))


def _packed_text(text: str) -> bytes:
    packed: bytes = msgpack.packb(text)
    return packed


def _of_length(data: bytes) -> bytes:
    """The packed model with the length that it has by now."""
    start = data.index(b"\x0b\x93")
    packed: bytes = msgpack.packb(msgpack.ExtType(MODEL, data[start + 1 :]))
    return packed
