"""A full disk stops what would need it, never the truth: nothing is lost, and all goes on when there is space."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe import JournalError, SagaOrchestrator, SagaStatus, Settings
from antistrophe.linux.process import identity_of, is_alive
from antistrophe.linux.termination import processes_of_home
from tests.actors.staging import Stage, pid_of, seen
from tests.chaos.disks import fill, limit_files
from tests.chaos.killing import kill, kill_all, settle, written_outcomes
from tests.chaos.rounds import LONG
from tests.chaos.sample_sagas import saga_of, sagas_of
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
