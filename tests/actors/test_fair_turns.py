"""What waits gets its turn: compensations before all else, and each name its share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from antistrophe import RetryPolicy, SagaDefinition, SagaOrchestrator, SagaStatus, Settings
from tests.actors.staging import Stage, seen
from tests.waiting import until

LATER: dict[str, Any] = {"compensation_retry": RetryPolicy(3, 2.5, jitter=False)}


def undone_later(stage: Stage, **options: Any) -> SagaDefinition:
    """A saga whose first undo fails, and whose second is due long enough afterwards that the saga sleeps."""
    return stage.saga(stage.act("a", back=("raise", "ok"), **LATER), stage.act("x", "raise"), saga_id="back", **options)


@pytest.mark.parametrize("names", [{}, {"name": "shop"}, {"name": "shop", "max_concurrent": 1}])
def test_an_undo_that_slept_comes_before_sagas_that_have_taken_all_places(
    tmp_path: Path, names: dict[str, Any]
) -> None:
    stage = Stage(tmp_path)
    settings = Settings(drain_s=0.2, max_running_sagas=4, max_step_processes=4)
    with SagaOrchestrator(tmp_path / "home", settings=settings) as orchestrator:
        orchestrator.start(undone_later(stage, **names))
        until(lambda: stage.log.find("back", "undo"), "the undo that fails")
        for number in range(8):
            orchestrator.start(stage.saga(stage.act("x", "gate:go"), saga_id=f"forward-{number}", **names))
        until(lambda: seen(orchestrator, "back").status is SagaStatus.COMPENSATED, "the undo")
        stage.log.open_gate("go")
        orchestrator.wait_idle(20.0)
    begun = [each.saga for each in stage.log.read() if each.what in ("begin", "undo")]
    assert len([each for each in begun if each == "back"]) == 4


def test_one_process_is_left_to_a_name_that_has_none(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.2, max_step_processes=2)) as orchestrator:
        for number in range(4):
            orchestrator.start(stage.saga(stage.act("x", "gate:go"), saga_id=f"import-{number}", name="import"))
        until(lambda: stage.log.find("import-0", "begin"), "the first import")
        orchestrator.execute(stage.saga(stage.act("x"), name="order"), timeout_s=30.0)
        assert len([each for each in stage.log.read() if each.saga.startswith("import")]) == 1
        stage.log.open_gate("go")
        orchestrator.wait_idle(20.0)


def test_one_of_another_name_does_not_wait_for_all_that_came_before(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    settings = Settings(drain_s=0.2, max_running_sagas=2, max_step_processes=4)
    with SagaOrchestrator(tmp_path / "home", settings=settings) as orchestrator:
        for number in range(40):
            orchestrator.start(stage.saga(stage.act("x", "gate:go"), saga_id=f"import-{number}", name="import"))
        orchestrator.start(stage.saga(stage.act("x"), saga_id="order"))
        stage.log.open_gate("go")
        orchestrator.wait_idle(40.0)
    begun = [each.saga for each in stage.log.read() if each.what == "begin"]
    assert begun.index("order") < 20, begun
