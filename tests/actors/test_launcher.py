"""The launcher: starts a system again that dies, ends one that hangs, and keeps its descriptors to itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from antistrophe.errors import SystemUnavailableError
from antistrophe.launcher import control_protocol
from antistrophe.launcher.probe import probe
from antistrophe.linux.process import identity_of
from antistrophe.linux.termination import processes_of_home, system_environment
from antistrophe.settings import Settings
from antistrophe.transport.sockets import existing_socket_folder
from tests.actors.attaching import Opener, answers, pids_of
from tests.killing import kill_all, signal_to
from tests.waiting import until

# --- when parts of it die -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["admin", "logger", "supervisor"])
def test_a_system_that_loses_a_process_is_started_again(home: Path, attach: Opener, role: str) -> None:
    attachment, before = attach()
    signal_to(getattr(before, f"{role}_pid"))
    until(lambda: not attachment.is_current(before), "the news of the death")
    after = attachment.wait_ready(20.0)
    assert after.launcher_pid == before.launcher_pid
    assert answers(after)
    assert not set(pids_of(before)[1:]) & set(processes_of_home(home))


def test_a_system_whose_launcher_is_killed_is_started_again_by_its_application(home: Path, attach: Opener) -> None:
    attachment, before = attach()
    signal_to(before.launcher_pid)
    until(lambda: not attachment.is_current(before), "the news of the death")
    after = attachment.wait_ready(20.0)
    assert answers(after)
    assert not set(pids_of(before)) & set(processes_of_home(home))
    attachment.close()
    assert processes_of_home(home) == []


def test_all_at_once(home: Path, attach: Opener) -> None:
    attachment, before = attach()
    kill_all(home)
    until(lambda: not attachment.is_current(before), "the news of the death")
    assert answers(attachment.wait_ready(20.0))


def test_who_has_a_system_end_by_sigterm_while_others_need_it_gets_it_started_again(home: Path, attach: Opener) -> None:
    attachment, before = attach()
    signal_to(before.launcher_pid, signal.SIGTERM)
    until(lambda: not attachment.is_current(before), "the news of the stop")
    after = attachment.wait_ready(20.0)
    assert after.launcher_pid != before.launcher_pid
    assert answers(after)


def test_a_system_that_keeps_dying_is_given_up_with_the_reason(home: Path, attach: Opener) -> None:
    attachment, system = attach(Settings(max_restarts=0, reattach_s=0.5))
    changes: list[None] = []
    attachment.on_change(lambda: changes.append(None))
    signal_to(system.supervisor_pid)
    until(lambda: not attachment.is_current(system) and changes, "the news of the death")
    until(lambda: not identity_of(system.launcher_pid), "the end of the launcher")
    log = (home / "log" / "launcher.log").read_text()
    assert "died more than 0 times" in log
    assert "the supervisor died" in log
    assert answers(attachment.wait_ready(20.0)), "who is still attached starts another"


def test_what_an_earlier_system_left_running_is_ended_first(home: Path, attach: Opener) -> None:
    home.mkdir()
    environment = system_environment(home, os.environ)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment) as leftover:
        until(lambda: processes_of_home(home), "the process of an earlier system")
        attach()
        assert leftover.wait(timeout=10.0) == -signal.SIGKILL


# --- stopping -----------------------------------------------------------------------------------------------------


def test_a_supervisor_that_hangs_is_ended_all_the_same(home: Path, attach: Opener) -> None:
    attachment, system = attach(Settings(drain_s=0.0))
    signal_to(system.supervisor_pid, signal.SIGSTOP)
    attachment.close()
    assert processes_of_home(home) == []


def test_a_home_that_is_stopping_is_waited_for(home: Path, attach: Opener) -> None:
    leaving, system = attach(Settings(drain_s=0.0))
    signal_to(system.supervisor_pid, signal.SIGSTOP)  # its stop takes its time
    closer = threading.Thread(target=leaving.close)
    closer.start()
    until(lambda: isinstance(probe(home), control_protocol.Stopping), "the stop")
    _, after = attach()
    assert after.launcher_pid != system.launcher_pid
    assert answers(after)
    closer.join()


def test_opening_gives_up_in_time_and_says_what_is_in_the_way(home: Path, attach: Opener) -> None:
    _, system = attach()
    signal_to(system.launcher_pid, signal.SIGSTOP)
    try:
        with pytest.raises(SystemUnavailableError, match="reached, but has not said anything"):
            attach(Settings(open_timeout_s=2.0))
    finally:
        signal_to(system.launcher_pid, signal.SIGCONT)


def test_a_launcher_that_can_not_be_started_is_told_with_the_end_of_its_log(
    home: Path, attach: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 3\n")
    broken.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(SystemUnavailableError, match=r"ended without a word(?s:.*)out of order"):
        attach(Settings(open_timeout_s=5.0))


# --- the control socket -------------------------------------------------------------------------------------------


def test_a_probe_tells_the_state_and_keeps_nothing_up(home: Path, attach: Opener) -> None:
    assert probe(home) is None
    attachment, system = attach()
    state = probe(home)
    assert isinstance(state, control_protocol.Ready)
    assert state.supervisor_pid == system.supervisor_pid
    attachment.close()
    assert probe(home) is None


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 100,
        b"\x00\x00\x00\x03abc",
        b"GET / HTTP/1.1\r\n\r\n",
        control_protocol.encode(control_protocol.Stopping()),
    ],
)
def test_garbage_ends_its_own_connection_only(home: Path, attach: Opener, garbage: bytes) -> None:
    _, system = attach()
    folder = existing_socket_folder(home)
    assert folder is not None
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10.0)
        client.connect(control_protocol.control_path(folder))
        client.sendall(garbage)
        assert client.recv(1) == b""
    assert answers(system)


def test_no_process_keeps_the_launchers_descriptors(home: Path, attach: Opener) -> None:
    _, system = attach()
    kept = {
        pid: [link for link in open_files(pid) if link.endswith("/lock")]
        for pid in processes_of_home(home)
        if pid != system.launcher_pid
    }
    assert len(kept) >= 3
    assert not any(kept.values())
    assert any(link.endswith("/lock") for link in open_files(system.launcher_pid))


def open_files(pid: int) -> list[str]:
    folder = Path(f"/proc/{pid}/fd")
    found = []
    for entry in folder.iterdir():
        try:
            found.append(str(entry.readlink()))
        except OSError:
            continue
    return found
