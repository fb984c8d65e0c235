"""A call that takes the whole actor system along, again and again: it is found out, and everybody else goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe import CompensationFailedError, SagaDefinition, SagaOrchestrator, SagaStatus, Settings
from antistrophe.saga.step_state import LOST_LIMIT
from tests.actors.staging import Stage, running, seen, wait_for_status
from tests.actors.steps_act import Played
from tests.actors.steps_poison import Patient, Poison
from tests.waiting import until

pytestmark = pytest.mark.timeout(150)  # the system dies several times, with pauses between, on a busy machine


@pytest.fixture
def orchestrator(tmp_path: Path) -> Iterator[SagaOrchestrator]:
    yield from running(tmp_path / "home", Settings(drain_s=0.2))


def poisoned(stage: Stage, deadly: str, tmp_path: Path) -> SagaDefinition:
    saga = SagaDefinition("poison").add_step(Poison(str(stage.log), deadly, str(tmp_path / "cure")))
    return saga.add_step(stage.act("fails", "raise")) if deadly == "compensate" else saga


@pytest.mark.parametrize("release", ["retry", "resolve"])
def test_an_undo_that_ends_the_system_is_parked_until_an_operator_releases_it(
    orchestrator: SagaOrchestrator, stage: Stage, tmp_path: Path, release: str
) -> None:
    with pytest.raises(CompensationFailedError, match="the actor system died 3 times in a row while this ran"):
        orchestrator.execute(poisoned(stage, "compensate", tmp_path), timeout_s=120.0)
    assert len(stage.log.find("poison", "compensate")) == LOST_LIMIT
    parked = seen(orchestrator, "poison")
    assert parked.status is SagaStatus.FAILED
    assert parked.waiting is not None
    assert "actor system died" in (parked.steps[0].error or "")
    assert orchestrator.execute(stage.saga(stage.act("after")), timeout_s=60.0) == [Played("after", 1)]
    if release == "retry":
        (tmp_path / "cure").touch()
        assert orchestrator.retry_compensation("poison")
    else:
        assert orchestrator.resolve("poison", "Poison", "by hand")
    wait_for_status(orchestrator, "poison", SagaStatus.COMPENSATED, 60.0)


def test_undos_that_ran_beside_it_are_carried_out(orchestrator: SagaOrchestrator, stage: Stage, tmp_path: Path) -> None:
    """They are suspects too after two deaths, and each has its turn alone."""
    innocent = [stage.saga(stage.act("x", back="pause:0.5"), stage.act("fails", "raise")) for _ in range(4)]
    for saga in [*innocent, poisoned(stage, "compensate", tmp_path)]:
        orchestrator.start(saga)
    wait_for_status(orchestrator, "poison", SagaStatus.FAILED, 120.0)
    for saga in innocent:
        wait_for_status(orchestrator, saga.id, SagaStatus.COMPENSATED, 60.0)
    assert len(stage.log.find("poison", "compensate")) == LOST_LIMIT


def test_an_execute_that_ends_the_system_is_not_retried_for_ever(
    orchestrator: SagaOrchestrator, stage: Stage, tmp_path: Path
) -> None:
    step = Patient(str(stage.log), "execute", str(tmp_path / "cure"))
    orchestrator.start(SagaDefinition("poison").add_step(step))
    until(lambda: seen(orchestrator, "poison").status.final, "the end of the saga", 120.0)
    assert len(stage.log.find("poison", "execute")) == LOST_LIMIT


def test_a_verify_that_ends_the_system_has_answered_unknown(
    orchestrator: SagaOrchestrator, stage: Stage, tmp_path: Path
) -> None:
    orchestrator.start(poisoned(stage, "verify", tmp_path))
    until(lambda: seen(orchestrator, "poison").status.final, "the end of the saga", 120.0)
    assert seen(orchestrator, "poison").status is SagaStatus.COMPENSATED
    assert len(stage.log.find("poison", "verify")) == LOST_LIMIT


def test_an_undo_that_stops_have_ended_is_no_suspect(stage: Stage, tmp_path: Path) -> None:
    saga = stage.saga(stage.act("x", back=("hang",) * (LOST_LIMIT + 1) + ("ok",)), stage.act("fails", "raise"))
    for turn in range(LOST_LIMIT + 1):
        with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.0)) as orchestrator:
            orchestrator.start(saga, if_live="join")
            until(lambda turn=turn: len(stage.log.find(saga.id, "undo")) > turn, "the undo")  # type: ignore[misc]
            assert seen(orchestrator, saga.id).status is SagaStatus.COMPENSATING
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.0)) as orchestrator:
        wait_for_status(orchestrator, saga.id, SagaStatus.COMPENSATED, 60.0)
