"""Another process holds the journal's write lock: attempts end in time, callers hear of it, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from antistrophe import JournalBusyError, SagaDefinition, SagaOrchestrator, SagaStatus, Settings, StepTimeoutError
from antistrophe.client.pending_request import JOURNAL_PATIENCE_S
from antistrophe.journal import journal_path
from tests.actors.staging import Stage, pid_of, seen
from tests.killing import signal_to
from tests.waiting import until

A_BUSY_MACHINE_S = 20.0
"""What a bound is given beyond what it says."""

ENOUGH_TO_LOCK_S = 5.0
"""The time limit of a step that is to run into it while the journal is locked: until then the lock has to be held."""

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(home: Path) -> Iterator[int]:
    """Another process has a write transaction open on the journal; its pid."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(journal_path(home))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield holder.pid
        holder.kill()


@pytest.fixture
def orchestrator(tmp_path: Path) -> Iterator[SagaOrchestrator]:
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5, max_step_processes=6)) as opened:
        yield opened


def test_a_hung_attempt_ends_in_time_and_counts_as_timed_out(orchestrator: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.act("a", "hang", timeout_s=ENOUGH_TO_LOCK_S, kill_grace_s=0.2), saga_id="hung")
    handle = orchestrator.start(saga)
    pid = pid_of(orchestrator, "step", "hung")
    until(lambda: stage.log.find("hung", "beat", "a"), "the step to be at it")
    with locked(orchestrator.home) as holder:
        until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the attempt")
        assert seen(orchestrator, "hung").status is SagaStatus.EXECUTING, "what it means can't be journaled yet"
        log = orchestrator.home / "log" / "system.log"
        until(lambda: f"process {holder} (" in read(log), "the word of who is in the way")
    with pytest.raises(StepTimeoutError):
        handle.result(timeout_s=30.0)
    kinds = [entry.kind for entry in orchestrator.get_timeline("hung")]
    assert kinds.count("AttemptExpired") == 1


def test_a_saga_is_refused_in_time_and_does_not_run_later(orchestrator: SagaOrchestrator, stage: Stage) -> None:
    orchestrator.execute(stage.saga(stage.act("a"), saga_id="before"))
    with locked(orchestrator.home) as holder:
        began = time.monotonic()
        with pytest.raises(JournalBusyError, match=f"process {holder} "):
            orchestrator.start(stage.saga(stage.act("a"), saga_id="refused"))
        assert time.monotonic() - began < JOURNAL_PATIENCE_S + A_BUSY_MACHINE_S
        assert seen(orchestrator, "before").status is SagaStatus.COMPLETED, "reading goes on"
    orchestrator.execute(stage.saga(stage.act("a"), saga_id="after"))
    assert orchestrator.get_saga("refused") is None
    assert stage.log.read("refused") == []


CALLS: dict[str, Callable[[SagaOrchestrator, SagaDefinition], object]] = {
    "start": lambda orchestrator, saga: orchestrator.start(saga).result(30.0),
    "execute": lambda orchestrator, saga: orchestrator.execute(saga),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_lock_that_is_given_up_soon_only_delays(orchestrator: SagaOrchestrator, stage: Stage, call: str) -> None:
    orchestrator.execute(stage.saga(stage.act("a"), saga_id="before"))
    log = orchestrator.home / "log" / "system.log"
    results: list[object] = []
    saga = stage.saga(stage.act("a"), saga_id="late")
    thread = threading.Thread(target=lambda: results.append(CALLS[call](orchestrator, saga)))
    with locked(orchestrator.home):
        thread.start()
        until(lambda: "the journal takes no entries" in read(log), "a refusal")
    thread.join(30.0)
    assert len(results) == 1
    assert stage.log.story("late") == ["begin a", "done a"]
    until(lambda: "the journal takes entries again" in read(log), "the word of the end")


def test_a_cancel_is_refused_or_carried_out(orchestrator: SagaOrchestrator, stage: Stage) -> None:
    handle = orchestrator.start(stage.saga(stage.act("a", "gate:go"), saga_id="held"))
    until(lambda: stage.log.find("held", "begin", "a"), "the step to be at it")
    with locked(orchestrator.home), pytest.raises(JournalBusyError):
        handle.cancel("too late")
    stage.log.open_gate("go")
    handle.result(30.0)
    assert stage.log.story("held") == ["begin a", "done a"], "who was refused can rely on it"


def test_a_host_that_dies_meanwhile_still_knows_a_timeout(orchestrator: SagaOrchestrator, stage: Stage) -> None:
    saga = stage.saga(stage.act("a", "hang", timeout_s=ENOUGH_TO_LOCK_S, kill_grace_s=0.2), saga_id="hung")
    handle = orchestrator.start(saga)
    pid = pid_of(orchestrator, "step", "hung")
    until(lambda: stage.log.find("hung", "beat", "a"), "the step to be at it")
    with locked(orchestrator.home):
        until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the attempt")
        host = pid_of(orchestrator, "saga")
        signal_to(host, signal.SIGKILL)
        until(lambda: pid_of(orchestrator, "saga") != host, "another host")
    with pytest.raises(StepTimeoutError):
        handle.result(timeout_s=30.0)


def test_many_sagas_wait_with_one_line_of_the_log(orchestrator: SagaOrchestrator, stage: Stage) -> None:
    sagas = [stage.saga(stage.act("a", "gate:go"), stage.act("b"), saga_id=f"many-{n}") for n in range(4)]
    for saga in sagas:
        orchestrator.start(saga)
    until(lambda: all(stage.log.find(saga.id, "begin", "a") for saga in sagas), "all to be at it")
    log = orchestrator.home / "log" / "system.log"
    with locked(orchestrator.home):
        stage.log.open_gate("go")
        until(lambda: all(stage.log.find(saga.id, "done", "a") for saga in sagas), "the first steps to be done")
        host = pid_of(orchestrator, "saga")
        before, began = cpu_s(host), time.monotonic()
        until(lambda: time.monotonic() - began > 2.0, "some tries of the journal")
        assert cpu_s(host) - before < 0.5 * (time.monotonic() - began), "it is tried at a bounded pace"
        assert not stage.log.find(sagas[0].id, "begin", "b")
    for saga in sagas:
        assert len(orchestrator.handle(saga.id).result(30.0)) == 2
    assert log.read_text().count("the journal takes no entries") == 1


def cpu_s(pid: int) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read(log: Path) -> str:
    """What the log says; nothing where no process has logged yet."""
    return log.read_text() if log.exists() else ""
