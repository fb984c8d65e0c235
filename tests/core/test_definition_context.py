"""What a step is given and what it gives back."""

from __future__ import annotations

import copy
import itertools
import logging
import pickle
from collections import deque
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from antistrophe.definition.context import NOT_APPLIED, UNKNOWN, Outputs, StepContext, StepResult, normalise_result
from antistrophe.definition.events import event
from antistrophe.errors import AntistropheError, InDoubtError, OutputNotFoundError


@event("context.noted")
@dataclass(frozen=True)
class Noted:
    text: str


class Pair(NamedTuple):
    one: int
    two: int


def test_outputs_are_read_by_the_name_of_the_step() -> None:
    outputs = Outputs({"Debit": 5, "Hold": None}, "Credit")
    assert outputs["Debit"] == 5
    assert outputs["Hold"] is None
    assert dict(outputs) == {"Debit": 5, "Hold": None}
    assert "Debit" in outputs
    assert "Nowhere" not in outputs
    assert outputs.get("Nowhere", 7) == 7
    assert len(outputs) == 2
    assert repr(outputs) == "Outputs({'Debit': 5, 'Hold': None})"


def test_a_missing_output_is_named_with_those_that_are_there() -> None:
    with pytest.raises(OutputNotFoundError) as missing:
        Outputs({"Debit": 5}, "Credit")["JournalAccess"]
    assert isinstance(missing.value, KeyError)
    assert isinstance(missing.value, AntistropheError)
    assert "step 'JournalAccess' has no output that step 'Credit' could read" in str(missing.value)
    assert "Steps with an output: 'Debit'" in str(missing.value)
    with pytest.raises(OutputNotFoundError, match="Steps with an output: none"):
        Outputs({}, "Credit")["JournalAccess"]


def test_outputs_can_not_be_changed() -> None:
    given = {"Debit": 5}
    outputs = Outputs(given, "Credit")
    given["Late"] = 6
    assert "Late" not in outputs
    with pytest.raises(TypeError):
        outputs["Debit"] = 6  # type: ignore[index]


def test_a_context_can_not_be_changed() -> None:
    context = StepContext(
        saga_id="s",
        step_name="Debit",
        step_index=0,
        attempt=1,
        idempotency_key="key-back",
        forward_key="key",
        outputs=Outputs({}, "Debit"),
        output=None,
        in_doubt=False,
        deadline=datetime.now(UTC),
        log=logging.getLogger("test"),
    )
    with pytest.raises(FrozenInstanceError):
        context.attempt = 2  # type: ignore[misc]


def test_a_result_keeps_its_events_as_a_tuple() -> None:
    events = [Noted("a")]
    result = StepResult(output=1, events=events)
    events.append(Noted("b"))
    assert result.events == (Noted("a"),)
    assert StepResult() == StepResult(None, ())


@pytest.mark.parametrize("events", ["text", b"text", None, 5, Noted("a"), {"a": Noted("a")}, Pair(1, 2), Noted])
def test_the_events_of_a_result_are_a_list(events: Any) -> None:
    with pytest.raises(TypeError, match="takes a list of events"):
        StepResult(events=events)


def test_a_wrong_result_says_that_its_step_is_in_doubt() -> None:
    wrong: Any = 5
    with pytest.raises(InDoubtError):
        StepResult(events=wrong)


@pytest.mark.parametrize("make", [iter, set, deque, dict.fromkeys, lambda each: (n for n in each)])
def test_any_iterable_of_events_will_do(make: Callable[[list[Noted]], Any]) -> None:
    made = make([Noted("a")])
    events: Any = made.keys() if isinstance(made, dict) else made
    assert StepResult(5, events) == StepResult(5, (Noted("a"),))


def test_events_without_an_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antistrophe.definition.result.MOST_EVENTS", 1_000)
    endless: Any = itertools.repeat(Noted("a"))
    with pytest.raises(TypeError, match="more than 1,000 events"):
        StepResult(events=endless)


@pytest.mark.parametrize("sentinel", [NOT_APPLIED, UNKNOWN])
def test_the_findings_of_verify_stay_themselves(sentinel: Any) -> None:
    assert copy.copy(sentinel) is sentinel
    assert copy.deepcopy([sentinel])[0] is sentinel
    assert pickle.loads(pickle.dumps(sentinel)) is sentinel  # noqa: S301 - of our own making
    assert repr(sentinel) in ("NOT_APPLIED", "UNKNOWN")


@pytest.mark.parametrize(
    ("returned", "result"),
    [
        (None, StepResult()),
        ([], StepResult()),
        ([Noted("a")], StepResult(None, (Noted("a"),))),
        (iter([Noted("a")]), StepResult(None, (Noted("a"),))),
        ((each for each in [Noted("a"), Noted("b")]), StepResult(None, (Noted("a"), Noted("b")))),
        (map(Noted, "ab"), StepResult(None, (Noted("a"), Noted("b")))),
        ({Noted("a")}, StepResult(None, (Noted("a"),))),
        ((Noted("a"), Noted("b")), StepResult(None, (Noted("a"), Noted("b")))),
        (StepResult(5), StepResult(5)),
        (StepResult(5, [Noted("a")]), StepResult(5, (Noted("a"),))),
    ],
)
def test_what_a_step_may_return(returned: Any, result: StepResult[Any]) -> None:
    assert normalise_result(returned) == result


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        (5, "returns None, a list of events, or StepResult"),
        ("text", "returns None, a list of events"),
        (False, "not False"),
        ({}, "returns None, a list of events"),
        (Pair(1, 2), "returns None, a list of events"),
        (NOT_APPLIED, "not NOT_APPLIED"),
        (iter([Noted("a"), 5]), "5 .int. among its events"),
        (range(3), "0 .int. among its events"),
        (Noted("a"), "in a list"),
        ([Noted("a"), 5], "5 .int. among its events: put @event above its class"),
        (StepResult(1, ["text"]), "among its events"),
        ([Noted], "among its events"),
    ],
)
def test_what_a_step_may_not_return(returned: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        normalise_result(returned)
