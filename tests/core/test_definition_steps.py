"""Steps as classes: which kinds of class, which kinds of method, and how they are called."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field
from typing import Any, ClassVar

import attrs
import pytest

from antistrophe.definition import calling
from antistrophe.definition.calling import build_step, call_step
from antistrophe.definition.context import StepContext
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.definition.step import SagaStep
from antistrophe.definition.step_options import step_spec
from antistrophe.errors import InvalidStepError, NotSerializableError, UnreadableDataError
from antistrophe.serialization.payload import pack_payload, unpack_payload
from tests.core.definition_kit import Debit, variant

# --- classes of every kind ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slotted(Debit):
    pass


@dataclass
class Mutable(SagaStep):
    account: str
    amount: int
    seen: list[int] = field(default_factory=list)

    def execute(self) -> None: ...

    def compensate(self) -> None: ...

    @functools.cached_property
    def label(self) -> str:
        return self.account * 2


@attrs.frozen
class Attrs(SagaStep):
    account: str
    amount: int

    def execute(self) -> None: ...

    def compensate(self) -> None: ...


class Annotated(SagaStep):
    account: str
    amount: int
    rate: float = 1.5
    shared: ClassVar[int] = 3
    timeout_s = 7.0

    def __init__(self, account: str, amount: int) -> None:
        self.account, self.amount = account, amount

    def execute(self) -> None: ...

    def compensate(self) -> None: ...


class Fieldless(SagaStep):
    def execute(self) -> None: ...

    def compensate(self) -> None: ...


@pytest.mark.parametrize(
    "step",
    [Debit("A", 1), Slotted("A", 1), Mutable("A", 1, [2]), Attrs("A", 1), Annotated("A", 1), Fieldless()],
    ids=lambda step: type(step).__name__,
)
def test_every_kind_of_class_is_made_again_from_its_input(step: SagaStep) -> None:
    spec = step_spec(step)
    back = build_step(type(step), spec.input)
    assert type(back) is type(step)
    assert step_spec(back) == spec


def test_a_plain_class_is_its_annotations() -> None:
    spec = step_spec(Annotated("A", 1))
    assert unpack_payload(spec.input) == {"account": "A", "amount": 1, "rate": 1.5}
    assert spec.timeout_s == 7.0


class Undeclared(SagaStep):
    account: str

    def __init__(self) -> None:
        self.account = "A"
        self.connection = 5

    def execute(self) -> None: ...

    def compensate(self) -> None: ...


class UndeclaredSlot(Fieldless):
    __slots__ = ("secret",)


def test_what_is_set_but_not_declared_is_refused() -> None:
    with pytest.raises(InvalidStepError, match=r"'connection' is set but not declared.*`connection: <its type>`"):
        step_spec(Undeclared())
    slotted = UndeclaredSlot()
    assert step_spec(slotted).name == "UndeclaredSlot"
    slotted.secret = 1  # type: ignore[attr-defined]
    with pytest.raises(InvalidStepError, match="'secret' is set but not declared"):
        step_spec(slotted)
    with pytest.raises(InvalidStepError, match=r"'extra' is set but not declared in Debit.*declare it as a field"):
        step_spec(variant(extra=1))


def test_what_a_cached_property_keeps_is_no_input() -> None:
    step = Mutable("A", 1)
    assert step.label == "AA"
    assert build_step(Mutable, step_spec(step).input) == Mutable("A", 1)


def test_a_field_that_can_not_travel_is_named_with_its_step() -> None:
    with pytest.raises(NotSerializableError, match=r"^step 'pay': field amount, declared int, can't travel: <function"):
        step_spec(variant(amount=lambda: 1, name="pay"))


def test_an_input_that_does_not_fit_any_more_is_unreadable() -> None:
    with pytest.raises(UnreadableDataError, match=r"Debit does not fit its class: .*amount"):
        build_step(Debit, pack_payload({"account": "A"}))
    with pytest.raises(UnreadableDataError, match="memo"):
        build_step(Debit, pack_payload({"account": "A", "amount": 1, "memo": "gone from the class"}))


def test_a_class_inside_a_class_is_found() -> None:
    assert step_spec(Outer.Inner()).class_ref == f"{__name__}:Outer.Inner"


class Outer:
    class Inner(Fieldless):
        pass


# --- methods ------------------------------------------------------------------------------------------------------


class NoExecute(SagaStep):
    def compensate(self) -> None: ...


class NoUndo(SagaStep):
    def execute(self) -> None: ...


class NeedsNoUndo(NoUndo):
    requires_compensation = False


class Verifying(Fieldless):
    def verify(self, ctx: StepContext) -> None: ...


class Generating(Fieldless):
    def execute(self) -> Any:
        yield 1


class Greedy(Fieldless):
    def execute(self, ctx: StepContext, amount: int) -> None: ...  # type: ignore[override]


class GreedyKeyword(Fieldless):
    def compensate(self, *, amount: int) -> None: ...  # type: ignore[override]


def test_methods_are_checked() -> None:
    assert step_spec(Verifying()).has_verify
    assert step_spec(NeedsNoUndo()).requires_compensation is False
    with pytest.raises(InvalidStepError, match=r"step 'NoExecute': NoExecute has no method execute\(self, ctx\)"):
        step_spec(NoExecute())
    with pytest.raises(InvalidStepError, match=r"'NoUndo': .* can't be undone: write compensate.*, or say"):
        step_spec(NoUndo())
    with pytest.raises(InvalidStepError, match="has a yield in it"):
        step_spec(Generating())
    with pytest.raises(InvalidStepError, match=r"Greedy.execute has the parameters ctx, amount: a step is called as"):
        step_spec(Greedy())
    with pytest.raises(InvalidStepError, match=r"GreedyKeyword.compensate has the parameters amount"):
        step_spec(GreedyKeyword())


class Calls(SagaStep):
    requires_compensation = False

    def execute(self, ctx: StepContext) -> Any:
        return ctx

    def compensate(self) -> Any:
        return "no context"

    async def verify(self, context: StepContext) -> Any:
        return context


class OtherCalls(Calls):
    def execute(self, *args: Any) -> Any:
        return args[0]

    def compensate(self, tries: int = 3, *, ctx: StepContext | None = None) -> Any:
        return tries, ctx

    @staticmethod
    def verify(ctx: StepContext) -> Any:
        return ctx


def test_the_context_is_given_where_it_is_taken() -> None:
    context: Any = object()
    assert step_spec(Calls()).has_verify
    assert step_spec(OtherCalls()).has_verify
    assert call_step(Calls(), "execute", context) is context
    assert call_step(Calls(), "compensate", context) == "no context"
    assert asyncio.run(call_step(Calls(), "verify", context)) is context
    assert call_step(OtherCalls(), "execute", context) is context
    assert call_step(OtherCalls(), "compensate", context) == (3, context)
    assert call_step(OtherCalls(), "verify", context) is context
    with pytest.raises(InvalidStepError, match="has no method verify"):
        call_step(Debit("A", 1), "verify", context)


class AnyMethods:
    """Methods with all kinds of parameters."""

    def none(self) -> None: ...
    def local(self) -> None:
        ctx = another = 1  # no parameters
        assert ctx == another

    def plain(self, ctx: Any) -> None: ...
    def another_name(self, context: Any) -> None: ...
    def default(self, ctx: Any = None) -> None: ...
    def positional(self, ctx: Any, /) -> None: ...
    def keyword(self, *, ctx: Any) -> None: ...
    def positions(self, *given: Any) -> None: ...
    def words(self, **given: Any) -> None: ...
    def both(self, ctx: Any, more: int = 0) -> None: ...
    @functools.wraps(plain)
    def wrapped(self, *given: Any, **others: Any) -> None: ...
    @classmethod
    def of_class(cls, ctx: Any) -> None: ...


@pytest.mark.parametrize("name", [name for name in vars(AnyMethods) if not name.startswith("__")])
def test_a_plain_method_is_read_as_any_other(name: str) -> None:
    method = getattr(AnyMethods(), name)
    read = calling._read_parameters("AnyMethods", name, method)
    assert calling._plain_passing(method.__func__) in (None, read)
    assert calling.context_passing("AnyMethods", name, method) == read
    if name in ("none", "local", "plain", "default"):
        assert calling._plain_passing(method.__func__) == read


def test_a_definition_keeps_the_input_as_it_was_when_added() -> None:
    step = Mutable("A", 1)
    saga = SagaDefinition("s").add_step(step)
    step.seen.append(5)
    step.amount = 2
    assert unpack_payload(saga.spec().steps[0].input) == {"account": "A", "amount": 1, "seen": []}
