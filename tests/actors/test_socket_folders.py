"""The socket folder of a system whose home lies too deep: how it comes and goes."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator
from antistrophe.errors import SystemUnavailableError
from antistrophe.launcher.control_protocol import CONTROL_NAME
from antistrophe.settings import Settings
from antistrophe.transport.sockets import existing_socket_folder
from tests.actors.attaching import Opener, answers
from tests.actors.staging import Stage
from tests.killing import kill_all, signal_to
from tests.waiting import until


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("run")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def home(tmp_path: Path, runtime: Path) -> Path:
    return tmp_path / ("d" * 100) / "home"


def test_nothing_is_left_of_it_after_the_end_of_the_system(home: Path, runtime: Path, attach: Opener) -> None:
    attachment, system = attach()
    (folder,) = runtime.iterdir()
    assert Path(system.supervisor).parent == folder == existing_socket_folder(home)
    attachment.close()
    assert list(runtime.iterdir()) == []


def test_that_of_a_system_that_was_killed_is_used_again(home: Path, runtime: Path, attach: Opener) -> None:
    attachment, before = attach()
    (folder,) = runtime.iterdir()
    kill_all(home)
    until(lambda: not attachment.is_current(before), "the news of the death")
    assert answers(attachment.wait_ready(20.0))
    assert list(runtime.iterdir()) == [folder]
    attachment.close()
    assert list(runtime.iterdir()) == []


# --- it goes while the system runs --------------------------------------------------------------------------------


def _log_out(home: Path, folder: Path) -> None:
    shutil.rmtree(folder.parent)


def _clean_up(home: Path, folder: Path) -> None:
    for entry in folder.iterdir():
        entry.unlink()


def _take_control_away(home: Path, folder: Path) -> None:
    (folder / CONTROL_NAME).unlink()


def _replace(home: Path, folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.mkdir(mode=0o700)


def _forget(home: Path, folder: Path) -> None:
    (home / "sockets.path").unlink()


@pytest.mark.parametrize("event", [_log_out, _clean_up, _take_control_away, _replace, _forget])
@pytest.mark.parametrize("place", ["in the runtime folder", "in the home"])
def test_a_system_whose_sockets_go_can_be_attached_again(
    home: Path, tmp_path: Path, attach: Opener, place: str, event: Callable[[Path, Path], None]
) -> None:
    home = home if place == "in the runtime folder" else tmp_path / "h"
    if event is _log_out and home == tmp_path / "h":
        pytest.skip("this removes the home")
    attachment, before = attach(at=home)
    event(home, Path(before.supervisor).parent)
    other, after = attach(at=home)
    assert answers(after)
    assert after.launcher_pid == before.launcher_pid
    assert answers(attachment.wait_ready(20.0)), "who was attached before is attached still"
    other.close()
    attachment.close()


def test_sagas_go_on_when_the_user_logs_out(tmp_path: Path, home: Path, runtime: Path) -> None:
    stage = Stage(tmp_path)
    with SagaOrchestrator(home) as orchestrator:
        first = orchestrator.start(stage.saga(stage.act("slow", "gate:free"), saga_id="slow"))
        until(lambda: stage.log.find("slow", "begin"), "the step")
        shutil.rmtree(runtime)
        until(lambda: "is gone" in (home / "log" / "launcher.log").read_text(), "the launcher's look")
        stage.log.open_gate("free")
        with SagaOrchestrator(home) as late:
            assert late.execute(stage.saga(stage.act("late")), timeout_s=60.0) is not None
        assert first.result(timeout_s=60.0) is not None
    assert len(stage.log.find("slow", "begin")) == 1


def test_the_error_names_the_process_that_holds_the_home_and_does_not_answer(home: Path, attach: Opener) -> None:
    _, system = attach()
    signal_to(system.launcher_pid, signal.SIGSTOP)
    try:
        shutil.rmtree(Path(system.supervisor).parent)
        with pytest.raises(SystemUnavailableError, match=rf"holds the home.*\(process {system.launcher_pid}\)"):
            attach(Settings(open_timeout_s=10.0))
    finally:
        signal_to(system.launcher_pid, signal.SIGCONT)
