"""SIGTERM ends the supervisor at once, whatever runs below it, and a supervisor that lives but is deaf is ended."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe import RetryPolicy, SagaOrchestrator, SagaStatus, Settings
from antistrophe.launcher.incarnation import ASK_S, QUESTIONS
from antistrophe.linux.process import identity_of, is_alive
from tests.actors.attaching import answers, attachments
from tests.actors.staging import Stage, outcome, pid_of, running, wait_for_status
from tests.actors.steps_act import Played
from tests.killing import signal_to
from tests.waiting import until

AGAIN_S = 25.0
"""How long a new life may take on a busy machine; a supervisor that waits for its children waits for ever."""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[SagaOrchestrator]:
    home = tmp_path / "home"
    yield from running(home, Settings(drain_s=0.3))


def terminate(system: SagaOrchestrator, role: str) -> None:
    """SIGTERM to the process of that role, and see it dead."""
    pid = pid_of(system, role)
    before = identity_of(pid)
    assert before is not None
    signal_to(pid, signal.SIGTERM)
    until(lambda: not is_alive(before), f"the end of the {role}", AGAIN_S)


@pytest.mark.parametrize("part", ["stubborn", "spin:deque", "hang"])
def test_sigterm_ends_a_supervisor_whose_step_hangs(system: SagaOrchestrator, stage: Stage, part: str) -> None:
    once = RetryPolicy(max_attempts=1)
    saga = stage.saga(stage.act("x", part, timeout_s=300.0, kill_grace_s=300.0, retry=once))
    system.start(saga)
    until(lambda: stage.log.find(saga.id, "begin", "x"), "the step")
    terminate(system, "supervisor")
    assert outcome(system, stage.saga(stage.act("other")), AGAIN_S) == [Played("other", 1)]
    wait_for_status(system, saga.id, SagaStatus.COMPENSATED)


@pytest.mark.parametrize("role", ["supervisor", "registry", "saga"])
def test_sigterm_ends_an_actor_without_a_step(system: SagaOrchestrator, stage: Stage, role: str) -> None:
    assert outcome(system, stage.saga(stage.act("first"))) == [Played("first", 1)]
    terminate(system, role)
    assert outcome(system, stage.saga(stage.act("second")), AGAIN_S) == [Played("second", 1)]


def test_sigterm_ends_a_supervisor_whose_children_are_being_born(system: SagaOrchestrator, stage: Stage) -> None:
    sagas = [stage.saga(stage.act("x", isolation="fresh", idempotent=True)) for _ in range(12)]
    for saga in sagas:
        system.start(saga)
    terminate(system, "supervisor")
    for saga in sagas:
        assert system.handle(saga.id).result(30.0) is not None


@pytest.mark.parametrize("role", ["supervisor", "registry", "saga"])
def test_no_handler_of_an_actor_is_between_sigterm_and_its_end(system: SagaOrchestrator, role: str) -> None:
    status = Path(f"/proc/{pid_of(system, role)}/status")

    def ends() -> bool:
        caught = int(status.read_text().partition("SigCgt:")[2].split()[0], 16)
        return not caught & (1 << (signal.SIGTERM - 1) | 1 << (signal.SIGQUIT - 1))

    until(ends, "the actor that has just been forked", AGAIN_S)


@pytest.mark.timeout(120)  # the limit is 20 s
def test_a_supervisor_that_lives_but_does_not_answer_is_ended(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with attachments(home) as attach:
        attachment, before = attach()
        signal_to(before.supervisor_pid, signal.SIGSTOP)
        until(lambda: not attachment.is_current(before), "the end of the one that is deaf", 3 * QUESTIONS * ASK_S)
        after = attachment.wait_ready(20.0)
        assert after.launcher_pid == before.launcher_pid
        assert answers(after)
        log = (home / "log" / "launcher.log").read_text()
        assert f"has not answered for {QUESTIONS * ASK_S:g} s" in log
