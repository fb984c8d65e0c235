"""What belongs to a home goes along when the home is moved, and what is of another home is left alone."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from antistrophe import SagaDefinition, SagaOrchestrator, SagaStatus, Settings
from antistrophe.linux.process import identity_of, is_alive, send_signal
from antistrophe.linux.termination import processes_of_home
from tests.actors.staging import Stage, outcome, seen
from tests.actors.steps_rude import SYSTEM_WITHIN, NameAHome, RunSystem
from tests.killing import kill
from tests.waiting import until

SETTINGS = Settings(drain_s=0.3)


def rename(home: Path) -> Path:
    return home.rename(home.with_name("moved"))


def restore_elsewhere(home: Path) -> Path:
    """The home is gone, and is restored from a backup."""
    restored = copied(home, "restored")
    shutil.rmtree(home)
    return restored


def copy(home: Path) -> Path:
    return copied(home, "copy")


def copied(home: Path, name: str) -> Path:
    """Without the sockets, which can't be copied: they are in the home where its path is short enough."""
    return Path(shutil.copytree(home, home.with_name(name), ignore=sockets))


def sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_socket()]


def restore_the_journal(home: Path) -> Path:
    """Only the journal was backed up."""
    place = home.with_name("from-backup")
    place.mkdir(0o700)
    with sqlite3.connect(home / "journal.db") as source, sqlite3.connect(place / "journal.db") as target:
        source.backup(target)
    source.close()
    target.close()
    return place


def last_beat(folder: Path) -> float:
    return float((folder / "beats-1").read_text().splitlines()[-1])


def undo_began(folder: Path) -> float:
    return float((folder / "undo").read_text())


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("move", [rename, restore_elsewhere, copy, restore_the_journal])
def test_what_the_old_life_has_left_is_dead_before_the_undo(tmp_path: Path, move: Callable[[Path], Path]) -> None:
    home = tmp_path / "home"
    with subprocess.Popen([sys.executable, "-c", SYSTEM_WITHIN, str(home), str(tmp_path)]) as application:
        try:
            until((tmp_path / "pid").exists, "the step")
            application.send_signal(signal.SIGSTOP)  # it shall not start the system again
            daemon = identity_of(int((tmp_path / "daemon").read_text()))
            assert daemon is not None
            killed = [pid for pid in processes_of_home(home) if pid != daemon.pid]
            for number in (signal.SIGSTOP, signal.SIGKILL):  # none of them shall end what others have left
                for pid in killed:
                    kill(pid, number)
            until(lambda: not any(map(identity_of, killed)), "their end")
        finally:
            application.kill()
    assert is_alive(daemon), "the daemon has survived them"
    try:
        place = move(home)
        with SagaOrchestrator(place, settings=SETTINGS) as moved:
            until(lambda: seen(moved, "within").status is SagaStatus.COMPENSATED, "the undo")
            assert processes_of_home(place)
        assert last_beat(tmp_path) < undo_began(tmp_path)
    finally:
        send_signal(daemon, signal.SIGKILL)  # it carries no mark of the run, by which it would be ended
    assert processes_of_home(place) == []


def test_a_copy_of_a_home_in_use_kills_nothing_of_the_original(tmp_path: Path, stage: Stage) -> None:
    home = tmp_path / "home"
    with SagaOrchestrator(home, settings=SETTINGS) as original:
        saga = stage.saga(stage.act("x", "gate:go"), saga_id="in-use")
        handle = original.start(saga)
        until(lambda: stage.log.find("in-use", "begin"), "the attempt")
        before = {each.pid for each in original.processes()}
        shutil.copytree(home, tmp_path / "copy", ignore=lambda *_: ["lock", "s", "sockets"])
        with SagaOrchestrator(tmp_path / "copy", settings=SETTINGS) as other:
            assert seen(other, "in-use").status is SagaStatus.EXECUTING
            assert len(other.execute(stage.saga(stage.act("y"), saga_id="of the copy"))) == 1
            assert {each.pid for each in original.processes()} >= before
            assert set(processes_of_home(home)) >= before
            assert not before & set(processes_of_home(tmp_path / "copy"))
        stage.log.open_gate("go")
        handle.result(20.0)
    assert [each.pid for each in stage.log.find("in-use", "begin")] != []
    assert len(stage.log.find("in-use", "begin")) == 1


@pytest.mark.usefixtures("machine")
def test_a_system_that_a_step_runs_ends_with_the_step(tmp_path: Path) -> None:
    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as system:
        handle = system.start(SagaDefinition("outer").add_step(RunSystem(str(tmp_path))))
        until((tmp_path / "pid").exists, "the step of the system within")
        handle.cancel("enough")
        until(lambda: seen(system, "outer").status is SagaStatus.COMPENSATED, "the undo")
    assert processes_of_home(tmp_path / "within") == []
    assert last_beat(tmp_path) < undo_began(tmp_path)


def test_a_process_that_only_names_a_home_is_not_swept_with_it(tmp_path: Path) -> None:
    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as system:
        handle = system.start(SagaDefinition("names").add_step(NameAHome(str(tmp_path), str(tmp_path / "other"))))
        until((tmp_path / "child").exists, "the child")
        with SagaOrchestrator(tmp_path / "other", settings=SETTINGS) as other:
            assert other.running_count() == 0
        (tmp_path / "go").touch()
        assert handle.result(20.0) == []
        assert outcome(system, SagaDefinition("after")) == []
