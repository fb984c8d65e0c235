"""What a caller gives is looked at before it is sent: the system would drop a message with a field of another type, and
nobody would answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antistrophe import (
    InvalidDefinitionError,
    InvalidSettingsError,
    RequestError,
    SagaDefinition,
    SagaHandle,
    SagaOrchestrator,
    step,
)


@step(requires_compensation=False)
def pay() -> None: ...


CALLS: dict[str, Callable[[SagaOrchestrator, Any], object]] = {
    "get": lambda system, wrong: system.get_saga(wrong),
    "timeline": lambda system, wrong: system.get_timeline(wrong),
    "handle": lambda system, wrong: system.handle(wrong),
    "list by name": lambda system, wrong: system.list_sagas(name=wrong),
    "list by text": lambda system, wrong: system.list_sagas(text=wrong),
    "list by cursor": lambda system, wrong: system.list_sagas(cursor=wrong),
    "cancel": lambda system, wrong: system.cancel(wrong),
    "cancel for a reason": lambda system, wrong: system.cancel("s", reason=wrong),
    "retry with a note": lambda system, wrong: system.retry_compensation("s", note=wrong),
    "resolve a step": lambda system, wrong: system.resolve("s", wrong, note="n"),
    "resolve with a note": lambda system, wrong: system.resolve("s", "step", note=wrong),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("wrong", [5, b"x", object(), 2**70], ids=["int", "bytes", "object", "big"])
def test_what_is_no_text_is_refused_by_name(call: str, wrong: Any, system: SagaOrchestrator) -> None:
    with pytest.raises(RequestError, match="must be a text, not"):
        CALLS[call](system, wrong)


@pytest.mark.parametrize("wrong", [0, -1, True, 2**70, "5", None, 1.0])
def test_what_is_no_limit_is_refused(wrong: Any, system: SagaOrchestrator) -> None:
    for ask in (system.get_history, lambda limit: system.list_sagas(limit=limit)):
        with pytest.raises(ValueError, match="limit must be a whole number from 1 on"):
            ask(wrong)


@pytest.mark.parametrize("wrong", [-1, True, 2**70, "5", 1.0])
def test_what_is_no_position_is_refused(wrong: Any, system: SagaOrchestrator) -> None:
    with pytest.raises(ValueError, match=r"from_position.* must be a whole number from 0 on"):
        system.subscribe(from_position=wrong)


@pytest.mark.parametrize("wrong", ["s", 5, None, SagaDefinition, pay()], ids=str)
def test_what_is_no_saga_is_refused(wrong: Any, system: SagaOrchestrator) -> None:
    for ask in (system.execute, system.start):
        with pytest.raises(InvalidDefinitionError, match="is no saga: pass a SagaDefinition"):
            ask(wrong)


@pytest.mark.parametrize("wrong", ["5", [5], object(), -1, float("nan")])
def test_what_is_no_timeout_is_refused_before_anything_runs(wrong: Any, system: SagaOrchestrator) -> None:
    saga = SagaDefinition("never-started").add_step(pay())
    handle = SagaHandle(system._session, "s")
    calls: list[Callable[[], object]] = [
        lambda: system.execute(saga, timeout_s=wrong),
        lambda: handle.result(timeout_s=wrong),
        lambda: handle.outputs(timeout_s=wrong),
        lambda: system.wait_idle(wrong),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="timeout_s must be a number of seconds from 0 on, or None, not"):
            call()
    assert system.get_saga("never-started") is None


@pytest.mark.parametrize("wrong", [["completed"], {}, "failed", 5])
def test_what_is_no_final_status_is_refused(wrong: Any, system: SagaOrchestrator) -> None:
    with pytest.raises(RequestError, match="status must be COMPLETED or COMPENSATED, not"):
        system.purge(status=wrong, dry_run=True)


@pytest.mark.parametrize("wrong", [5, "settings.toml", {}])
def test_what_is_no_settings_starts_nothing(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingsError, match=r"settings= takes Settings\(\.\.\.\) or Settings\.load\(file\)"):
        SagaOrchestrator(tmp_path / "home", settings=wrong)
    assert not (tmp_path / "home").exists()
