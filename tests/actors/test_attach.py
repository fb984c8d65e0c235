"""The life of an actor system as applications see it: who starts it, who shares it, and that it ends with the last."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antistrophe.errors import JournalError, SystemStateError, SystemUnavailableError
from antistrophe.messages import ListProcesses, Processes
from antistrophe.process import identity_of, is_alive, processes_of_home, send_signal
from antistrophe.settings import Settings
from antistrophe.system import control
from antistrophe.system.attach import Attachment, System, look
from antistrophe.system.mailbox import Mailbox
from antistrophe.system.sockets import existing_socket_folder
from tests.waiting import until

Opener = Callable[..., tuple[Attachment, System]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def attach(home: Path) -> Iterator[Opener]:
    """Opens attachments, and closes those that the test leaves open."""
    made: list[Attachment] = []

    def opener(settings: Settings | None = None, at: Path = home) -> tuple[Attachment, System]:
        attachment = Attachment(at, settings or Settings())
        made.append(attachment)
        return attachment, attachment.open()

    yield opener
    for attachment in made:
        attachment.close()


def answers(system: System) -> bool:
    """Whether the supervisor answers."""
    mailbox = Mailbox(system.supervisor)
    try:
        mailbox.send(ListProcesses("question"))
        return isinstance(mailbox.receive(10.0), Processes)
    finally:
        mailbox.close()


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    identity = identity_of(pid)
    assert identity is not None
    assert send_signal(identity, number)


def pids_of(system: System) -> list[int]:
    return [system.launcher_pid, system.admin_pid, system.logger_pid, system.supervisor_pid]


def test_a_home_is_made_its_system_answers_and_nothing_is_left_of_it(home: Path, attach: Opener) -> None:
    attachment, system = attach()
    assert home.stat().st_mode & 0o777 == 0o700
    assert answers(system)
    assert set(pids_of(system)) <= set(processes_of_home(home))
    attachment.close()
    assert processes_of_home(home) == []
    folder = existing_socket_folder(home)
    assert folder is not None
    assert list(folder.iterdir()) == []
    assert not (home / "journal.db-wal").exists()


def test_the_last_to_leave_ends_the_system_that_all_share(home: Path, attach: Opener) -> None:
    first, one = attach()
    second, two = attach()
    assert pids_of(one) == pids_of(two)
    began = time.monotonic()
    first.close()
    assert time.monotonic() - began < 3.0, "who is not the last waits for nothing"
    assert answers(two)
    assert second.is_current(two)
    second.close()
    assert processes_of_home(home) == []


def test_a_home_can_be_opened_again_and_again(home: Path, attach: Opener) -> None:
    seen = set()
    for _ in range(3):
        attachment, system = attach()
        seen.add(system.launcher_pid)
        attachment.close()
        assert processes_of_home(home) == []
    assert len(seen) == 3


def test_of_many_that_race_one_starts_the_system(home: Path, attach: Opener) -> None:
    found: list[System] = []
    barrier = threading.Barrier(8)

    def race() -> None:
        barrier.wait()
        found.append(attach()[1])

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({system.launcher_pid for system in found}) == 1


PROGRAM = """
import sys
from pathlib import Path
from antistrophe.settings import Settings
from antistrophe.system.attach import Attachment
attachment = Attachment(Path(sys.argv[1]), Settings())
print(attachment.open().launcher_pid, flush=True)
sys.stdin.read()
attachment.close()
"""


@pytest.fixture
def application(home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts programs that open the home, and tell the pid of its launcher."""
    programs: list[subprocess.Popen[str]] = []

    def start(prefix: str = "") -> subprocess.Popen[str]:
        arguments = [sys.executable, "-c", prefix + PROGRAM, str(home)]
        program = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.kill()
        program.communicate()


def told_pid(program: subprocess.Popen[str]) -> int:
    assert program.stdout is not None
    return int(program.stdout.readline())


def test_processes_that_race_share_one_system(home: Path, application: Callable[[], subprocess.Popen[str]]) -> None:
    programs = [application() for _ in range(4)]
    assert len({told_pid(program) for program in programs}) == 1
    for program in programs:
        program.communicate("")
        assert program.returncode == 0
    assert processes_of_home(home) == []


def test_the_system_of_an_application_that_was_killed_ends(
    home: Path, application: Callable[[], subprocess.Popen[str]]
) -> None:
    program = application()
    told_pid(program)
    program.kill()
    until(lambda: not processes_of_home(home), "the end of the system")


def test_signals_that_the_application_blocks_or_ignores_still_reach_the_launcher(
    home: Path, application: Callable[..., subprocess.Popen[str]]
) -> None:
    program = application(
        "import signal\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})\n"
    )
    launcher = identity_of(told_pid(program))
    assert launcher is not None
    send_signal(launcher, signal.SIGTERM)
    until(lambda: not is_alive(launcher), "the end of the launcher")


# --- when parts of it die -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["admin", "logger", "supervisor"])
def test_a_system_that_loses_a_process_is_started_anew(home: Path, attach: Opener, role: str) -> None:
    attachment, before = attach()
    kill(getattr(before, f"{role}_pid"))
    until(lambda: not attachment.is_current(before), "the news of the death")
    after = attachment.wait_ready(20.0)
    assert after.launcher_pid == before.launcher_pid
    assert answers(after)
    assert not set(pids_of(before)[1:]) & set(processes_of_home(home))


def test_a_system_whose_launcher_is_killed_is_started_anew_by_its_application(home: Path, attach: Opener) -> None:
    attachment, before = attach()
    kill(before.launcher_pid)
    until(lambda: not attachment.is_current(before), "the news of the death")
    after = attachment.wait_ready(20.0)
    assert answers(after)
    assert not set(pids_of(before)) & set(processes_of_home(home))
    attachment.close()
    assert processes_of_home(home) == []


def test_all_at_once(home: Path, attach: Opener) -> None:
    attachment, before = attach()
    for pid in processes_of_home(home):
        kill(pid)
    until(lambda: not attachment.is_current(before), "the news of the death")
    assert answers(attachment.wait_ready(20.0))


def test_who_has_a_system_end_by_sigterm_while_others_need_it_gets_it_started_again(home: Path, attach: Opener) -> None:
    attachment, before = attach()
    kill(before.launcher_pid, signal.SIGTERM)
    until(lambda: not attachment.is_current(before), "the news of the stop")
    after = attachment.wait_ready(20.0)
    assert after.launcher_pid != before.launcher_pid
    assert answers(after)


def test_a_system_that_keeps_dying_is_given_up_with_the_reason(home: Path, attach: Opener) -> None:
    attachment, system = attach(Settings(max_restarts=0, reattach_s=0.5))
    changes: list[None] = []
    attachment.on_change(lambda: changes.append(None))
    kill(system.supervisor_pid)
    until(lambda: not attachment.is_current(system) and changes, "the news of the death")
    until(lambda: not is_alive_pid(system.launcher_pid), "the end of the launcher")
    log = (home / "log" / "launcher.log").read_text()
    assert "died more than 0 times" in log
    assert "the supervisor died" in log
    assert answers(attachment.wait_ready(20.0)), "who is still attached starts another"


def is_alive_pid(pid: int) -> bool:
    return identity_of(pid) is not None


def test_what_an_earlier_system_left_running_is_ended_first(home: Path, attach: Opener) -> None:
    home.mkdir()
    environment = {**os.environ, "ANTISTROPHE_HOME": str(home.resolve()), "ANTISTROPHE_SYSTEM": "1"}
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment) as leftover:
        until(lambda: processes_of_home(home), "the process of an earlier life")
        attach()
        assert leftover.wait(timeout=10.0) == -signal.SIGKILL


# --- stopping -----------------------------------------------------------------------------------------------------


def test_a_supervisor_that_hangs_is_ended_all_the_same(home: Path, attach: Opener) -> None:
    attachment, system = attach(Settings(drain_s=0.0))
    kill(system.supervisor_pid, signal.SIGSTOP)
    attachment.close()
    assert processes_of_home(home) == []


def test_a_home_that_is_stopping_is_waited_for(home: Path, attach: Opener) -> None:
    leaving, system = attach(Settings(drain_s=0.0))
    kill(system.supervisor_pid, signal.SIGSTOP)  # its stop takes its time
    closer = threading.Thread(target=leaving.close)
    closer.start()
    until(lambda: isinstance(look(home), control.Stopping), "the stop")
    _, after = attach()
    assert after.launcher_pid != system.launcher_pid
    assert answers(after)
    closer.join()


def test_opening_gives_up_in_time_and_says_what_is_in_the_way(home: Path, attach: Opener) -> None:
    _, system = attach()
    kill(system.launcher_pid, signal.SIGSTOP)
    try:
        with pytest.raises(SystemUnavailableError, match="reached, but has not said anything"):
            attach(Settings(open_timeout_s=0.5))
    finally:
        kill(system.launcher_pid, signal.SIGCONT)


def test_a_launcher_that_can_not_be_started_is_told_with_the_end_of_its_log(
    home: Path, attach: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 3\n")
    broken.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(SystemUnavailableError, match=r"ended without a word(?s:.*)out of order"):
        attach(Settings(open_timeout_s=0.5))


# --- homes that can't be used --------------------------------------------------------------------------------------


def test_a_home_below_a_file_is_refused(tmp_path: Path, attach: Opener) -> None:
    (tmp_path / "file").write_text("a file")
    for place in (tmp_path / "file", tmp_path / "file" / "home", Path("/proc/self/home")):
        with pytest.raises(JournalError, match="choose a"):
            attach(at=place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_home_of_another_user_is_refused(home: Path, attach: Opener) -> None:
    home.mkdir()
    os.chown(home, 12345, 12345)
    with pytest.raises(JournalError, match="belongs to user 12345"):
        attach()


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to look like one" * 100])
def test_a_journal_that_is_none_is_left_as_it_is(home: Path, attach: Opener, content: bytes) -> None:
    home.mkdir()
    journal = home / "journal.db"
    journal.write_bytes(content)
    if not content:
        attach()  # an empty file is a new database
        return
    with pytest.raises(JournalError, match=r"journal\.db"):
        attach()
    assert journal.read_bytes() == content
    assert processes_of_home(home) == []


def test_a_home_with_a_path_of_two_hundred_bytes_works(tmp_path: Path, attach: Opener) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    attachment, system = attach(at=deep)
    assert answers(system)
    attachment.close()
    assert processes_of_home(deep) == []


def test_what_a_dead_system_left_in_the_home_is_no_obstacle(home: Path, attach: Opener) -> None:
    attachment, system = attach()
    for pid in processes_of_home(home):
        kill(pid)
    attachment.leave()
    until(lambda: not processes_of_home(home), "the end of all")
    assert Path(system.supervisor).is_socket()
    assert answers(attach()[1])


# --- the control socket -------------------------------------------------------------------------------------------


def test_a_look_tells_the_state_and_keeps_nothing_up(home: Path, attach: Opener) -> None:
    assert look(home) is None
    attachment, system = attach()
    state = look(home)
    assert isinstance(state, control.Ready)
    assert state.supervisor_pid == system.supervisor_pid
    attachment.close()
    assert look(home) is None


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 100, b"\x00\x00\x00\x03abc", b"GET / HTTP/1.1\r\n\r\n", control.encode(control.Stopping())],
)
def test_garbage_ends_its_own_connection_only(home: Path, attach: Opener, garbage: bytes) -> None:
    _, system = attach()
    folder = existing_socket_folder(home)
    assert folder is not None
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(10.0)
        stranger.connect(control.control_path(folder))
        stranger.sendall(garbage)
        assert stranger.recv(1) == b""
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


# --- forks --------------------------------------------------------------------------------------------------------


def test_a_fork_can_not_use_it_and_does_not_keep_it_up(home: Path, attach: Opener) -> None:
    attachment, _ = attach()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            attachment.wait_ready(1.0)
        except SystemStateError as error:
            os.write(writer, str(error).encode())
        os.close(writer)
        signal.pause()  # until it is killed
        os._exit(0)
    try:
        os.close(writer)
        with open(reader) as told:
            text = told.read()
        assert "can't be used in its fork" in text
        attachment.close()
        assert processes_of_home(home) == [], "the fork, which lives, keeps nothing up"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
