"""A system that drains and is wanted again goes on, with everything that runs in it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, SagaStatus, Settings
from antistrophe.launcher.control_protocol import Ready, Stopping
from antistrophe.launcher.probe import probe
from antistrophe.linux.termination import processes_of_home
from tests.actors.staging import Stage, pid_of, seen
from tests.actors.steps_act import Played
from tests.killing import signal_to
from tests.waiting import until

LONG = Settings(drain_s=600.0)
"""A drain that no test would wait for."""


class Leaving:
    """Closes an orchestrator in a thread, because the last one to leave waits for the end of the drain."""

    def __init__(self, orchestrator: SagaOrchestrator) -> None:
        self._thread = threading.Thread(target=orchestrator.close)
        self._thread.start()
        until(lambda: isinstance(probe(orchestrator.home), Stopping), "the drain")

    def has_left(self) -> None:
        self._thread.join(30.0)
        assert not self._thread.is_alive(), "who leaves does not wait for a system that goes on"


@pytest.fixture
def first(home: Path) -> Iterator[SagaOrchestrator]:
    orchestrator = SagaOrchestrator(home, settings=LONG)
    yield orchestrator
    orchestrator.close()
    assert processes_of_home(home) == []


@pytest.mark.parametrize("kind", ["act", "async_act"])
def test_its_attempts_go_on(home: Path, first: SagaOrchestrator, stage: Stage, kind: str) -> None:
    saga = stage.saga(getattr(stage, kind)("x", "gate:on"), stage.act("y"))
    first.start(saga)
    began = until(lambda: stage.log.find(saga.id, "begin"), "the attempt")[0]
    launcher, supervisor = pid_of(first, "launcher"), pid_of(first, "supervisor")
    leaving = Leaving(first)
    with SagaOrchestrator(home) as second:
        leaving.has_left()
        assert isinstance(probe(home), Ready)
        assert (pid_of(second, "launcher"), pid_of(second, "supervisor")) == (launcher, supervisor)
        handle = second.start(saga)
        stage.log.open_gate("on")
        assert handle.result(30.0) == [Played("x", 1), Played("y", 1)]
        assert [(each.pid, each.at) for each in stage.log.find(saga.id, "begin", "x")] == [(began.pid, began.at)]


def test_everything_that_the_drain_held_up_goes_on(home: Path, first: SagaOrchestrator, stage: Stage) -> None:
    """A saga between two steps, one that is new, one that was cancelled, one whose retry was due."""
    runs = stage.saga(stage.act("x", "gate:runs"))
    between = stage.saga(stage.act("x", "gate:between"), stage.act("y"))
    undone = stage.saga(stage.act("x"), stage.act("y", "gate:undone", kill_grace_s=0.1))
    fails = stage.saga(stage.act("x"), stage.act("y", "gate:fails", "raise"))
    retried = stage.saga(stage.act("x", "retryable:0.2", "ok"))
    for saga in (runs, between, undone, fails, retried):
        first.start(saga)
    for saga in (runs, between, undone, fails, retried):
        until(lambda saga=saga: stage.log.find(saga.id, "begin"), "the first step")  # type: ignore[misc]
    leaving = Leaving(first)
    stage.log.open_gate("between")
    until(lambda: stage.log.find(between.id, "done", "x"), "the first step to be done in the drain")
    with SagaOrchestrator(home) as second:
        leaving.has_left()
        new = second.start(stage.saga(stage.act("new")))
        assert second.cancel(undone.id)
        stage.log.open_gate("fails")
        assert new.result(30.0) == [Played("new", 1)]
        assert second.handle(between.id).result(30.0) == [Played("x", 1), Played("y", 1)]
        assert second.handle(retried.id).result(30.0) == [Played("x", 2)]
        for saga in (undone, fails):
            until(lambda saga=saga: seen(second, saga.id).status.final, f"the end of {saga.id}")  # type: ignore[misc]
        assert seen(second, runs.id).status is SagaStatus.EXECUTING
        stage.log.open_gate("runs")
        second.wait_idle(30.0)


def test_again_and_again(home: Path, first: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.act("x", "gate:again"))
    first.start(saga)
    until(lambda: stage.log.find(saga.id, "begin"), "the attempt")
    orchestrator = first
    for _ in range(5):
        leaving = Leaving(orchestrator)
        orchestrator = SagaOrchestrator(home)
        leaving.has_left()
    stage.log.open_gate("again")
    orchestrator.wait_idle(30.0)
    orchestrator.close()
    assert len(stage.log.find(saga.id, "begin")) == 1


def test_a_drain_may_be_longer_than_opening_may_take(home: Path, stage: Stage) -> None:
    first = SagaOrchestrator(home, settings=Settings(drain_s=600.0, open_timeout_s=30.0))
    saga = stage.saga(stage.act("x", "gate:longer"))
    first.start(saga)
    until(lambda: stage.log.find(saga.id, "begin"), "the attempt")
    leaving = Leaving(first)
    with SagaOrchestrator(home, settings=Settings(drain_s=600.0, open_timeout_s=30.0)) as second:
        leaving.has_left()
        stage.log.open_gate("longer")
        assert second.handle(saga.id).result(30.0) == [Played("x", 1)]


def test_a_stop_that_was_ordered_is_waited_for_however_long_it_takes(home: Path, stage: Stage) -> None:
    """SIGTERM to the launcher is a stop that nobody calls off."""
    first = SagaOrchestrator(home, settings=Settings(drain_s=600.0))
    saga = stage.saga(stage.act("x", "gate:ordered"))
    first.start(saga)
    until(lambda: stage.log.find(saga.id, "begin"), "the attempt")
    signal_to(pid_of(first, "launcher"), signal.SIGTERM)
    until(lambda: isinstance(probe(home), Stopping), "the stop")
    opened: list[SagaOrchestrator] = []
    opener = threading.Thread(
        target=lambda: opened.append(SagaOrchestrator(home, settings=Settings(drain_s=600.0, open_timeout_s=1.0)))
    )
    began = time.monotonic()
    opener.start()
    until(lambda: time.monotonic() - began > 1.5, "more than open_timeout_s")
    assert opener.is_alive(), "it waits"
    stage.log.open_gate("ordered")
    opener.join(60.0)
    with opened[0] as second:
        assert second.handle(saga.id).result(30.0) == [Played("x", 1)]
        first.close()


def test_of_many_that_come_and_go_none_loses_anything(home: Path, stage: Stage) -> None:
    """Whoever comes while the system stops finds one that works, however far the stop has come."""
    done: list[object] = []

    def come_and_go(number: int) -> None:
        for turn in range(4):
            with SagaOrchestrator(home, settings=Settings(drain_s=0.05)) as orchestrator:
                saga = stage.saga(stage.act("x"), saga_id=f"{number}-{turn}")
                done.append(orchestrator.execute(saga, timeout_s=60.0))

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [[Played("x", 1)]] * 16
    assert processes_of_home(home) == []
