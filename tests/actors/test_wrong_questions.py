"""Questions and orders that make no sense are answered, at once, and neither end an actor nor hold up a saga."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest

from antistrophe import RequestError, SagaCancelledError, SagaNotFoundError, SagaOrchestrator
from tests.actors.staging import Stage, pid_of
from tests.waiting import until

STRANGE: list[Any] = ["\ud800", "\x00", "x" * 100_000, "'; DROP TABLE sagas; --", 5, None, b"bytes", 2**70]

Ask = Callable[[SagaOrchestrator, Any], object]

QUESTIONS: dict[str, Ask] = {
    "get": lambda system, strange: system.get_saga(strange),
    "timeline": lambda system, strange: system.get_timeline(strange),
    "handle": lambda system, strange: system.handle(strange),
    "list by name": lambda system, strange: system.list_sagas(name=strange),
    "list by text": lambda system, strange: system.list_sagas(text=strange),
    "list by cursor": lambda system, strange: system.list_sagas(cursor=strange),
    "history": lambda system, strange: system.get_history(limit=strange),
    "changes": lambda system, strange: next(system.subscribe(from_position=strange)),
    "cancel": lambda system, strange: system.cancel(strange),
    "retry": lambda system, strange: system.retry_compensation(strange),
    "resolve": lambda system, strange: system.resolve(strange, "x", note="y"),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_strange_question_is_answered_and_nobody_dies(question: str, system: SagaOrchestrator) -> None:
    pids = [pid_of(system, role) for role in ("supervisor", "registry", "saga")]
    for strange in STRANGE:
        if question == "changes" and strange in (5, None):
            continue  # those are none: after the fifth change, and from now on
        began = time.monotonic()
        with contextlib.suppress(SagaNotFoundError, RequestError, TypeError, ValueError):
            QUESTIONS[question](system, strange)
        assert time.monotonic() - began < 20.0, f"{question} {strange!a:.40}"
    assert pids == [pid_of(system, role) for role in ("supervisor", "registry", "saga")]


@pytest.mark.parametrize("strange", [object, "\ud800", 5, b"x"])
def test_an_order_with_a_strange_reason_leaves_its_saga_alone(
    strange: Any, system: SagaOrchestrator, stage: Stage
) -> None:
    saga = stage.saga(stage.act("x", "gate:go"))
    handle = system.start(saga)
    until(lambda: stage.log.story(saga.id), "the start of the step")
    with pytest.raises(RequestError, match="reason"):
        handle.cancel(reason=strange)
    assert handle.cancel(reason="a real one") is True
    with pytest.raises(SagaCancelledError, match="a real one"):
        handle.result(20.0)
    assert "lost its actor" not in log_of(system)


def log_of(system: SagaOrchestrator) -> str:
    log = system.home / "log" / "system.log"
    return log.read_text() if log.exists() else ""
