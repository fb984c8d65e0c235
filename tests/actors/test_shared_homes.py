"""A home that others than its owner could change is refused, and nothing behind a planted link is touched."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from antistrophe import JournalError, SagaOrchestrator
from antistrophe.actors.step.attempt_file import remove_all_attempt_files
from tests.acceptance.command import Caller


def refused(home: Path, words: str) -> None:
    with pytest.raises(JournalError, match=words), SagaOrchestrator(home):
        pass


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o1777])
def test_a_home_that_everybody_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(mode)
    refused(home, rf"home can be written to by everybody \(mode {mode:o}\); chmod go-w .*home")
    assert list(home.iterdir()) == []


def test_a_home_in_a_folder_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "home").mkdir(mode=0o700)
    refused(shared / "home", rf"the folder above it, {shared}, can be written to by everybody")


def test_a_home_that_is_opened_to_others_while_its_system_runs_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with SagaOrchestrator(home):
        home.chmod(0o777)
        refused(home, "chmod go-w")
        for verb in (["list"], ["status"], ["cancel", "x"]):
            done = Caller(home, tmp_path)(*verb)
            assert done.code == 2
            assert "chmod go-w" in done.complaint
        doctor = Caller(home, tmp_path)("doctor")
        assert "can be written to by everybody" in doctor.out
        home.chmod(0o700)


@pytest.mark.parametrize("name", ["attempts", "log"])
def test_a_link_in_place_of_a_folder_is_refused_and_what_is_behind_it_stays(tmp_path: Path, name: str) -> None:
    home, behind = tmp_path / "home", tmp_path / "behind"
    home.mkdir(mode=0o700)
    behind.mkdir()
    for file in ("launcher.log", "system.log", "precious"):
        (behind / file).write_text("x" * 2_000_000)
    (home / name).symlink_to(behind)
    refused(home, rf"{home / name} is not a folder \(a link is not followed\)")
    remove_all_attempt_files(home)
    assert {file.name: file.stat().st_size for file in behind.iterdir()} == dict.fromkeys(
        ("launcher.log", "system.log", "precious"), 2000000
    )


@pytest.mark.parametrize("name", ["log/launcher.log", "log/system.log", "log/thespian.log", "attempts/x"])
def test_a_link_in_place_of_a_file_is_refused_and_what_is_behind_it_stays(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    (home / name).parent.mkdir(parents=True)
    (tmp_path / "precious").write_text("kept")
    (home / name).symlink_to(tmp_path / "precious")
    refused(home, rf"{name} is a link, and nothing is written through links; remove it")
    assert (tmp_path / "precious").read_text() == "kept"


_RUN = """
import os, stat, sys
from pathlib import Path
from antistrophe import SagaDefinition, SagaOrchestrator, step

@step(requires_compensation=False)
def act(ctx):
    return None

if __name__ == "__main__":
    os.umask(int(sys.argv[2], 8))
    home = Path(sys.argv[1])
    with SagaOrchestrator(home) as orchestrator:
        orchestrator.execute(SagaDefinition("one").add_step(act()), timeout_s=30.0)
        for path in [home, *home.rglob("*")]:
            try:
                mode = path.lstat()
            except FileNotFoundError:  # of a process that has ended meanwhile
                continue
            if not stat.S_ISLNK(mode.st_mode):
                print(stat.S_IMODE(mode.st_mode) == (0o700 if path.is_dir() else 0o600), path, oct(mode.st_mode))
"""


@pytest.mark.parametrize("umask", ["0", "0777"])
def test_all_files_are_the_owners_alone_whatever_the_umask(tmp_path: Path, umask: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(_RUN)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "deep" / "home"), umask],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
        preexec_fn=_obey_permissions,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > 8, lines
    assert [line for line in lines if not line.startswith("True")] == []


def _obey_permissions() -> None:
    """Permissions mean nothing to root: give up the capabilities that say so, from the next exec on."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            assert libc.prctl(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP
