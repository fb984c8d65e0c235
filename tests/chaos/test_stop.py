"""Nothing is left running after a stop, whatever hangs, whoever was killed, and whatever the steps had started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, SagaStatus, Settings
from antistrophe.launcher.control_protocol import Stopping
from antistrophe.launcher.probe import probe
from antistrophe.linux.process import identity_of
from antistrophe.linux.termination import processes_of_home
from tests.actors.staging import Stage, pid_of, seen
from tests.chaos.rounds import LONG
from tests.killing import await_end, kill, signal_to
from tests.waiting import until

QUICK = Settings(drain_s=0.2)
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "role", ["supervisor", "saga", "registry", "admin", "logger", "step"] if LONG else ["supervisor", "saga", "step"]
)
def test_a_stop_ends_what_does_not_react(role: str, tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    orchestrator = SagaOrchestrator(tmp_path / "home", settings=QUICK)
    orchestrator.start(stage.saga(stage.act("hung", "stubborn"), saga_id="hung"))
    until(lambda: stage.log.story("hung"), "the start of the step")
    signal_to(pid_of(orchestrator, role), signal.SIGSTOP)
    began = time.monotonic()
    orchestrator.close()
    took_s = time.monotonic() - began
    assert processes_of_home(tmp_path / "home") == []
    assert not [each for each in stage.log.read() if identity_of(each.pid) is not None]
    assert took_s < 30.0
    sys.stdout.write(f"{role} stopped: the close took {took_s:.2f} s\n")
    if LONG or role == "supervisor":
        with SagaOrchestrator(tmp_path / "home", settings=QUICK) as again:
            again.wait_idle(30.0)
            assert seen(again, "hung").status is SagaStatus.COMPENSATED


def test_a_stop_ends_what_steps_have_started(tmp_path: Path) -> None:
    """Two of the processes have an environment of their own, which does not say whose they are, and one of them has
    left the group of its step."""
    stage = Stage(tmp_path)
    with SagaOrchestrator(tmp_path / "home", settings=QUICK) as orchestrator:
        for how in ("crowd", "stray"):
            orchestrator.start(stage.saga(stage.act(how, f"{how}:hang"), saga_id=how))

        def beating() -> set[int]:
            return {each.pid for how in ("crowd", "stray") for each in stage.log.find(how, "beat")}

        pids = until(lambda: beating() if len(beating()) == 3 else None, "all three to beat")
        assert all(identity_of(pid) for pid in pids), "they beat on"
    assert not [pid for pid in pids if identity_of(pid)]


@pytest.mark.parametrize("role", ["launcher", "supervisor", "admin"])
def test_what_a_step_has_started_dies_with_the_system_before_anything_goes_on(role: str, tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with SagaOrchestrator(tmp_path / "home", settings=QUICK) as orchestrator:
        handle = orchestrator.start(stage.saga(stage.act("crowd", "crowd:hang"), saga_id="crowd"))
        until(lambda: len({each.note for each in stage.log.find("crowd", "beat")}) == 2, "both to beat")
        kill(pid_of(orchestrator, role))
        orchestrator.wait_idle(60.0)
        assert handle.status() is SagaStatus.COMPENSATED
    undo = stage.log.find("crowd", "undo")[0]
    late = [each for each in stage.log.find("crowd", "beat") if each.at > undo.at]
    assert not late, f"{len(late)} signs of life after the undo began"


PROGRAM = """
import os, signal, sys
from pathlib import Path
from antistrophe import SagaOrchestrator, Settings
from tests.actors.staging import Stage
from tests.waiting import until

if __name__ == "__main__":
    folder, ending = Path(sys.argv[1]), sys.argv[2]
    stage = Stage(folder)
    orchestrator = SagaOrchestrator(folder / "home", settings=Settings(drain_s=0.2))
    orchestrator.start(stage.saga(stage.act("hung", "hang"), saga_id="hung"))
    until(lambda: stage.log.story("hung"), "the start of the step")
    if ending == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif ending == "exit":
        os._exit(3)
    elif ending == "raise":
        raise RuntimeError("as programs do")
    elif ending == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize("ending", ["kill", "exit", "raise", "interrupt", "return"] if LONG else ["kill", "return"])
def test_a_system_ends_with_its_application_however_that_ends(ending: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path), ending],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode == 0) is (ending == "return"), done.stderr.decode()
    await_end(tmp_path / "home")
    with SagaOrchestrator(tmp_path / "home", settings=QUICK) as again:
        again.wait_idle(30.0)
        assert seen(again, "hung").status is SagaStatus.COMPENSATED


def open_gate_in_the_drain(stage: Stage, home: Path) -> None:
    """Some way into the drain, which begins when the launcher says that it stops."""
    until(lambda: isinstance(probe(home), Stopping), "the stop")
    into_the_drain = time.monotonic() + 0.3
    until(lambda: time.monotonic() > into_the_drain, "a part of the drain")
    stage.log.open_gate("short")


def test_a_drain_lets_short_attempts_finish_and_ends_long_ones(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    opener = threading.Thread(target=open_gate_in_the_drain, args=(stage, tmp_path / "home"))
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=6.0)) as orchestrator:
        orchestrator.start(stage.saga(stage.act("short", "gate:short"), stage.act("next"), saga_id="short"))
        orchestrator.start(stage.saga(stage.act("before"), stage.act("long", "tidy"), saga_id="long"))
        fails = stage.act("fails", "raise")
        orchestrator.start(stage.saga(stage.act("undone", back=("tidy", "ok")), fails, saga_id="back"))
        until(lambda: len(stage.log.find("short", "begin")) == 1, "the short one")
        until(lambda: stage.log.find("long", "begin", "long"), "the long one")
        until(lambda: stage.log.find("back", "undo"), "the one that goes back")
        opener.start()
    opener.join()
    assert stage.log.story("short") == ["begin short", "done short"], "nothing new is dispatched"
    assert stage.log.story("long") == ["begin before", "done before", "begin long", "cancelled long"]
    assert stage.log.story("back")[-1] == "cancelled undone"
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=1.0)) as orchestrator:
        orchestrator.wait_idle(30.0)
        statuses = {name: seen(orchestrator, name).status for name in ("short", "long", "back")}
    assert statuses == {
        "short": SagaStatus.COMPLETED,
        "long": SagaStatus.COMPENSATED,
        "back": SagaStatus.COMPENSATED,
    }
    assert stage.log.story("short") == ["begin short", "done short", "begin next", "done next"]
    assert stage.log.story("long")[4:] == ["undo long", "undone long", "undo before", "undone before"]
    assert [each.attempt for each in stage.log.find("back", "undo")] == [1, 2]
