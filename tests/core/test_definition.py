"""Definitions: built step by step, never changed, and checked before anything runs."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import pytest

from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.definition.step import SagaStep, step
from antistrophe.errors import InvalidDefinitionError, InvalidStepError, PayloadTooLargeError
from antistrophe.records import SagaStatus, StepStatus


@dataclass(frozen=True)
class Debit(SagaStep):
    account: str
    amount: int

    def execute(self) -> None: ...

    def compensate(self) -> None: ...


@dataclass(frozen=True)
class Credit(Debit):
    pass


@dataclass(frozen=True)
class Named(Debit):
    name: str = "Debit"


@step(requires_compensation=False)
def note(text: str) -> None: ...


class Duck:
    def execute(self) -> None: ...


class Word(str, Enum):
    ID = "saga-1"


def undecorated() -> None: ...


def test_a_definition_without_steps() -> None:
    saga = SagaDefinition("empty")
    assert (saga.id, saga.name, saga.steps, saga.deadline_s) == ("empty", "empty", (), None)
    assert saga.on_compensation_failure == "park"
    assert saga.status is SagaStatus.NOT_STARTED
    assert saga.spec().steps == ()
    assert saga.spec().park_on_failure


def test_steps_stay_in_order_and_every_definition_stays_as_it_is() -> None:
    empty = SagaDefinition("transfer-100", name="transfer", deadline_s=60, on_compensation_failure="continue")
    one = empty.add_step(Debit("A", 100))
    two = one.add_step(Credit("B", 100))
    assert [len(each.steps) for each in (empty, one, two)] == [0, 1, 2]
    assert two.steps == (Debit("A", 100), Credit("B", 100))
    spec = two.spec()
    assert (spec.id, spec.name, spec.deadline_s, spec.park_on_failure) == ("transfer-100", "transfer", 60.0, False)
    assert [each.name for each in spec.steps] == ["Debit", "Credit"]
    with pytest.raises(AttributeError):
        two.name = "other"  # type: ignore[misc]


def test_metadata() -> None:
    saga = SagaDefinition("s", "kind").add_step(Debit("A", 1)).add_step(note("hello"))
    metadata = saga.metadata
    assert (metadata.id, metadata.name, metadata.status) == ("s", "kind", SagaStatus.NOT_STARTED)
    assert (metadata.steps_executed, metadata.total_steps) == (0, 2)
    assert metadata.created_at == metadata.updated_at == saga.created_at
    assert datetime.now(UTC) - metadata.created_at < timedelta(minutes=1)
    assert [(each.name, each.index, each.status) for each in metadata.steps] == [
        ("Debit", 0, StepStatus.PENDING),
        ("note", 1, StepStatus.PENDING),
    ]


def test_equal_where_what_would_run_is_equal() -> None:
    def build(amount: int = 1, **more: Any) -> SagaDefinition:
        return SagaDefinition("s", **more).add_step(Debit("A", amount))

    assert build() == build() == copy.deepcopy(build())
    assert hash(build()) == hash(build())
    assert build() != build(2)
    assert build() != build(name="other")
    assert build().spec().same_definition(build().spec())


@pytest.mark.parametrize(
    "bad",
    ["", "   ", "a\nb", "a\x00", "a\x7f", "\x85", "\ud800", "a\u2029", "x" * 201, None, 5, b"x", ["a"]],
    ids=repr,
)
def test_ids_and_names_are_checked(bad: Any) -> None:
    with pytest.raises(InvalidDefinitionError, match="the id of a saga must"):
        SagaDefinition(bad)
    if bad is not None:
        with pytest.raises(InvalidDefinitionError, match="the name of a saga must"):
            SagaDefinition("s", name=bad)


@pytest.mark.parametrize(
    "good", ["x" * 200, "päivä", "日本", "👩‍🚀", "a b", "../../etc/passwd", "'; drop table", "%s{}"]
)
def test_any_other_text_is_an_id(good: str) -> None:
    assert SagaDefinition(good).spec().id == good


def test_a_subclass_of_str_becomes_a_str() -> None:
    assert type(SagaDefinition(Word.ID).id) is str
    assert SagaDefinition(Word.ID).name == "saga-1"


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, "5", True, 1e12])
def test_the_deadline_is_checked(bad: Any) -> None:
    with pytest.raises(InvalidDefinitionError, match="the deadline_s of a saga must be a number of seconds"):
        SagaDefinition("s", deadline_s=bad)


@pytest.mark.parametrize("bad", ["stop", None, True, ["park"]])
def test_the_choice_after_a_failed_compensation_is_checked(bad: Any) -> None:
    with pytest.raises(InvalidDefinitionError, match='must be "park" or "continue"'):
        SagaDefinition("s", on_compensation_failure=bad)


def test_two_steps_of_one_name_are_refused() -> None:
    saga = SagaDefinition("s").add_step(Debit("A", 1)).add_step(Credit("B", 1))
    with pytest.raises(InvalidStepError, match=r"saga 's': steps 0 and 2 are both called 'Debit'\. Give .* `name`"):
        saga.add_step(Debit("B", 2))
    with pytest.raises(InvalidStepError, match="steps 0 and 2 are both called 'Debit'"):
        saga.add_step(Named("B", 2))
    assert len(saga.add_step(Named("B", 2, name="Debit again")).steps) == 3


@pytest.mark.parametrize("again", [note("x"), Debit("A", 1), Named("A", 1, name="Ann Lee, 12 Oak Street")])
def test_a_step_may_be_given_a_name_for_one_use(again: SagaStep) -> None:
    saga = SagaDefinition("s").add_step(again, name="first").add_step(again, name="second").add_step(again)
    assert [each.name for each in saga.step_specs[:2]] == [each.name for each in saga.metadata.steps[:2]]
    first, second, own = saga.step_specs
    assert (first.name, second.name) == ("first", "second")
    assert own.name not in ("first", "second")
    assert first == replace(own, name="first"), "the name alone differs"
    assert saga.steps == (again,) * 3, "the step stays as it is"
    with pytest.raises(InvalidStepError, match=r"steps 0 and 3 are both called .first.\. .*add_step\(step, name="):
        saga.add_step(Credit("B", 2), name="first")
    with pytest.raises(InvalidStepError, match="steps 2 and 3 are both called"):
        saga.add_step(Credit("B", 2), own.name)


@pytest.mark.parametrize("bad", ["", " ", "a\nb", "a\x1b", "x" * 201, 5, b"a"])
def test_the_name_for_one_use_is_checked(bad: Any) -> None:
    with pytest.raises(InvalidStepError, match="step Debit: name must"):
        SagaDefinition("s").add_step(Debit("A", 1), name=bad)


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (Debit, r"got the class Debit and not a step: add Debit\(\.\.\.\)"),
        (note, r"got the step function note and not a step: add note\(\.\.\.\)"),
        (undecorated, r"got the function undecorated: put @step above it"),
        (len, "got the function len"),
        (Duck(), "let its class inherit from SagaStep"),
        (None, "None .NoneType. is no step"),
        (5, "is no step"),
        ([Debit("A", 1)], "is no step"),
    ],
)
def test_what_is_no_step_is_refused(thing: Any, text: str) -> None:
    with pytest.raises(InvalidStepError, match=text):
        SagaDefinition("s").add_step(thing)


def test_a_payload_over_the_limit_is_refused_before_anything_runs() -> None:
    saga = SagaDefinition("s").add_step(Debit("A", 1)).add_step(Credit("B" * 2_000, 1))
    assert saga.spec(max_payload_bytes=3_000).steps
    with pytest.raises(
        PayloadTooLargeError,
        match=r"saga 's': the input of step 1 \(Credit\) takes 20\d\d bytes, over the limit of 1000",
    ):
        saga.spec(max_payload_bytes=1_000)
    with pytest.raises(PayloadTooLargeError, match="over the limit of 1048576"):
        SagaDefinition("s").add_step(note("x" * 1_048_576)).spec()


def test_a_definition_that_fits_into_no_message_names_the_step_that_is_too_much() -> None:
    saga = SagaDefinition("large")
    for number in range(130):
        saga = saga.add_step(Debit("x" * 2**20, number), f"step-{number}")
    with pytest.raises(
        PayloadTooLargeError, match=r"saga 'large': with step 127 \(step-127\) of 130 the definition takes"
    ):
        saga.spec(max_payload_bytes=2**21)
    fits = SagaDefinition("fits")
    for number in range(100):
        fits = fits.add_step(Debit("x" * 2**20, number), f"step-{number}")
    assert len(fits.spec(max_payload_bytes=2**21).steps) == 100
