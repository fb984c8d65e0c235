"""Sagas and attempts over a limit wait: durably, visibly, and with the reason. Compensations go first."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from antistrophe import RetryPolicy, SagaCancelledError, SagaOrchestrator, SagaStatus, Settings
from antistrophe.linux.termination import processes_of_home
from tests.actors.staging import Stage, seen, wait_for_status
from tests.chaos.oracle import Tally, check
from tests.killing import kill_all
from tests.waiting import until

NARROW = Settings(drain_s=0.2, max_running_sagas=2, max_step_processes=2)
ONE_PROCESS = Settings(drain_s=0.2, max_running_sagas=8, max_step_processes=1)
PAUSE_S = 2.0
"""Before a second undo: in it a supervisor that stands still for a moment lends the process that is free."""


def test_sagas_over_the_limit_wait_for_their_turn(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with SagaOrchestrator(tmp_path / "home", settings=NARROW) as orchestrator:
        handles = [orchestrator.start(stage.saga(stage.act("x", "gate:go"), saga_id=f"s{n}")) for n in range(6)]
        until(lambda: len(stage.log.read()) == 2, "the first two")
        for number in range(2, 6):
            found = seen(orchestrator, f"s{number}")
            assert found.status is SagaStatus.EXECUTING
            assert "its turn" in (found.waiting or "")
        assert orchestrator.running_count() == 6
        assert {each.id for each in orchestrator.get_running_sagas()} == {f"s{n}" for n in range(6)}
        assert handles[5].cancel("no longer") is True, "one that waits can be cancelled"
        with pytest.raises(SagaCancelledError):
            handles[5].result(20.0)
        kill_all(tmp_path / "home")  # those that wait are as durable as those that run
        stage.log.open_gate("go")
        orchestrator.wait_idle(40.0)
        statuses = Counter(seen(orchestrator, f"s{number}").status for number in range(6))
    begun = {each.saga for each in stage.log.read() if each.what == "begin"}
    assert begun == {f"s{n}" for n in range(5)}
    assert statuses == {SagaStatus.COMPLETED: 3, SagaStatus.COMPENSATED: 3}, "two were interrupted, one was cancelled"


def with_attempt_files(home: Path) -> set[str]:
    """The step processes that have left attempt files or stacks."""
    return {file.stem for file in (home / "attempts").iterdir()}


def test_attempts_over_the_limit_wait_for_a_process_and_compensations_come_first(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with SagaOrchestrator(tmp_path / "home", settings=ONE_PROCESS) as orchestrator:
        again = {"compensation_retry": RetryPolicy(3, PAUSE_S, jitter=False)}
        undone = stage.act("a", back=("raise", "ok"), **again)
        back = stage.saga(undone, stage.act("w", "gate:back"), stage.act("x", "raise"), saga_id="back")
        orchestrator.start(back)
        until(lambda: stage.log.find("back", "begin", "w"), "the step that has the process")
        orchestrator.start(stage.saga(stage.act("x", "gate:go"), saga_id="first"))
        stage.log.open_gate("back")  # the next one gets the process in the pause before the second undo
        until(lambda: stage.log.find("first", "begin"), "the one that has the process")
        found = seen(orchestrator, "back")
        assert "in the first step process that is free" in (found.waiting or "")
        for number in range(4):
            orchestrator.start(stage.saga(stage.act("x"), saga_id=f"later-{number}"))
        reason = until(lambda: seen(orchestrator, "later-3").waiting, "the reason")
        assert reason == "a step process to execute x in"
        until(lambda: datetime.now(UTC) - found.updated_at > timedelta(seconds=PAUSE_S), "the undo to be due")
        stage.log.open_gate("go")
        orchestrator.wait_idle(20.0)
    order = [each.saga for each in stage.log.read() if each.what in ("undo", "begin")]
    assert order.index("back", order.index("first")) < order.index("later-0"), order


def test_a_slow_class_loses_nothing(tmp_path: Path) -> None:
    """One process, wanted by imports, retries, hangs and fresh processes."""
    stage = Stage(tmp_path)
    with SagaOrchestrator(tmp_path / "home", settings=ONE_PROCESS) as orchestrator:
        sagas = [
            stage.saga(stage.act("slow", "pause:0.3"), stage.act("fresh", isolation="fresh"), stage.act("z")),
            stage.saga(stage.act("hung", "hang", timeout_s=0.3, kill_grace_s=0.1)),
            stage.saga(stage.verified("dies", "kill", verdict="applied"), stage.act("z", isolation="fresh")),
            stage.saga(stage.act("again", "retryable:0.05", "ok"), stage.async_act("z")),
        ]
        for saga in sagas:
            orchestrator.start(saga)
        orchestrator.wait_idle(40.0)
        statuses = [seen(orchestrator, saga.id).status for saga in sagas]
        most = {record.role: 0 for record in orchestrator.processes()}
    assert statuses == [SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.COMPLETED, SagaStatus.COMPLETED]
    assert "step" not in most


def test_never_more_step_processes_than_allowed(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.2, max_step_processes=3)) as orchestrator:
        sagas = [
            stage.saga(stage.act("x", "pause:0.02", isolation="fresh"), stage.act("y", "pause:0.02")) for _ in range(12)
        ]
        for saga in sagas:
            orchestrator.start(saga)
        seen_at_once = 0
        running = True
        while running:
            running = orchestrator.running_count() > 0
            workers = [each for each in orchestrator.processes() if each.role in ("step", "idle")]
            seen_at_once = max(seen_at_once, len(workers))
    assert 0 < seen_at_once <= 3
    intervals = sorted((each.at, each.what == "begin") for each in stage.log.read())
    level = most = 0
    for _, begins in intervals:
        level += 1 if begins else -1
        most = max(most, level)
    assert most <= 3


@pytest.mark.timeout(180)  # two hundred sagas on a machine that has other work
def test_two_hundred_at_once_of_which_three_in_ten_fail(tmp_path: Path, run_seed: int) -> None:
    draw = random.Random(run_seed)
    stage = Stage(tmp_path)
    ways = ("raise", "exit-after:3", "hang", "doubt")
    sagas = []
    for number in range(200):
        part = draw.choice(ways) if draw.random() < 0.3 else "ok"
        bad = draw.randrange(3) if part != "ok" else None
        short: dict[str, Any] = {"timeout_s": 0.5, "kill_grace_s": 0.2} if part == "hang" else {}
        steps = [stage.act(f"{n}", part, **short) if n == bad else stage.act(f"{n}") for n in range(3)]
        sagas.append(stage.saga(*steps, saga_id=f"s{number}"))
    failing = sum(any(step.forward != ("ok",) for step in saga.steps) for saga in sagas)  # type: ignore[attr-defined]
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as orchestrator:
        began = time.monotonic()
        for saga in sagas:
            orchestrator.start(saga)
        orchestrator.wait_idle(150.0)
        took_s = time.monotonic() - began
        tally = Tally()
        for saga in sagas:
            check(saga, seen(orchestrator, saga.id).status, stage.log.read(saga.id), tally)
        counts = (orchestrator.running_count(), orchestrator.history_count())
        listed = Counter(saga.status for saga in orchestrator.get_history())
        left = {each.role for each in orchestrator.processes()}
        until(lambda: len(with_attempt_files(orchestrator.home)) <= 8, "no more attempt files than processes")
    sys.stdout.write(f"seed {run_seed}: {failing} of 200 fail, {took_s:.1f} s: {tally}\n")
    assert not tally.faults, "\n".join(tally.faults)
    assert (tally.completed, tally.compensated) == (200 - failing, failing)
    assert counts == (0, 200)
    assert listed == {SagaStatus.COMPLETED: 200 - failing, SagaStatus.COMPENSATED: failing}
    assert left == {"launcher", "admin", "logger", "supervisor", "registry", "saga", "idle"}
    assert processes_of_home(tmp_path / "home") == []


def test_fresh_processes_leave_no_files_behind(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.2)) as orchestrator:
        steps = [stage.act(f"x{number}", isolation="fresh") for number in range(6)]
        orchestrator.execute(stage.saga(*steps, stage.act("z")))

        def only_those_of_living_processes() -> bool:
            living = [each for each in orchestrator.processes() if each.role in ("step", "idle")]
            return len(with_attempt_files(orchestrator.home)) <= len(living) < len(steps)

        until(only_those_of_living_processes, "the attempt files of dead processes to be removed")
        wait_for_status(orchestrator, orchestrator.get_history()[0].id, SagaStatus.COMPLETED)
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.2)) as orchestrator:
        assert not with_attempt_files(orchestrator.home), "and nothing of an earlier life"


def test_a_fresh_attempt_gets_a_process_that_was_started_before_it_was_asked_for(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as system:
        first = stage.saga(stage.act("x", isolation="fresh"))
        system.execute(first)
        taken = {each.pid for each in stage.log.find(first.id, "begin")}

        def unused() -> set[int]:
            return {each.pid for each in system.processes() if each.role == "idle"} - taken

        spares = until(lambda: found if len(found := unused()) == 2 else None, "two processes that nobody has used")
        second = stage.saga(stage.act("x", isolation="fresh"))
        system.execute(second)
        assert {each.pid for each in stage.log.find(second.id, "begin")} < spares
