"""Processes of the system that have no descriptor left for a while: they go on, prove no death falsely, and recover."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, SagaStatus, Settings, StepTimeoutError
from antistrophe.linux.descendants import end_step_descendants
from antistrophe.linux.process import children_of, identity_of, is_alive, open_pidfd
from antistrophe.linux.termination import live_group_members, processes_of_home, sweep
from tests.actors.steps import Noted, WaitFor, notes, one
from tests.waiting import until

ANOTHER = """
import sys
from antistrophe import SagaOrchestrator
with SagaOrchestrator(sys.argv[1]) as orchestrator:
    orchestrator.running_count()
"""


@contextlib.contextmanager
def no_descriptor_left(pid: int) -> Iterator[None]:
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # None above the standard streams can be had, not even one that is closed meanwhile.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(3, before[1]), before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def pid_of(orchestrator: SagaOrchestrator, role: str) -> int:
    return next(each.pid for each in orchestrator.processes() if each.role == role)


@pytest.fixture
def orchestrator(tmp_path: Path) -> Iterator[SagaOrchestrator]:
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as opened:
        opened.execute(notes("before", "a"))
        yield opened
    assert processes_of_home(tmp_path / "home") == []


@pytest.mark.parametrize("role", ["supervisor", "registry", "saga"])
def test_a_process_without_descriptors_lives_and_goes_on_when_there_are_some(
    orchestrator: SagaOrchestrator, role: str, tmp_path: Path
) -> None:
    pid, results = pid_of(orchestrator, role), list[object]()

    def call(number: int) -> None:
        results.append(orchestrator.execute(notes(f"{number}", f"{number}"), timeout_s=50.0))

    calls = [threading.Thread(target=call, args=(number,)) for number in range(20)]
    with no_descriptor_left(pid):
        began = time.monotonic()
        for each in calls:
            each.start()
        another = subprocess.Popen([sys.executable, "-c", ANOTHER, str(orchestrator.home)])
        until(lambda: time.monotonic() > began + 1.5, "six looks of the supervisor at its processes")
    for each in calls:
        each.join(50.0)
    assert sorted(map(repr, results)) == sorted(repr([Noted(f"{number}")]) for number in range(20))
    assert another.wait(50.0) == 0
    assert pid_of(orchestrator, role) == pid


def test_an_attempt_past_its_limit_is_ended_although_the_supervisor_can_look_at_nothing(
    orchestrator: SagaOrchestrator, tmp_path: Path
) -> None:
    errors: list[Exception] = []

    def call() -> None:
        try:
            orchestrator.execute(one("hangs", Hang(str(tmp_path / "no-gate"))), timeout_s=50.0)
        except Exception as error:
            errors.append(error)

    supervisor = pid_of(orchestrator, "supervisor")
    caller = threading.Thread(target=call)
    with no_descriptor_left(supervisor):
        caller.start()
        step = until(lambda: pid_of_step(orchestrator, "hangs"), "the step runs")
        until(lambda: not Path(f"/proc/{step}").exists(), "its process is ended")
        saga = orchestrator.get_saga("hangs")
        assert saga is not None
        assert saga.status is SagaStatus.EXECUTING, "nobody can prove that all of it is dead"
    caller.join(50.0)
    assert [type(error) for error in errors] == [StepTimeoutError]
    assert pid_of(orchestrator, "supervisor") == supervisor


def pid_of_step(orchestrator: SagaOrchestrator, saga_id: str) -> int | None:
    found = orchestrator.get_saga(saga_id)
    return None if found is None else found.steps[0].pid


@dataclass(frozen=True)
class Hang(WaitFor):
    """Has half a second."""

    timeout_s = 0.5
    idempotent = False
    requires_compensation = False


def test_a_crowd_of_connections_takes_no_descriptor_that_the_supervisor_needs(
    orchestrator: SagaOrchestrator, tmp_path: Path
) -> None:
    supervisor = pid_of(orchestrator, "supervisor")
    path = orchestrator._session.attachment.wait_ready(1.0).supervisor
    before = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (200, before[1]))
    crowd = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(400)]
    try:
        for each in crowd:
            each.connect(path)
        until(lambda: len(os.listdir(f"/proc/{supervisor}/fd")) > 150, "they are let in")
        assert orchestrator.execute(notes("crowd", "a"), timeout_s=30.0) == [Noted("a")]
        assert len(os.listdir(f"/proc/{supervisor}/fd")) < 195
        another = subprocess.Popen([sys.executable, "-c", ANOTHER, str(orchestrator.home)])
    finally:
        for each in crowd:
            each.close()
    assert another.wait(30.0) == 0
    assert pid_of(orchestrator, "supervisor") == supervisor
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, before)


def test_a_process_that_cannot_be_looked_at_is_not_dead(tmp_path: Path) -> None:
    me = identity_of(os.getpid())
    assert me is not None
    group = os.getpgid(0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    looks: list[Callable[[], object]] = [
        lambda: is_alive(me),
        lambda: identity_of(me.pid),
        lambda: children_of(me.pid),
        lambda: live_group_members(group),
        lambda: open_pidfd(me),
        lambda: end_step_descendants("none"),
        lambda: processes_of_home(tmp_path),
        lambda: sweep(tmp_path, deadline_s=0.0),
    ]
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        answers = [answer_of(look) for look in looks]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert answers == [errno.EMFILE] * len(looks)


def answer_of(look: Callable[[], object]) -> object:
    try:
        return look()
    except OSError as error:
        return error.errno
