"""A wall clock that jumps while the system runs, or between its lives, holds nothing up and cuts nothing short."""

from __future__ import annotations

import ast
import contextlib
import time
from datetime import datetime
from pathlib import Path

import pytest

from antistrophe import RetryPolicy, SagaDefinition, SagaOrchestrator, SagaStatus, Settings
from antistrophe.journal import SqliteJournal, journal_path
from antistrophe.records import TimelineEntry
from tests.actors.staging import Stage, seen
from tests.chaos.clocks import VARIABLE
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("injected")
SETTINGS = Settings(drain_s=0.3)
SOON_S = 30.0
HOURS = ("-7200", "7200", "0")


def test_a_clock_that_jumps_while_the_system_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "jumps")
    stage = Stage(tmp_path)
    patient = RetryPolicy(3, initial_s=0.3, multiplier=1.0, jitter=False)
    sagas = {
        "retried": stage.saga(stage.act("a", "raise", "ok", retry=patient)),
        "timed out": stage.saga(stage.act("a"), stage.act("b", "hang", timeout_s=0.4, kill_grace_s=0.2)),
        "in time": stage.saga(stage.act("a", "pause:0.3", timeout_s=20.0), deadline_s=600.0),
    }
    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as orchestrator:
        for saga in sagas.values():
            orchestrator.start(saga)
        orchestrator.wait_idle(SOON_S)
        ends = {what: seen(orchestrator, saga.id).status for what, saga in sagas.items()}
        assert ends == {
            "retried": SagaStatus.COMPLETED,
            "timed out": SagaStatus.COMPENSATED,
            "in time": SagaStatus.COMPLETED,
        }
        first, second = (effect.at for effect in stage.log.find(sagas["retried"].id, "begin"))
        assert 0.3 <= second - first < SOON_S


def test_a_clock_that_is_set_between_two_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path)
    sagas: list[SagaDefinition] = []
    for number, off_s in enumerate(HOURS):
        monkeypatch.setenv(VARIABLE, off_s)
        with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as orchestrator:
            orchestrator.wait_idle(SOON_S)  # what the life before has left, whose time was another
            assert all(seen(orchestrator, saga.id).status is SagaStatus.COMPLETED for saga in sagas)
            saga = stage.saga(
                stage.act("a", "retryable:0.5", "ok", retry=RetryPolicy(2)), stage.act("b"), saga_id=f"life-{number}"
            )
            sagas.append(saga)
            orchestrator.start(saga)
            orchestrator.wait_idle(SOON_S)
            with contextlib.closing(SqliteJournal(journal_path(tmp_path / "home"), read_only=True)) as journal:
                times = [entry.at for each in sagas for entry in journal.load(each.id)]
            assert times == sorted(times), "the journal's time never goes back"
    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as orchestrator:
        orchestrator.wait_idle(SOON_S)
        assert all(seen(orchestrator, saga.id).status is SagaStatus.COMPLETED for saga in sagas)


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_a_clock_that_is_set_while_the_system_runs_shows_in_all_that_people_see(
    jump_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = tmp_path / "clock"
    set_clock(clock, 0.0)
    monkeypatch.setenv(VARIABLE, f"file:{clock}")
    stage = Stage(tmp_path)

    def now() -> float:
        return time.time() + float(clock.read_text())

    def is_now(*moments: datetime | None) -> bool:
        return all(moment is not None and abs(moment.timestamp() - now()) < SOON_S for moment in moments)

    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as orchestrator:
        across = stage.saga(stage.act("a", "gate:go"), stage.act("b", "retryable:1.5", "ok"), saga_id="across")
        handle = orchestrator.start(across)
        until(lambda: stage.log.find("across", "begin", "a"), "the step to be at it")
        created_at = seen(orchestrator, "across").created_at
        assert is_now(created_at)
        set_clock(clock, jump_s)
        orchestrator.execute(stage.saga(stage.act("a", "context", timeout_s=20.0), saga_id="after"))
        (context,) = stage.log.find("after", "context")
        assert 10.0 < ast.literal_eval(context.note)["left_s"] <= 20.0
        found = seen(orchestrator, "after")
        assert is_now(found.created_at, found.updated_at, found.steps[0].started_at, found.steps[0].finished_at)
        assert is_now(*(entry.at for entry in orchestrator.get_timeline("after")))
        assert is_now(*(moment_in(entry, "created_at", "deadline") for entry in orchestrator.get_timeline("after")[:2]))
        stage.log.open_gate("go")
        handle.result(SOON_S)
        found = seen(orchestrator, "across")
        assert found.created_at == created_at
        assert is_now(found.updated_at, found.steps[1].started_at, found.steps[1].finished_at)
        planned = [entry for entry in orchestrator.get_timeline("across") if entry.kind == "RetryScheduled"]
        assert is_now(*(moment_in(entry, "not_before") for entry in planned))
        attempts = stage.log.find("across", "begin", "b")
        assert 1.5 <= attempts[1].at - attempts[0].at < SOON_S, "what the system counts does not jump"


def set_clock(clock: Path, off_s: float) -> None:
    new = clock.with_suffix(".new")
    new.write_text(f"{off_s}")
    new.replace(clock)  # nobody reads half of it


def moment_in(entry: TimelineEntry, *names: str) -> datetime:
    """The moment that an entry has under one of these names."""
    (moment,) = (value for name, value in entry.data.items() if name in names)
    assert isinstance(moment, datetime)
    return moment
