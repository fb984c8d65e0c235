"""An attempt sees its context, a process of its own, and the outputs of the steps before it."""

from __future__ import annotations

import ast
from typing import Any

from antistrophe import RetryPolicy, SagaOrchestrator, StepFailedError
from tests.actors.effects import Effect
from tests.actors.staging import Stage, outcome

TWICE = RetryPolicy(max_attempts=2, initial_s=0.01)


def context_of(effect: Effect) -> dict[str, Any]:
    found: dict[str, Any] = ast.literal_eval(effect.note)
    return found


def test_the_context_of_every_attempt(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(
        stage.act("a", "context", back="context"),
        stage.act("b", "raise", "context", back=("raise", "context"), retry=TWICE, timeout_s=50.0),
        stage.act("c", "raise"),
    )
    assert isinstance(outcome(system, saga), StepFailedError)
    a, b, b_back, a_back = map(context_of, stage.log.find(saga.id, "context"))
    assert (a["saga_id"], a["step_name"], a["step_index"], a["attempt"]) == (saga.id, "a", 0, 1)
    assert (b["step_name"], b["step_index"], b["attempt"]) == ("b", 1, 2)
    assert (b_back["step_name"], b_back["step_index"], b_back["attempt"]) == ("b", 1, 2)
    assert a["outputs"] == {}
    assert b["outputs"] == {"a": {"of": "a", "attempt": 1}}
    assert b_back["outputs"] == b["outputs"]
    assert (a["output"], b["output"], b_back["output"]) == (None, None, {"of": "b", "attempt": 2})
    assert not any(each["in_doubt"] for each in (a, b, b_back, a_back))
    assert all(each["thread"] for each in (a, b, b_back, a_back)), "in the main thread"
    assert 30.0 < b["left_s"] <= 50.0
    assert 10.0 < b_back["left_s"] <= 30.0
    keys = [(each["idempotency_key"], each["forward_key"]) for each in (a, b, b_back, a_back)]
    assert [key == forward for key, forward in keys] == [True, True, False, False]
    assert keys[0][0] == keys[3][1]
    assert keys[1][0] == keys[2][1]
    assert len({key for key, _ in keys}) == 4


def test_the_key_is_the_same_over_the_attempts_of_one_direction(system: SagaOrchestrator, stage: Stage) -> None:
    step = stage.verified(
        "x", "exit-after:1", "exit-after:1", idempotent=True, retry=TWICE, verdict="unknown", back=("context",)
    )
    saga = stage.saga(step)
    outcome(system, saga)
    verify_keys = {each.note for each in stage.log.find(saga.id, "verify")}
    undo = context_of(stage.log.find(saga.id, "context")[0])
    assert verify_keys == {undo["forward_key"]}
    assert len(stage.log.find(saga.id, "verify")) == 2
    assert undo["in_doubt"] is True
    assert undo["output"] is None


def test_what_a_step_logs_is_found_in_the_home(system: SagaOrchestrator, stage: Stage) -> None:
    outcome(system, stage.saga(stage.act("speaks-up", "context"), stage.act("configures", "logging")))
    written = (system.home / "log" / "system.log").read_text()
    assert "antistrophe.step.speaks-up: seen by speaks-up" in written
    assert "some.library: a warning of the library" in written
    assert "its own way" in stage.log.path.with_name("own.log").read_text()
