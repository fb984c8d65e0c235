"""What a caller gives is looked at before it is sent: the system would drop a message with a field of another type, and
nobody would answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antistrophe import InvalidSettingsError, RequestError, SagaOrchestrator

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


@pytest.mark.parametrize("wrong", [5, "settings.toml", {}])
def test_what_is_no_settings_starts_nothing(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingsError, match=r"settings= takes Settings\(\.\.\.\) or Settings\.load\(file\)"):
        SagaOrchestrator(tmp_path / "home", settings=wrong)
    assert not (tmp_path / "home").exists()
