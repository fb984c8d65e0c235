"""Releases in folders of their own: a saga whose folder is gone goes on with the code of the next release."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antistrophe import RequestError, SagaNotFoundError, SagaOrchestrator
from antistrophe.linux.termination import processes_of_home
from tests.killing import await_end
from tests.waiting import until

STEPS = """
import os, time
from dataclasses import dataclass
from pathlib import Path
from antistrophe import SagaStep, StepResult

@dataclass(frozen=True)
class Wait(SagaStep):
    folder: str
    idempotent = True

    def execute(self):
        Path(self.folder, "begun").touch()
        while not Path(self.folder, "go").exists():
            time.sleep(0.01)
        return StepResult([RELEASE, os.getcwd()])

    def compensate(self): ...

@dataclass(frozen=True)
class WaitAsync(Wait):
    async def execute(self):
        return Wait.execute(self)

    async def compensate(self): ...
"""
APP = """
import sys
from antistrophe import SagaDefinition, SagaOrchestrator, Settings
{steps}

if __name__ == "__main__":
    verb, home, folder, cls = sys.argv[1:]
    with SagaOrchestrator(home, settings=Settings(drain_s=0.1)) as orchestrator:
        if verb == "start":
            saga = SagaDefinition("order").add_step({prefix}Wait(folder), name="first")
            orchestrator.start(saga.add_step(getattr({where}, cls)(folder), name="second"))
        print("attached", flush=True)
        sys.stdin.read()
"""
KINDS = {
    "module": ("from shopapp import steps", "steps.", "steps"),
    "script": (STEPS, "", "sys.modules['__main__']"),
}


def release(folder: Path, kind: str) -> Path:
    (folder / "shopapp").mkdir(parents=True)
    said = f"\nRELEASE = {folder.name!r}\n"
    (folder / "shopapp" / "steps.py").write_text(STEPS + said, "utf-8")
    steps, prefix, where = KINDS[kind]
    (folder / "app.py").write_text(APP.format(steps=steps + said, prefix=prefix, where=where), "utf-8")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    assert processes_of_home(tmp_path / "home") == []


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def run(folder: Path, verb: str, cls: str = "Wait") -> subprocess.Popen[str]:
        words = [sys.executable, "app.py", verb, str(home), str(tmp_path), cls]
        pipe = subprocess.PIPE
        program = subprocess.Popen(words, cwd=folder, stdin=pipe, stdout=pipe, text=True)
        running.append(program)
        assert program.stdout is not None
        assert program.stdout.readline() == "attached\n"
        return program

    yield run
    for program in running:
        leave(program)


def leave(program: subprocess.Popen[str]) -> None:
    with program:  # this closes its pipes
        if program.poll() is None:
            program.communicate("", timeout=30)


def start_and_lose(run: Any, home: Path, tmp_path: Path, kind: str, cls: str = "Wait") -> Path:
    """A saga of a release whose folder is gone."""
    old = release(tmp_path / "r1", kind)
    program = run(old, "start", cls)
    until((tmp_path / "begun").exists, "the first step runs")
    leave(program)
    await_end(home)
    shutil.move(old, tmp_path / "away")
    (tmp_path / "go").touch()
    return old


def relocated(orchestrator: SagaOrchestrator) -> list[Any]:
    return [entry.data for entry in orchestrator.get_timeline("order") if entry.kind == "SagaRelocated"]


def cli(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "antistrophe", "--home", str(home), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("kind", "cls"), [("module", "Wait"), ("module", "WaitAsync"), ("script", "Wait")])
def test_the_next_release_takes_a_saga_over(home: Path, tmp_path: Path, run: Any, kind: str, cls: str) -> None:
    start_and_lose(run, home, tmp_path, kind, cls)
    with SagaOrchestrator(home) as looking:
        until(lambda: "r1" in (looking.handle("order").metadata().waiting or ""), "it waits for its place")
        new = release(tmp_path / "r2", kind)
        run(new, "attach")
        looking.handle("order").result(30)
        assert set(map(tuple, looking.get_outputs("order").values())) == {("r2", str(new))}
        (moved,) = relocated(looking)
    assert (moved["by"], moved["origin"]["cwd"]) == ("the system", str(new))
    assert f"The system moved the place of the saga's code from {tmp_path / 'r1'} to {new}" in cli(
        home, "explain", "order"
    ).stdout.replace("\n", " ")


def test_a_place_that_is_there_is_kept(home: Path, tmp_path: Path, run: Any) -> None:
    old = start_and_lose(run, home, tmp_path, "module")
    shutil.move(tmp_path / "away", old)
    run(release(tmp_path / "r2", "module"), "attach")
    with SagaOrchestrator(home) as looking:
        looking.handle("order").result(30)
        assert looking.get_outputs("order")["second"] == ["r1", str(old)]
        assert relocated(looking) == []


def test_by_hand_a_saga_is_relocated_and_brought_back(home: Path, tmp_path: Path, run: Any) -> None:
    old = start_and_lose(run, home, tmp_path, "module")
    (tmp_path / "go").unlink()
    (tmp_path / "begun").unlink()
    new = release(tmp_path / "r2", "module")
    with SagaOrchestrator(home) as looking:
        until(lambda: "r1" in (looking.handle("order").metadata().waiting or ""), "it waits for its place")
        assert "antistrophe relocate" in cli(home, "explain", "order").stdout
        for wrong, said in ((tmp_path, "no module shopapp.steps"), (tmp_path / "nowhere", "there is no folder")):
            with pytest.raises(RequestError, match=said):
                looking.relocate("order", wrong)
        with pytest.raises(SagaNotFoundError):
            looking.relocate("none", new)
        with pytest.raises(RequestError, match="a path"):
            looking.relocate("order", 5)  # type: ignore[arg-type]
        assert looking.relocate("order", new, note="the new release") is True
        assert looking.relocate("order", new) is False
        until((tmp_path / "begun").exists, "the step runs there")
        shutil.move(tmp_path / "away", old)
        assert looking.relocate("order", old) is True
        (tmp_path / "go").touch()
        looking.handle("order").result(30)
        assert looking.get_outputs("order") == {"first": ["r2", str(new)], "second": ["r1", str(old)]}
        first, second = relocated(looking)
        assert (first["note"], first["origin"]["cwd"], second["origin"]["cwd"]) == (
            "the new release",
            str(new),
            str(old),
        )
        with pytest.raises(RequestError, match="completed: it needs no code any more"):
            looking.relocate("order", new)


def test_the_command_line_relocates(home: Path, tmp_path: Path, run: Any) -> None:
    start_and_lose(run, home, tmp_path, "script")
    new = release(tmp_path / "r2", "script")
    wrong = cli(home, "relocate", "order", "--to", str(tmp_path))
    assert wrong.returncode == 2
    assert "no script" in wrong.stderr
    ended = cli(home, "relocate", "order", "--to", str(new), "--note", "moved", "--json")
    assert (ended.returncode, '"completed"' in ended.stdout) == (0, True), ended.stderr
    told = cli(home, "explain", "order").stdout.replace("\n", " ")
    assert f"to {new}: moved" in told


def test_sagas_that_a_killed_system_left_are_taken_over(home: Path, tmp_path: Path, run: Any) -> None:
    old = release(tmp_path / "r1", "module")
    program = run(old, "start")
    until((tmp_path / "begun").exists, "the first step runs")
    os.kill(program.pid, signal.SIGKILL)
    program.wait()
    shutil.rmtree(old)
    (tmp_path / "go").touch()
    new = release(tmp_path / "r2", "module")
    run(new, "attach")
    with SagaOrchestrator(home) as looking:
        looking.handle("order").result(30)
        assert looking.get_outputs("order")["second"][0] in ("r1", "r2")  # its process may have had the code in memory
