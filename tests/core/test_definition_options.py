"""The options of a step: their defaults, where they are read, and what is refused."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from antistrophe.definition.calling import build_step
from antistrophe.definition.spec import ResourceLimits, RetryPolicy, StepSpec
from antistrophe.definition.step import SagaStep, step
from antistrophe.definition.step_options import step_spec
from antistrophe.errors import InvalidStepError
from antistrophe.serialization.payload import pack_payload, unpack_payload
from tests.core.definition_kit import Debit, variant


def test_defaults() -> None:
    assert step_spec(Debit("A", 1)) == StepSpec(
        name="Debit",
        class_ref="tests.core.definition_kit:Debit",
        input=pack_payload({"account": "A", "amount": 1}),
        timeout_s=30.0,
        kill_grace_s=5.0,
        retry=RetryPolicy(max_attempts=1),
        retryable_attempts=3,
        compensation_timeout_s=30.0,
        compensation_retry=RetryPolicy(max_attempts=12, initial_s=1.0, multiplier=2.0, max_s=60.0, jitter=True),
        idempotent=False,
        atomic=True,
        requires_compensation=True,
        fresh_process=False,
        has_verify=False,
        limits=None,
    )


RETRY = RetryPolicy(max_attempts=7)


@pytest.mark.parametrize(
    ("attributes", "read"),
    [
        ({"idempotent": True}, {"retry": RetryPolicy(max_attempts=3), "retryable_attempts": 3}),
        ({"retry": RETRY}, {"retry": RETRY, "retryable_attempts": 7}),
        ({"retry": RETRY, "idempotent": True}, {"retry": RETRY, "retryable_attempts": 7}),
        ({"retry": RetryPolicy(max_attempts=1)}, {"retryable_attempts": 1}),
        ({"retry": None}, {"retry": RetryPolicy(max_attempts=1)}),
        ({"timeout_s": 5}, {"timeout_s": 5.0, "compensation_timeout_s": 30.0}),
        ({"timeout_s": 50.5}, {"timeout_s": 50.5, "compensation_timeout_s": 50.5}),
        ({"compensation_timeout_s": 1}, {"compensation_timeout_s": 1.0}),
        ({"kill_grace_s": 0}, {"kill_grace_s": 0.0}),
        ({"compensation_retry": RETRY}, {"compensation_retry": RETRY}),
        ({"atomic": False}, {"atomic": False}),
        ({"requires_compensation": False}, {"requires_compensation": False}),
        ({"isolation": "fresh"}, {"fresh_process": True}),
        ({"isolation": "process"}, {"fresh_process": False}),
        ({"limits": ResourceLimits(cpu_s=1)}, {"limits": ResourceLimits(cpu_s=1)}),
        ({}, {"max_concurrent": None, "max_per_second": None, "throttled": False}),
        ({"max_concurrent": 4}, {"max_concurrent": 4, "throttled": True}),
        ({"max_per_second": 2}, {"max_per_second": 2.0, "throttled": True}),
        ({}, {"runs_on": (), "asks_anew": False}),
        ({"runs_on": {"gpu"}}, {"runs_on": ("gpu",), "asks_anew": True, "throttled": False}),
        ({"runs_on": frozenset()}, {"runs_on": (), "asks_anew": False}),
        ({"name": "pay €5"}, {"name": "pay €5"}),
    ],
    ids=repr,
)
def test_options(attributes: dict[str, Any], read: dict[str, Any]) -> None:
    spec = step_spec(variant(**attributes))
    assert {name: getattr(spec, name) for name in read} == read
    # An option is no input.
    assert unpack_payload(spec.input) == {"account": "A", "amount": 1}


@pytest.mark.parametrize(
    "value", ["gpu", ["gpu"], {""}, {"a b"}, {5}, {"x" * 64}, range(65)], ids=lambda it: str(it)[:9]
)
def test_labels_are_a_set_of_names(value: Any) -> None:
    with pytest.raises(InvalidStepError, match=r"^step 'Debit': runs_on (must be a set of up to 64|has the label)"):
        step_spec(variant(runs_on=set(map(str, value)) if isinstance(value, range) else value))


@pytest.mark.parametrize("option", ["max_concurrent", "max_per_second"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "5", True, 1_000_000, [5]])
def test_turns_are_checked(option: str, value: Any) -> None:
    with pytest.raises(InvalidStepError, match=rf"^step 'Debit': {option} must be a (whole )?number from"):
        step_spec(variant(**{option: value}))


@pytest.mark.parametrize("option", ["timeout_s", "compensation_timeout_s", "kill_grace_s"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, -math.inf, "5", None, True, 1e12, [5]])
def test_durations_are_checked(option: str, value: Any) -> None:
    with pytest.raises(InvalidStepError, match=rf"^step 'Debit': {option} must be a number of seconds"):
        step_spec(variant(**{option: value}))


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("timeout_s", 0, "over 0"),
        ("timeout_s", 0.0, "over 0"),
        ("compensation_timeout_s", 0, "over 0"),
        ("retry", 3, r"must be a RetryPolicy\(...\), not 3"),
        ("compensation_retry", {"max_attempts": 3}, r"must be a RetryPolicy\(...\)"),
        ("limits", 1024, r"must be a ResourceLimits\(...\)"),
        ("idempotent", 1, "must be True or False"),
        ("atomic", "no", "must be True or False"),
        ("requires_compensation", None, "must be True or False"),
        ("isolation", "thread", 'must be "process" or "fresh", not \'thread\''),
        ("isolation", ["fresh"], "must be"),
    ],
)
def test_options_are_checked(option: str, value: Any, text: str) -> None:
    with pytest.raises(InvalidStepError, match=rf"^step 'Debit': {option} .*{text}"):
        step_spec(variant(**{option: value}))


@pytest.mark.parametrize("name", ["", " \t", 5, None, b"x", "a\nb", "a\x00", "\udc80", "x" * 201, "a\u2028b"])
def test_names_are_checked(name: Any) -> None:
    with pytest.raises(InvalidStepError, match="name must"):
        step_spec(variant(name=name))


@pytest.mark.parametrize(
    "make",
    [
        lambda: RetryPolicy(max_attempts=0),
        lambda: RetryPolicy(max_attempts=1.5),  # type: ignore[arg-type]
        lambda: RetryPolicy(initial_s=-1),
        lambda: RetryPolicy(max_s=math.nan),
        lambda: RetryPolicy(multiplier=math.inf),
        lambda: ResourceLimits(memory_bytes=0),
        lambda: ResourceLimits(cpu_s=-1),
        lambda: ResourceLimits(open_files=True),
    ],
)
def test_policies_are_checked(make: Callable[[], object]) -> None:
    with pytest.raises(InvalidStepError):
        make()


# --- fields that have the names of options ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Colliding(SagaStep):
    name: str
    timeout_s: float
    retry: RetryPolicy
    idempotent: bool = True
    verify: bool = False

    def execute(self) -> None: ...

    def compensate(self) -> None: ...


def test_a_field_of_an_options_name_wins_and_is_input_too() -> None:
    given = Colliding("mine", 2.5, RETRY)
    spec = step_spec(given)
    assert (spec.name, spec.timeout_s, spec.retry, spec.idempotent) == ("mine", 2.5, RETRY, True)
    assert spec.has_verify is False
    assert build_step(Colliding, spec.input) == given


def test_the_base_class_takes_no_name_for_itself() -> None:
    assert [name for name in vars(SagaStep) if not name.startswith("__")] == []
    assert not hasattr(object.__new__(SagaStep), "__dict__")


class ShyOption(Debit):
    @property
    def timeout_s(self) -> float:
        raise ZeroDivisionError("no time")


def test_an_option_that_raises() -> None:
    with pytest.raises(InvalidStepError, match=r"step 'ShyOption': its timeout_s raises ZeroDivisionError: no time"):
        step_spec(ShyOption("A", 1))


# --- many steps of one class ----------------------------------------------------------------------------------------


def test_what_changes_between_two_steps_of_a_class_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert step_spec(Debit("A", 1)).timeout_s == 30.0
    monkeypatch.setattr(Debit, "timeout_s", 7, raising=False)
    assert step_spec(Debit("A", 1)).timeout_s == 7.0
    monkeypatch.setattr(Debit, "timeout_s", 1, raising=False)
    assert step_spec(Debit("A", 1)).timeout_s == 1.0
    monkeypatch.setattr(Debit, "timeout_s", True, raising=False)  # equal to 1, and no number of seconds
    with pytest.raises(InvalidStepError, match="timeout_s must be a number of seconds"):
        step_spec(Debit("A", 1))
    monkeypatch.setattr(Debit, "timeout_s", 7, raising=False)
    assert [step_spec(Debit(account, 1)).timeout_s for account in "AB"] == [7.0, 7.0]


def test_options_that_are_fields_are_those_of_each_step() -> None:
    steps = [Colliding(name, float(number), RETRY, number % 2 == 0) for number, name in enumerate("abc", 1)]
    specs = [step_spec(step) for step in steps]
    assert [(spec.name, spec.timeout_s, spec.idempotent) for spec in specs] == [
        ("a", 1.0, False),
        ("b", 2.0, True),
        ("c", 3.0, False),
    ]
    with pytest.raises(InvalidStepError, match="timeout_s must be a number of seconds over 0"):
        step_spec(Colliding("d", 0.0, RETRY))


def test_a_function_that_comes_later_counts() -> None:
    @step(requires_compensation=False)
    def later(account: str) -> None: ...

    later.__qualname__ = "later"
    setattr(sys.modules[__name__], "later", later)  # noqa: B010 - another process has to find it
    assert not step_spec(later("A")).has_verify

    @later.verify
    def found(account: str) -> Any: ...

    assert step_spec(later("A")).has_verify


class Drawn(Debit):
    asked: ClassVar[list[float]] = []

    @property
    def timeout_s(self) -> float:
        self.asked.append(float(len(self.asked) + 1))
        return self.asked[-1]


def test_a_property_is_asked_once_for_each_step() -> None:
    assert [step_spec(Drawn("A", 1)).timeout_s for _ in range(3)] == [1.0, 2.0, 3.0]
