"""An attempt never ran only where its own attempt file says so: whatever else is found, or not found, is doubt."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, SagaStatus, Settings
from antistrophe.actors.saga.execution import _began
from antistrophe.actors.step.attempt_file import (
    AttemptFile,
    AttemptId,
    AttemptRecord,
    attempt_path,
    lay_down_attempt_file,
    read_attempt_file,
)
from antistrophe.saga.entries import Action, AttemptStarted, Lease
from antistrophe.saga.inputs import Returned
from tests.actors.staging import Stage, pid_of, seen, wait_for_status
from tests.killing import kill_all, signal_to
from tests.waiting import until

FIRST = AttemptId("saga", 0, Action.EXECUTE, 1)
SECOND = AttemptId("saga", 0, Action.EXECUTE, 2)
NEVER = AttemptRecord(never_began=True)
UNKNOWN = AttemptRecord()


# --- the file -----------------------------------------------------------------------------------------------------


def test_only_the_file_that_was_laid_down_says_that_a_call_never_began(tmp_path: Path) -> None:
    identity = lay_down_attempt_file(tmp_path, "p")
    assert read_attempt_file(tmp_path, "p", FIRST, identity) == NEVER
    assert read_attempt_file(tmp_path, "p", FIRST) == UNKNOWN, "an intent that names no file"
    file = AttemptFile(tmp_path, "p")
    assert file.identity == identity
    file.begin(FIRST, 1.5)
    assert read_attempt_file(tmp_path, "p", FIRST, identity) == AttemptRecord(1.5)
    assert read_attempt_file(tmp_path, "p", SECOND, identity) == replace(NEVER, other_at=1.5)
    file.finish(FIRST, Returned())
    file.close()
    assert read_attempt_file(tmp_path, "p", FIRST, identity) == AttemptRecord(1.5, Returned())
    assert read_attempt_file(tmp_path, "p", SECOND, identity) == replace(NEVER, other_at=1.5)


@pytest.mark.parametrize(("other_at", "began"), [(1.5, False), (2.5, None)])
def test_a_later_call_of_its_process_shows_that_the_journal_was_put_back_and_not_that_it_never_began(
    tmp_path: Path, other_at: float, began: bool | None
) -> None:
    identity = lay_down_attempt_file(tmp_path, "p")
    with closing(AttemptFile(tmp_path, "p")) as file:
        file.begin(SECOND, other_at)
    lease = Lease("p", 1, 1, "boot", attempt_file=identity)
    current = AttemptStarted(2.0, 0, Action.EXECUTE, 1, 30.0, 32.0, lease)
    assert _began(read_attempt_file(tmp_path, "p", FIRST, identity), current) is began


def _missing(path: Path) -> None:
    path.unlink()


def _folder_missing(path: Path) -> None:
    shutil.rmtree(path.parent)


def _copied(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.replace(path)


def _made_anew(path: Path) -> None:
    path.unlink()
    lay_down_attempt_file(path.parent.parent, path.name)


def _emptied(path: Path) -> None:
    os.truncate(path, 0)


def _torn(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"asm1\x00")


def _a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


SPOILERS = [_missing, _folder_missing, _copied, _made_anew, _emptied, _torn, _a_link, _a_folder]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__.strip("_"))
def test_any_other_file_says_nothing(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    identity = lay_down_attempt_file(tmp_path, "p")
    spoil(attempt_path(tmp_path, "p"))
    assert read_attempt_file(tmp_path, "p", FIRST, identity) == UNKNOWN


def test_a_home_that_was_renamed_keeps_its_attempt_files(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    identity = lay_down_attempt_file(tmp_path / "home", "p")
    (tmp_path / "home").rename(tmp_path / "other")
    assert read_attempt_file(tmp_path / "other", "p", FIRST, identity) == NEVER


def test_without_descriptors_nothing_is_known(tmp_path: Path) -> None:
    identity = lay_down_attempt_file(tmp_path, "p")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        found = read_attempt_file(tmp_path, "p", FIRST, identity)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == UNKNOWN


# --- the system ---------------------------------------------------------------------------------------------------


def begun(orchestrator: SagaOrchestrator, stage: Stage, *, shared: bool = False) -> str:
    """A saga whose one step, which has one attempt and is not idempotent, has begun and hangs."""
    act = stage.async_act if shared else stage.act
    saga = stage.saga(act("pay", "hang"), saga_id="paid-once")
    orchestrator.start(saga)
    until(lambda: stage.log.find(saga.id, "begin"), "the start of the step")
    return saga.id


def is_undone_and_not_repeated(orchestrator: SagaOrchestrator, stage: Stage, saga_id: str) -> None:
    orchestrator.wait_idle(60.0)
    assert seen(orchestrator, saga_id).status is SagaStatus.COMPENSATED
    assert len(stage.log.find(saga_id, "begin")) == 1, "paid twice"
    assert len(stage.log.find(saga_id, "undo")) == 1, "paid, and not undone"


def test_a_journal_that_was_copied_to_another_folder_knows_of_no_attempt_files(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    home, restored = tmp_path / "home", tmp_path / "restored"
    with SagaOrchestrator(home, settings=Settings(reattach_s=0.0)) as orchestrator:
        saga_id = begun(orchestrator, stage)
        # Stopped first, so that the launcher starts nothing anew meanwhile. Some die with their parents then.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            kill_all(home, number)
        restored.mkdir(mode=0o700)
        with (
            closing(sqlite3.connect(home / "journal.db")) as source,
            closing(sqlite3.connect(restored / "journal.db")) as copy,
        ):
            source.backup(copy)
    with SagaOrchestrator(restored) as orchestrator:
        is_undone_and_not_repeated(orchestrator, stage, saga_id)


@pytest.mark.parametrize("shared", [False, True], ids=["own process", "shared process"])
@pytest.mark.parametrize("what", ["folder", "files"])
def test_attempt_files_are_removed_while_the_system_runs(tmp_path: Path, what: str, shared: bool) -> None:
    stage = Stage(tmp_path)
    with SagaOrchestrator(tmp_path / "home") as orchestrator:
        saga_id = begun(orchestrator, stage, shared=shared)
        attempts = orchestrator.home / "attempts"
        if what == "folder":
            shutil.rmtree(attempts)
        else:
            for file in attempts.iterdir():
                file.unlink()
        signal_to(pid_of(orchestrator, "step", saga_id), signal.SIGKILL)
        is_undone_and_not_repeated(orchestrator, stage, saga_id)


def test_the_saga_host_has_no_descriptors_when_it_looks(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with SagaOrchestrator(tmp_path / "home") as orchestrator:
        saga_id = begun(orchestrator, stage)
        host = pid_of(orchestrator, "saga")
        limits = resource.prlimit(host, resource.RLIMIT_NOFILE)
        step = pid_of(orchestrator, "step", saga_id)
        resource.prlimit(host, resource.RLIMIT_NOFILE, (3, limits[1]))
        signal_to(step, signal.SIGKILL)
        wait_for_status(orchestrator, saga_id, SagaStatus.COMPENSATING)
        resource.prlimit(host, resource.RLIMIT_NOFILE, limits)
        is_undone_and_not_repeated(orchestrator, stage, saga_id)
