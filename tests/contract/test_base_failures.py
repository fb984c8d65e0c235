"""The system base when processes die, hang or don't read: who learns of it, when, and what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from thespian.actors import ActorAddress, ActorSystem

from antistrophe.linux import process, termination
from antistrophe.linux.process import ProcessIdentity
from antistrophe.transport.address import address_of, path_of
from antistrophe.transport.system_base import admin_and_logger
from tests.contract.base_system import ROOT, SEARCH_PATH, WAIT_S, Player, System, attached, heard
from tests.killing import await_end
from tests.waiting import until


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path)
    yield system
    system.close()


@pytest.fixture
def actor_system(system: System) -> Iterator[ActorSystem]:
    with attached(system) as actor_system:
        yield actor_system


@pytest.fixture
def player(actor_system: ActorSystem) -> ActorAddress:
    return actor_system.createActor(Player)


def admin_of(system: System) -> ProcessIdentity:
    admin, _ = admin_and_logger(system.folder)
    assert admin is not None
    return admin


def exits(found: list[Any]) -> list[tuple[int, float]]:
    return [(event[1], event[2]) for event in found if isinstance(event, tuple) and event[0] == "exited"]


# --- the death of a child -----------------------------------------------------------------------------------------


def test_a_parent_learns_of_the_death_of_a_child_within_milliseconds(
    actor_system: ActorSystem, player: ActorAddress
) -> None:
    late: list[float] = []
    deadline = time.monotonic() + WAIT_S
    # Within 10 ms, that is; on a busy machine not every time.
    while len(late) < 5 or ((min(late) >= 0.01 or median(late) >= 0.1) and time.monotonic() < deadline):
        number = len(late)
        actor_system.ask(player, ("child",), WAIT_S)
        actor_system.tell(player, ("kill", number))
        found = heard(actor_system, player, 2 * (number + 1))
        killed_at = next(event[2] for event in found if event[:2] == ("killed", number))
        late.append(next(at for who, at in exits(found) if who == number) - killed_at)
    assert min(late) < 0.01, late
    assert median(late) < 0.1, late


@pytest.mark.parametrize(("how", "code"), [("signal", -signal.SIGKILL), ("0", 0), ("3", 3)])
def test_the_exit_code_of_a_dead_child_is_had(
    actor_system: ActorSystem, player: ActorAddress, how: str, code: int
) -> None:
    actor_system.ask(player, ("child",), WAIT_S)
    actor_system.tell(player, ("tell", 0, ("last_words", 0, how)))
    heard(actor_system, player, 1)
    assert actor_system.ask(player, ("exitcode", 0), WAIT_S) == code


@pytest.mark.parametrize("how", ["signal", "0"])
def test_the_last_words_of_a_child_come_before_the_news_of_its_death(
    actor_system: ActorSystem, player: ActorAddress, how: str
) -> None:
    for number in range(8):
        actor_system.ask(player, ("child",), WAIT_S)
        actor_system.tell(player, ("tell", number, ("last_words", 50, how)))
    found = heard(actor_system, player, 8 * 51)
    assert len(exits(found)) == 8
    # All of a child's words are heard before its end: so the last event is an end, and no word is missing.
    assert sorted(event for event in found if isinstance(event, int)) == sorted(list(range(50)) * 8)
    assert isinstance(found[-1], tuple)


def test_a_parent_learns_of_a_child_that_died_before_it_reported(
    actor_system: ActorSystem, player: ActorAddress
) -> None:
    pid = actor_system.ask(player, ("stillborn",), WAIT_S)
    assert [who for who, _ in exits(heard(actor_system, player, 1))] == [0]
    assert process.identity_of(pid) is None


def test_a_child_s_children_die_with_it(actor_system: ActorSystem, player: ActorAddress, system: System) -> None:
    child = actor_system.ask(player, ("child",), WAIT_S)
    actor_system.tell(player, ("tell", 0, ("child",)))
    until(lambda: len(process.children_of(child)) == 1, "a child of the child")
    (grandchild,) = process.children_of(child)
    os.kill(child, signal.SIGKILL)
    until(lambda: process.identity_of(grandchild) is None, "the end of the grandchild")
    assert actor_system.ask(player, ("echo", "unharmed"), WAIT_S) == "unharmed"


def test_many_children_leave_neither_descriptors_nor_sockets(
    actor_system: ActorSystem, player: ActorAddress, system: System
) -> None:
    def after(total: int, already: int) -> tuple[int, int]:
        for number in range(already, total):
            actor_system.ask(player, ("child",), WAIT_S)
            actor_system.tell(player, ("tell", number, ("last_words", 1, "signal")))
            heard(actor_system, player, 2 * (number + 1))
        return actor_system.ask(player, ("descriptors",), WAIT_S), len(list(system.folder.iterdir()))

    few = after(3, already=0)
    assert after(33, already=3) == few


# --- the death of the pillars -------------------------------------------------------------------------------------


def grown(actor_system: ActorSystem, player: ActorAddress, system: System) -> list[int]:
    """A system with actors three deep; its processes besides the launcher."""
    child = actor_system.ask(player, ("child",), WAIT_S)
    actor_system.tell(player, ("tell", 0, ("child",)))
    until(lambda: len(process.children_of(child)) == 1, "a child of the child")
    # Who speaks has been told to die with its parent; who was only just forked has not.
    actor_system.tell(player, ("tell", 0, ("tell", 0, ("forward", player, ("hear", "born")))))
    assert heard(actor_system, player, 1) == ["born"]
    members = termination.processes_of_home(system.home)
    assert len(members) == 6, "launcher, Admin, logger and three players"
    return [pid for pid in members if pid != system.launcher.pid]


def test_the_death_of_the_launcher_takes_everything(
    actor_system: ActorSystem, player: ActorAddress, system: System
) -> None:
    grown(actor_system, player, system)
    system.launcher.kill()
    await_end(system.home)


def test_a_stopped_tree_dies_with_the_launcher_too(
    actor_system: ActorSystem, player: ActorAddress, system: System
) -> None:
    for pid in grown(actor_system, player, system):
        os.kill(pid, signal.SIGSTOP)
    system.launcher.kill()
    await_end(system.home)


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4])
def test_a_launcher_that_dies_while_it_starts_leaves_nothing(tmp_path: Path, after_s: float) -> None:
    environment = termination.system_environment(tmp_path, {**os.environ, "PYTHONPATH": SEARCH_PATH})
    arguments = [sys.executable, "-m", "tests.contract.base_system", str(tmp_path)]
    with subprocess.Popen(arguments, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as launcher:
        end = time.monotonic() + after_s
        until(lambda: time.monotonic() >= end, "the moment to die")
        launcher.kill()
    await_end(tmp_path)


def test_the_death_of_the_admin_takes_all_but_the_launcher_who_sees_it(
    actor_system: ActorSystem, player: ActorAddress, system: System
) -> None:
    grown(actor_system, player, system)
    admin = admin_of(system)
    assert process.parent_of(admin.pid) == system.launcher.pid
    pidfd = process.open_pidfd(admin)
    assert pidfd is not None
    try:
        process.send_signal(admin, signal.SIGKILL)
        assert process.wait_readable(pidfd, 15)
    finally:
        os.close(pidfd)
    until(lambda: termination.processes_of_home(system.home) == [system.launcher.pid], "the end of the others")
    until(lambda: admin_and_logger(system.folder) == (None, None), "what the launcher sees")


def test_the_death_of_the_logger_ends_the_admin_and_so_everything(
    actor_system: ActorSystem, player: ActorAddress, system: System
) -> None:
    grown(actor_system, player, system)
    _, logger = admin_and_logger(system.folder)
    assert logger is not None
    assert process.parent_of(logger.pid) == admin_of(system).pid
    process.send_signal(logger, signal.SIGKILL)
    until(lambda: termination.processes_of_home(system.home) == [system.launcher.pid], "the end of the others")


def test_the_launcher_leaves_no_zombie_behind_at_the_start(system: System) -> None:
    children = Path(f"/proc/{system.launcher.pid}/task/{system.launcher.pid}/children").read_text().split()
    assert children == [str(admin_of(system).pid)]


# --- peers that are gone, or do not read --------------------------------------------------------------------------


def test_asking_the_dead_is_answered_at_once(actor_system: ActorSystem, player: ActorAddress) -> None:
    pid, _ = actor_system.ask(player, ("pid",), WAIT_S)
    os.kill(pid, signal.SIGKILL)
    until(lambda: process.identity_of(pid) is None, "the death")
    for address in (player, address_of("/nowhere/at/all")):
        asked = time.monotonic()
        assert actor_system.ask(address, ("echo", 1), WAIT_S) is None
        assert time.monotonic() - asked < WAIT_S / 2


def test_a_killed_application_harms_nobody(actor_system: ActorSystem, player: ActorAddress, system: System) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from thespian.actors import ActorSystem\n"
        "from antistrophe.transport.system_base import UnixSystemBase\n"
        "base = UnixSystemBase(Path(sys.argv[1]), attach_only=True)\n"
        "print(base.transport.myAddress.addressDetails.path, flush=True)\n"
        "sys.stdin.read()\n"
    )
    arguments = [sys.executable, "-c", code, str(system.folder)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as client:
        assert client.stdout is not None
        path = client.stdout.readline().strip()
        actor_system.tell(player, ("forward", address_of(path), "read me", 10))
        assert actor_system.ask(player, ("echo", 0), WAIT_S) == 0
        client.kill()
    assert Path(path).exists()
    actor_system.tell(player, ("forward", address_of(path), "read me", 1000))
    assert actor_system.ask(player, ("echo", "unharmed"), WAIT_S) == "unharmed"
    until(lambda: not Path(path).exists(), "the end of the socket")
    assert actor_system.ask(player, ("descriptors",), WAIT_S) < 40


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_peer_that_does_not_read_holds_up_nobody_else(
    actor_system: ActorSystem, player: ActorAddress, size: int
) -> None:
    deaf = actor_system.ask(player, ("child",), WAIT_S)
    listening = actor_system.createActor(Player)
    until(lambda: actor_system.ask(player, ("echo", 0), WAIT_S) == 0, "an answer")
    os.kill(deaf, signal.SIGSTOP)
    for _ in range(1500):
        actor_system.tell(player, ("tell", 0, ("hear", b"x" * size)))
    actor_system.tell(player, ("forward", listening, ("hear", "in time")))
    assert heard(actor_system, listening, 1) == ["in time"]
    os.kill(deaf, signal.SIGCONT)
    actor_system.tell(player, ("tell", 0, ("forward", listening, ("hear", "caught up"))))
    assert heard(actor_system, listening, 2) == ["in time", "caught up"]


def test_a_peer_whose_backlog_is_full_gets_its_messages_later(
    actor_system: ActorSystem, player: ActorAddress, system: System
) -> None:
    import socket

    own = system.folder / "own"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(own))
        listener.listen(0)
        fillers = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(8)]
        for filler in fillers:
            filler.connect_ex(str(own))
        actor_system.tell(player, ("forward", address_of(str(own)), "patience"))
        assert actor_system.ask(player, ("echo", "not held up"), WAIT_S) == "not held up"
        for filler in fillers:
            filler.close()
        listener.settimeout(WAIT_S)
        data = b""
        while b"patience" not in data:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(WAIT_S)
                while b"patience" not in data and (read := connection.recv(10_000)):
                    data += read


def test_an_actor_without_a_free_descriptor_goes_on_when_it_has_some(
    actor_system: ActorSystem, player: ActorAddress, system: System
) -> None:
    assert actor_system.ask(player, ("echo", "well connected"), WAIT_S) == "well connected"
    with attached(system) as other:
        assert actor_system.ask(player, ("use_up_descriptors",), WAIT_S) > 0
        other.tell(player, ("hear", "a newcomer"))
        for _ in range(20):
            assert actor_system.ask(player, ("echo", "still here"), WAIT_S) == "still here"
        assert actor_system.ask(player, ("heard",), WAIT_S) == []
        assert actor_system.ask(player, ("release_descriptors",), WAIT_S) == "done"
        assert heard(actor_system, player, 1) == ["a newcomer"]


def test_a_wrong_address_removes_no_file(actor_system: ActorSystem, player: ActorAddress, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("do not lose this")
    assert actor_system.ask(address_of(str(precious)), ("echo", 1), WAIT_S) is None
    actor_system.tell(player, ("forward", address_of(str(precious)), "x"))
    assert actor_system.ask(player, ("echo", 1), WAIT_S) == 1
    assert precious.read_text() == "do not lose this"


def test_an_exit_of_many_at_once_leaves_the_rest_alone(actor_system: ActorSystem, player: ActorAddress) -> None:
    pids = [actor_system.ask(player, ("child",), WAIT_S) for _ in range(12)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    found = heard(actor_system, player, 12)
    assert sorted(who for who, _ in exits(found)) == list(range(12))
    assert actor_system.ask(player, ("echo", "unharmed"), WAIT_S) == "unharmed"
    assert path_of(actor_system.ask(player, ("who",), WAIT_S)) is not None
