"""What waits for its turn: a step class at its limit or its rate, sagas of one name, and who goes first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from antistrophe import SagaDefinition, SagaError, SagaOrchestrator, SagaStatus, Settings
from tests.actors.effects import Effect
from tests.actors.staging import Stage, seen, wait_for_status
from tests.actors.steps_act import Act
from tests.waiting import until


@dataclass(frozen=True)
class Pay(Act):
    """A class with limits of its own."""


@pytest.fixture(scope="module")
def system_settings() -> Settings:
    return Settings(drain_s=0.2, max_step_processes=4)


def pay(stage: Stage, *forward: str, **options: object) -> Pay:
    return Pay(str(stage.log.path), "pay", forward or ("ok",), ("ok",), **options)  # type: ignore[arg-type]


def most_at_once(effects: list[Effect]) -> int:
    """Of what began and ended, how many there were at the same time."""
    most = now = 0
    for each in sorted(effects, key=lambda effect: effect.at):
        now += {"begin": 1, "undo": 1, "done": -1, "undone": -1, "raise": -1}.get(each.what, 0)
        most = max(most, now)
    return most


def begun(stage: Stage, sagas: list[SagaDefinition], what: str = "begin") -> list[Effect]:
    return [effect for saga in sagas for effect in stage.log.find(saga.id, what)]


def test_a_step_class_at_its_limit_waits_visibly_and_holds_up_no_other(system: SagaOrchestrator, stage: Stage) -> None:
    slow = [stage.saga(pay(stage, "gate:open", max_concurrent=2)) for _ in range(5)]
    for saga in slow:
        system.start(saga)
    until(lambda: len(begun(stage, slow)) == 2, "two that pay")
    for _ in range(5):
        system.execute(stage.saga(stage.act("quick"), stage.act("other")), timeout_s=30.0)
    assert len(begun(stage, slow)) == 2
    waiting = [found.waiting for saga in slow if (found := seen(system, saga.id)).waiting]
    assert waiting == ["a step process to execute pay in (of its class, at most 2 run at the same time)"] * 3
    stage.log.open_gate("open")
    system.wait_idle(30.0)
    effects = [effect for saga in slow for effect in stage.log.read(saga.id)]
    assert most_at_once(effects) == 2
    assert {seen(system, saga.id).status for saga in slow} == {SagaStatus.COMPLETED}


def test_the_limit_holds_for_compensations_too_and_for_steps_in_the_middle(
    system: SagaOrchestrator, stage: Stage
) -> None:
    sagas = [
        stage.saga(stage.act("before"), pay(stage, max_concurrent=1), stage.act("after", "raise")) for _ in range(6)
    ]
    handles = [system.start(saga) for saga in sagas]
    for handle in handles:
        with contextlib.suppress(SagaError):
            handle.result(30.0)
    assert {seen(system, saga.id).status for saga in sagas} == {SagaStatus.COMPENSATED}
    effects = [effect for saga in sagas for effect in stage.log.read(saga.id) if effect.step == "pay"]
    assert len([each for each in effects if each.what == "undone"]) == 6
    assert most_at_once(effects) == 1


def test_a_rate_spaces_the_starts(system: SagaOrchestrator, stage: Stage) -> None:
    sagas = [stage.saga(pay(stage, max_per_second=5)) for _ in range(8)]
    began = datetime.now(UTC)
    handles = [system.start(saga) for saga in sagas]
    for handle in handles:
        handle.result(30.0)
    starts = sorted(
        entry.at for saga in sagas for entry in system.get_timeline(saga.id) if entry.kind == "AttemptStarted"
    )
    # What is spaced is the grants of processes, and none was granted before. The entries follow at any distance.
    assert starts[-1] - began > timedelta(seconds=0.9 * (len(starts) - 1) / 5)


def test_an_attempt_that_is_killed_gives_its_turn_back(system: SagaOrchestrator, stage: Stage) -> None:
    hung = stage.saga(pay(stage, "hang", max_concurrent=1, timeout_s=0.3, kill_grace_s=0.2))
    next_one = stage.saga(pay(stage, max_concurrent=1))
    first, second = system.start(hung), system.start(next_one)
    with pytest.raises(SagaError):
        first.result(30.0)
    second.result(30.0)
    assert seen(system, hung.id).status is SagaStatus.COMPENSATED
    assert stage.log.story(next_one.id) == ["begin pay", "done pay"]


# --- sagas of one name, priorities --------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SagaOrchestrator]:
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.2, max_step_processes=2)) as orchestrator:
        yield orchestrator


def test_sagas_of_one_name_wait_for_each_other_and_others_pass(
    small: SagaOrchestrator, stage: Stage, tmp_path: Path
) -> None:
    imports = [stage.saga(stage.act("load", "gate:open"), name="import", max_concurrent=1) for _ in range(3)]
    for saga in imports:
        small.start(saga)
    until(lambda: begun(stage, imports), "the first import")
    small.execute(stage.saga(stage.act("quick")), timeout_s=30.0)
    assert [seen(small, saga.id).waiting for saga in imports[1:]] == [
        "its turn: max_concurrent lets 1 of those called 'import' run at the same time"
    ] * 2
    assert len(begun(stage, imports)) == 1
    small.close()
    with SagaOrchestrator(tmp_path / "home") as again:  # what waited still waits, by the same rule
        stage.log.open_gate("open")
        again.wait_idle(30.0)
        assert all(seen(again, saga.id).status.final for saga in imports)
    later = [effect for saga in imports[1:] for effect in stage.log.read(saga.id)]
    assert most_at_once(later) == 1


def test_the_higher_priority_starts_first(tmp_path: Path, stage: Stage) -> None:
    settings = Settings(drain_s=0.2, max_step_processes=1, max_running_sagas=1)
    with SagaOrchestrator(tmp_path / "home", settings=settings) as system:
        first = stage.saga(stage.act("first", "gate:open"))
        system.start(first)
        until(lambda: begun(stage, [first]), "the first")
        sagas = {priority: stage.saga(stage.act("next"), priority=priority) for priority in (0, -5, 7)}
        for saga in sagas.values():
            system.start(saga)
        stage.log.open_gate("open")
        for saga in sagas.values():
            wait_for_status(system, saga.id, SagaStatus.COMPLETED)
    starts = {priority: stage.log.find(saga.id, "begin")[0].at for priority, saga in sagas.items()}
    assert sorted(starts, key=lambda priority: starts[priority]) == [7, 0, -5]
