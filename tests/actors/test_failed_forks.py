"""A machine that can't fork any more: nobody goes deaf, nothing leaks, and all goes on once it can again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, Settings
from tests.actors.planting import NO_FORKS, plant_in_children
from tests.actors.staging import Stage, pid_of, running
from tests.actors.steps_act import Played
from tests.killing import signal_to
from tests.waiting import until

SEVERAL = 4


@pytest.fixture
def system(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SagaOrchestrator]:
    plant_in_children(monkeypatch, "forks fail")
    yield from running(home, Settings(drain_s=0.3))


def failures(home: Path, what: str) -> int:
    """How many starts have failed, by the log."""
    log = home / "log" / "system.log"
    return log.read_text().count(what) if log.exists() else 0


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("kind", ["act", "async_act"])
def test_a_step_process_that_can_not_be_forked_is_tried_again_in_peace(
    system: SagaOrchestrator, home: Path, stage: Stage, kind: str
) -> None:
    supervisor = pid_of(system, "supervisor")
    open_before, cpu_before = descriptors(supervisor), cpu_s(supervisor)
    (home / NO_FORKS).touch()
    handle = system.start(stage.saga(getattr(stage, kind)("x")))
    until(lambda: failures(home, "another start is tried") >= SEVERAL, "some tries")
    assert system.processes(), "it answers"
    assert failures(home, "another start is tried") < 10 * SEVERAL, "it takes its time"
    assert cpu_s(supervisor) - cpu_before < 1.0
    assert descriptors(supervisor) <= open_before + 4, "failed forks leave nothing open (an application has come)"
    (home / NO_FORKS).unlink()
    assert handle.result(30.0) == [Played("x", 1)]


def test_a_saga_host_that_can_not_be_forked_is_tried_again(system: SagaOrchestrator, home: Path, stage: Stage) -> None:
    (home / NO_FORKS).touch()
    signal_to(pid_of(system, "saga"), 9)
    until(lambda: failures(home, "host of saga actors can't be started"), "a failed start")
    with ThreadPoolExecutor(1) as thread:
        ending = thread.submit(system.execute, stage.saga(stage.act("x")), timeout_s=25.0)
        until(lambda: failures(home, "host of saga actors can't be started") > 1, "another try")
        (home / NO_FORKS).unlink()
        assert ending.result() == [Played("x", 1)]


def test_a_registry_that_can_not_be_forked_is_tried_again(system: SagaOrchestrator, home: Path) -> None:
    (home / NO_FORKS).touch()
    signal_to(pid_of(system, "registry"), 9)
    until(lambda: failures(home, "the registry can't be started") > 1, "two failed starts")
    (home / NO_FORKS).unlink()
    assert system.list_sagas() is not None
