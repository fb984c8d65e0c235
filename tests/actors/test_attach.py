"""The actor system as applications see it: who starts it, who shares it, where it can't be, and that forks keep out."""

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

from antistrophe.errors import JournalError, SystemStateError
from antistrophe.launcher.system import System
from antistrophe.linux.process import identity_of, is_alive, send_signal
from antistrophe.linux.termination import processes_of_home
from antistrophe.transport.sockets import existing_socket_folder, new_socket_path
from tests.actors.attaching import Opener, answers, pids_of
from tests.actors.planting import plant_in_children
from tests.killing import await_end, kill_all
from tests.waiting import until


def test_a_home_is_made_its_system_answers_and_nothing_is_left_of_it(home: Path, attach: Opener) -> None:
    attachment, system = attach()
    assert home.stat().st_mode & 0o777 == 0o700
    assert answers(system)
    assert set(pids_of(system)) <= set(processes_of_home(home))
    attachment.close()
    assert processes_of_home(home) == []
    folder = existing_socket_folder(home)
    assert folder is None or list(folder.iterdir()) == []
    assert not (home / "journal.db-wal").exists()


def test_the_last_to_leave_ends_the_system_that_all_share(home: Path, attach: Opener) -> None:
    first, one = attach()
    second, two = attach()
    assert pids_of(one) == pids_of(two)
    began = time.monotonic()
    first.close()
    assert time.monotonic() - began < 10.0, "who is not the last waits for nothing"
    assert answers(two)
    assert second.is_current(two)
    second.close()
    assert processes_of_home(home) == []


def test_who_closes_waits_for_a_launcher_that_takes_its_time_to_end(
    home: Path, attach: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_in_children(monkeypatch, "slow exits")
    attachment, _ = attach()
    attachment.close()
    assert processes_of_home(home) == []


def test_the_sockets_that_a_killed_application_left_are_removed_when_it_has_left(home: Path, attach: Opener) -> None:
    _, system = attach()
    folder = existing_socket_folder(home)
    assert folder is not None
    left = Path(new_socket_path(folder))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left))
    other, _ = attach()
    assert left.exists()
    other.close()
    until(lambda: not left.exists(), "the sweep")
    assert answers(system)


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
from antistrophe.launcher.attachment import Attachment
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


@pytest.mark.timeout(180)  # starts many processes, on a machine that may be busy
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
    await_end(home)


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
    await_end(home)


def test_a_home_with_a_path_of_two_hundred_bytes_works(tmp_path: Path, attach: Opener) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    attachment, system = attach(at=deep)
    assert answers(system)
    attachment.close()
    assert processes_of_home(deep) == []


def test_what_a_dead_system_left_in_the_home_is_no_obstacle(home: Path, attach: Opener) -> None:
    attachment, _ = attach()
    kill_all(home)
    attachment.leave()
    await_end(home)
    assert answers(attach()[1])


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
