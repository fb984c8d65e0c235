"""Steps whose methods are ``async def``: the same promises, on one loop in the main thread of a step process."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from antistrophe import SagaOrchestrator, StepFailedError, StepTimeoutError
from tests.actors.staging import Stage, outcome
from tests.actors.steps_act import Played
from tests.waiting import until

SHORT: dict[str, Any] = {"timeout_s": 1.0, "kill_grace_s": 0.4}


def test_async_steps_run_and_are_undone(system: SagaOrchestrator, stage: Stage) -> None:
    done = stage.saga(stage.async_act("a"), stage.act("b"), stage.async_act("c"))
    assert outcome(system, done) == [Played("a", 1), Played("b", 1), Played("c", 1)]
    undone = stage.saga(stage.async_act("a", back=("raise", "ok")), stage.async_act("b", "raise"))
    assert isinstance(outcome(system, undone), StepFailedError)
    assert stage.log.story(undone.id) == ["begin a", "done a", "begin b", "undo a", "undo a", "undone a"]


def test_one_that_hangs_in_an_await_is_ended_where_it_stands(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.async_act("x", "await", timeout_s=1.0))
    assert isinstance(outcome(system, saga), StepTimeoutError)
    cancelled, undo = stage.log.find(saga.id, "cancelled")[0], stage.log.find(saga.id, "undo")[0]
    assert cancelled.at < undo.at, "its own finally has run"


@pytest.mark.parametrize("part", ["hang", "spin:deque", "stubborn"])
def test_one_that_blocks_the_loop_is_ended(system: SagaOrchestrator, stage: Stage, part: str) -> None:
    saga = stage.saga(stage.async_act("x", part, **SHORT))
    assert isinstance(outcome(system, saga), StepTimeoutError)
    undo = stage.log.find(saga.id, "undo")[0]
    beats = stage.log.find(saga.id, "beat")
    assert beats
    assert max(each.at for each in beats) < undo.at


def test_a_task_that_an_attempt_leaves_does_not_go_on_in_the_next(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.async_act("leaves", "leave-task"), stage.async_act("next", "pause:0.2"))
    assert isinstance(outcome(system, saga), list)
    begin = stage.log.find(saga.id, "begin", "next")[0]
    assert {each.pid for each in stage.log.find(saga.id, "begin")} == {begin.pid}, "in the same process"
    assert stage.log.find(saga.id, "beat")
    assert max(each.at for each in stage.log.find(saga.id, "beat")) < begin.at
    assert stage.log.find(saga.id, "cancelled", "leaves")


def test_a_cancel_ends_an_await(system: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.async_act("x", "await"))
    handle = system.start(saga)
    until(lambda: stage.log.story(saga.id), "the start of the step")
    assert handle.cancel()
    system.wait_idle(20.0)
    assert stage.log.story(saga.id) == ["begin x", "cancelled x", "undo x", "undone x"]
    sys.stdout.write(f"{stage.log.find(saga.id, 'undo')[0].at - stage.log.find(saga.id, 'cancelled')[0].at:.3f} s\n")
