"""A full disk stops what would need it, never the truth: nothing is lost, and all goes on when there is space."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from antistrophe import JournalError, SagaOrchestrator, SagaStatus, Settings, StepTimeoutError
from antistrophe.linux.process import identity_of, is_alive
from antistrophe.linux.termination import processes_of_home
from tests.actors.staging import Stage, pid_of, seen
from tests.chaos.disks import fill, limit_files
from tests.chaos.killing import settle, written_outcomes
from tests.chaos.rounds import LONG
from tests.chaos.sample_sagas import saga_of, sagas_of
from tests.killing import kill, kill_all
from tests.waiting import until

SETTINGS = Settings(drain_s=0.5, max_step_processes=4)


def ended_without_limit(orchestrator: SagaOrchestrator) -> bool:
    """Lift the limit again and again: what is started anew meanwhile may have inherited it."""
    limit_files(processes_of_home(orchestrator.home), resource.RLIM_INFINITY)
    return orchestrator.running_count() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting takes more rights: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.timeout(120)  # sagas that were refused wait, and wait longer each time
def test_a_file_system_without_space(small_disk: Path, tmp_path: Path, run_seed: int) -> None:
    draw = random.Random(run_seed)
    stage = Stage(tmp_path)
    with SagaOrchestrator(small_disk / "home", settings=SETTINGS) as orchestrator:
        sagas = sagas_of(stage, 10, draw)
        held = stage.saga(stage.act("a"), stage.act("b", "gate:go"), stage.act("c"), saga_id="held")
        undone = stage.saga(stage.act("a", back=("gate:go",)), stage.act("b", "raise"), saga_id="undone")
        for saga in (held, undone, *sagas[:5]):
            orchestrator.start(saga)
        until(lambda: stage.log.find("held", "begin", "b") and stage.log.find("undone", "undo"), "both to be at it")
        junk = fill(small_disk)
        refused = sagas[5:]
        for saga in refused:
            with pytest.raises(JournalError, match="full"):
                orchestrator.start(saga)
        assert orchestrator.get_saga("held") is not None, "reading goes on"
        stage.log.open_gate("go")
        until(lambda: stage.log.find("held", "done", "b") and stage.log.find("undone", "undone"), "both to be done")
        assert seen(orchestrator, "held").status is SagaStatus.EXECUTING
        assert not stage.log.find("held", "begin", "c"), "no progress before the result is durable"
        junk.unlink()
        for saga in refused:
            orchestrator.start(saga)
        tally = settle(orchestrator, stage, [held, undone, *sagas])
        assert seen(orchestrator, "held").status is SagaStatus.COMPLETED
    sys.stdout.write(f"{tally}\n")
    assert processes_of_home(small_disk / "home") == []


@pytest.mark.timeout(120)  # sagas that were refused wait, and wait longer each time
@pytest.mark.parametrize("target", [None, "saga", "supervisor", "everything"] if LONG else [None, "supervisor"])
def test_writes_that_fail_in_every_process(target: str | None, tmp_path: Path) -> None:
    """Without rights to mount: no process of the system can write to a file; then one of them is killed as well."""
    stage = Stage(tmp_path)
    home = tmp_path / "home"
    with SagaOrchestrator(home, settings=SETTINGS) as orchestrator:
        held = stage.saga(stage.act("a"), stage.act("b", "gate:go"), stage.act("c"), saga_id="held")
        orchestrator.start(held)
        until(lambda: stage.log.find("held", "begin", "b"), "the step to be at it")
        step = pid_of(orchestrator, "step", "held")
        everyone = processes_of_home(home)
        host = identity_of(pid_of(orchestrator, "saga"))
        assert host is not None
        limit_files([pid for pid in everyone if pid != step], 0)
        with pytest.raises(JournalError):
            orchestrator.start(saga_of(stage, "completes", "refused"))
        stage.log.open_gate("go")
        until(lambda: written_outcomes(home, "held"), "the step to be done, and its outcome marked")
        assert seen(orchestrator, "held").status is SagaStatus.EXECUTING
        assert not stage.log.find("held", "begin", "c")
        if target == "everything":
            kill_all(home)
        elif target is not None:
            kill(pid_of(orchestrator, target))
        # The host dies in each case: should it be able to write once more before that, the next step would begin.
        until(lambda: target is None or not is_alive(host), "the death of the host")
        until(lambda: ended_without_limit(orchestrator), "the end of the saga", 60.0)
        tally = settle(orchestrator, stage, [held])
        assert tally.completed == 1
        assert [step.attempts for step in seen(orchestrator, "held").steps] == [1, 1, 1]
    assert stage.log.story("held") == ["begin a", "done a", "begin b", "done b", "begin c", "done c"]


@pytest.mark.timeout(120)  # a process of the system that starts meanwhile waits for the journal as well
def test_no_part_of_the_system_is_busy_with_a_full_disk(tmp_path: Path) -> None:
    """The files of the system may not grow; those of its logs are small enough to show what was written there."""
    stage = Stage(tmp_path)
    home = tmp_path / "home"
    with SagaOrchestrator(home, settings=replace(SETTINGS, max_step_processes=12)) as orchestrator:
        for number in range(20):  # the journal's log has to be larger than the limit
            orchestrator.execute(stage.saga(stage.act("a"), saga_id=f"before-{number}"))
        waiting = [stage.saga(stage.act("a", "gate:go"), stage.act("b")) for _ in range(3)]
        # They time out only once the disk is full, though six processes have to start before that.
        hung = [stage.saga(stage.act("a", "gate:never", timeout_s=6.0, kill_grace_s=0.2)) for _ in range(3)]
        for saga in (*waiting, *hung):
            orchestrator.start(saga)
        until(lambda: all(stage.log.find(saga.id, "begin", "a") for saga in (*waiting, *hung)), "all to be at it")
        attempts = [identity_of(pid_of(orchestrator, "step", saga.id)) for saga in hung]
        everyone = processes_of_home(home)
        limit_files(everyone, 48 << 10)
        before = {pid: cpu_s(pid) for pid in everyone}
        began = time.monotonic()
        while time.monotonic() < began + 4.0:
            with pytest.raises(JournalError):
                orchestrator.start(stage.saga(stage.act("a")))
            stage.log.open_gate("go")
        until(lambda: not any(each is not None and is_alive(each) for each in attempts), "the end of the hung")
        used = {pid: cpu_s(pid) - before[pid] for pid in everyone}
        passed_s = time.monotonic() - began
        assert max(used.values()) < 0.5 * passed_s, used
        lines = [line for log in (home / "log").iterdir() for line in text_of(log).splitlines()]
        own = [line for line in lines if not line.startswith(b"| ")]  # the others are what steps have printed
        assert len(own) < 20 + len(everyone), "one for each change, and not one for each try"
        limit_files(processes_of_home(home), resource.RLIM_INFINITY)
        orchestrator.wait_idle(60.0)
        assert {seen(orchestrator, saga.id).status for saga in waiting} == {SagaStatus.COMPLETED}
        for saga in hung:
            with pytest.raises(StepTimeoutError):
                orchestrator.handle(saga.id).result()
        assert text_of(home / "log" / "system.log").count(b"the journal takes no entries") == 1


def text_of(log: Path) -> bytes:
    return log.read_bytes() if log.is_file() else b""


def cpu_s(pid: int) -> float:
    """The processor time that a process has used; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
