"""Options that no field collides with, fields that are data, and names that are only near to an option's."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, NewType

import attrs
import pytest

from antistrophe import (
    InvalidStepError,
    ResourceLimits,
    RetryPolicy,
    SagaDefinition,
    SagaStep,
    StepOptions,
    StepOptionWarning,
)
from antistrophe.definition.calling import build_step
from antistrophe.definition.options import OPTIONS
from antistrophe.definition.spec import StepSpec
from antistrophe.definition.step_options import step_spec
from antistrophe.serialization.payload import unpack_payload

Seconds = NewType("Seconds", float)


class Base(SagaStep):
    def execute(self) -> None: ...

    def compensate(self) -> None: ...


@dataclass(frozen=True)
class Inner(Base):
    name: str
    limits: dict[str, int]
    timeout_s: str
    retry: bool = True

    class Options:
        timeout_s = 5.0
        retry = RetryPolicy(max_attempts=7)


@dataclass(frozen=True, slots=True)
class Value(Base):
    name: str
    limits: dict[str, int]
    timeout_s: str
    retry: bool = True
    options = StepOptions(timeout_s=5.0, retry=RetryPolicy(max_attempts=7))


@attrs.frozen
class Attrs(Base):
    name: str
    limits: dict[str, int]
    timeout_s: str
    retry: bool = True

    class Options:
        timeout_s: float = 5.0
        retry = RetryPolicy(max_attempts=7)


class Plain(Base):
    name: str
    limits: dict[str, int]
    timeout_s: str
    retry: bool
    options = StepOptions(timeout_s=5.0, retry=RetryPolicy(max_attempts=7))

    def __init__(self, name: str, limits: dict[str, int], timeout_s: str) -> None:
        self.name, self.limits, self.timeout_s, self.retry = name, limits, timeout_s, True


@pytest.mark.parametrize("cls", [Inner, Value, Attrs, Plain], ids=lambda cls: str(cls.__name__))
def test_no_field_collides_with_options_in_a_place_of_their_own(cls: Any) -> None:
    step = cls("Ann Lee, 12 Oak Street", {"calls": 3}, "soon")
    spec = step_spec(step)
    assert (spec.name, spec.timeout_s, spec.retry.max_attempts, spec.limits) == (cls.__name__, 5.0, 7, None)
    data = {"name": "Ann Lee, 12 Oak Street", "limits": {"calls": 3}, "timeout_s": "soon", "retry": True}
    assert unpack_payload(spec.input) == data
    made: Any = build_step(cls, spec.input, spec.computed)
    assert (made.name, made.timeout_s) == (step.name, step.timeout_s)


def test_two_uses_with_other_data_have_one_name_and_may_get_others() -> None:
    saga = (
        SagaDefinition("s").add_step(Inner("Ann", {}, ""), name="first").add_step(Inner("Eva", {}, ""), name="second")
    )
    assert [spec.name for spec in saga.step_specs] == ["first", "second"]


class Child(Inner):
    class Options:
        timeout_s = 9.0
        name = "child"


class GrandChild(Child):
    options = StepOptions(name="grandchild", limits=ResourceLimits(cpu_s=1), isolation="fresh")
    kill_grace_s = 1.0


def test_the_options_of_bases_hold_where_a_class_has_no_other() -> None:
    child, grandchild = step_spec(Child("Ann", {}, "")), step_spec(GrandChild("Ann", {}, ""))
    assert (child.name, child.timeout_s, child.retry.max_attempts) == ("child", 9.0, 7)
    assert (grandchild.name, grandchild.timeout_s, grandchild.retry.max_attempts) == ("grandchild", 9.0, 7)
    assert (grandchild.limits, grandchild.fresh_process) == (ResourceLimits(cpu_s=1), True)
    assert grandchild.kill_grace_s == 1.0


@dataclass(frozen=True)
class EmptyPlace(Base):
    name: str
    idempotent: bool = True

    class Options:
        pass


@dataclass(frozen=True)
class FieldCalledOptions(Base):
    options: dict[str, int]
    timeout_s: float = 2.0


def test_an_empty_place_and_a_field_called_options() -> None:
    spec = step_spec(EmptyPlace("Ann"))
    assert (spec.name, spec.idempotent) == ("EmptyPlace", False)
    assert step_spec(FieldCalledOptions({"a": 1})).timeout_s == 2.0


@pytest.mark.parametrize(("name", "meant"), [("timeout", "timeout_s"), ("retries", "retry"), ("colour", None)])
def test_an_unknown_name_in_the_place_is_refused(name: str, meant: str | None) -> None:
    cls = type("Wrong", (Base,), {"Options": type("Options", (), {name: 5}), "__module__": __name__})
    with pytest.raises(InvalidStepError, match=f"step Wrong: class Options has '{name}'") as refused:
        step_spec(cls())
    assert (f"did you mean `{meant} = " in str(refused.value)) == (meant is not None)
    assert ", ".join(OPTIONS) in str(refused.value)


@pytest.mark.parametrize(("name", "value"), [("timeout_s", "five"), ("isolation", "thread"), ("retry", 3)])
def test_a_value_in_the_place_is_checked(name: str, value: object) -> None:
    cls = type("Wrong", (Base,), {"Options": type("Options", (), {name: value}), "__module__": __name__})
    globals()["Wrong"] = cls
    with pytest.raises(InvalidStepError, match=f"step 'Wrong': {name} must be"):
        step_spec(cls())


def test_the_options_are_those_of_a_spec() -> None:
    assert set(OPTIONS) - {"isolation"} <= {*StepSpec.__dataclass_fields__}


# --- fields of another type ---------------------------------------------------------------------------------------


def declared(name: str, hint: object, value: object) -> SagaStep:
    annotations = {name: hint}
    cls: Any = dataclass(type("Declared", (Base,), {"__annotations__": annotations, "__module__": __name__}))
    globals()["Declared"] = cls
    made: SagaStep = cls(value)
    return made


@pytest.mark.parametrize(
    ("name", "hint", "value"),
    [
        ("limits", dict[str, int], {"a": 1}),
        ("timeout_s", str, "five"),
        ("timeout_s", timedelta, timedelta(5)),
        ("timeout_s", bool, True),
        ("retry", bool, True),
        ("retry", "int | None", None),
        ("name", list[str], ["Ann"]),
        ("name", bytes, b"Ann"),
        ("idempotent", str, "yes"),
        ("isolation", int, 1),
        ("isolation", Literal[1, 2], 1),
        ("max_concurrent", Annotated[str, "x"], "many"),
        ("max_per_second", tuple[int, int], (1, 2)),
        ("runs_on", str, "Tuesdays"),
    ],
)
def test_a_field_of_another_type_is_data_and_a_warning_says_so(name: str, hint: object, value: object) -> None:
    step = declared(name, hint, value)
    with pytest.warns(StepOptionWarning, match=rf"Declared.{name} is declared .*class Options"):
        spec = step_spec(step)
    assert unpack_payload(spec.input) == {name: list(value) if isinstance(value, list) else value}
    plain = step_spec(declared("other", int, 1))
    assert getattr(spec, name, None) == getattr(plain, name, None)


@pytest.mark.parametrize(
    ("name", "hint", "value"),
    [
        ("name", str, "Ann"),
        ("name", "str", "Ann"),
        ("timeout_s", int, 3),
        ("timeout_s", Seconds, Seconds(3.0)),
        ("limits", ResourceLimits | None, None),
        ("isolation", Literal["fresh", "process"], "fresh"),
        ("idempotent", bool, True),
        ("max_concurrent", int | None, 4),
        ("timeout_s", Any, 3.0),
    ],
)
def test_a_field_of_the_options_type_is_the_option_without_a_warning(name: str, hint: object, value: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spec = step_spec(declared(name, hint, value))
    if name != "isolation":
        assert getattr(spec, name) == value


def test_a_wrong_value_of_a_field_names_the_way_out() -> None:
    with pytest.raises(
        InvalidStepError, match=r"timeout_s must be .*If the field timeout_s is data, put the options into"
    ):
        step_spec(declared("timeout_s", float, -1.0))


# --- names near to an option's ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("timeout", 5, "timeout_s"),
        ("timeouts", 5.0, "timeout_s"),
        ("time_out_s", 5.0, "timeout_s"),
        ("retries", 3, "retry"),
        ("max_attempts", 3, "retry"),
        ("retry_policy", RetryPolicy(), "retry"),
        ("compensation_timeout", timedelta(5), "compensation_timeout_s"),
        ("kill_grace", 1, "kill_grace_s"),
        ("idempotant", True, "idempotent"),
        ("require_compensation", False, "requires_compensation"),
        ("isolated", True, "isolation"),
        ("limit", ResourceLimits(), "limits"),
        ("max_concurrency", 4, "max_concurrent"),
        ("step_name", "pay", "name"),
    ],
)
def test_an_attribute_near_to_an_option_is_refused_with_what_is_meant(name: str, value: object, meant: str) -> None:
    cls = type("Near", (Base,), {name: value, "__module__": __name__})
    with pytest.raises(InvalidStepError, match=f"step Near: the class attribute '{name}' is no option.*`{meant} = "):
        SagaDefinition("s").add_step(cls())


class Mixin:
    timeout = 5


@dataclass(frozen=True)
class Fine(Mixin, Base):
    timeout: int = 5
    retries: ClassVar[int] = 3
    _max_attempts = 3
    MAX_ATTEMPTS = 3
    account_type = "checking"

    @property
    def attempts(self) -> int:
        return 3

    def fresh(self) -> None: ...


def test_what_is_declared_private_a_method_or_a_mixins_may_have_any_name() -> None:
    assert step_spec(Fine()).timeout_s == 30.0
