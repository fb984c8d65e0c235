"""The system base: what Thespian promises works over Unix-domain sockets, and no port is opened."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from thespian.actors import ActorAddress, ActorSystem

from antistrophe.errors import NotSerializableError, PayloadTooLargeError
from antistrophe.linux import termination
from antistrophe.transport.address import UnixAddress, address_of, path_of
from antistrophe.transport.connection import MAX_FRAME_BYTES, PREAMBLE_MAGIC, framed, preamble
from tests.contract.base_system import ROOT, WAIT_S, Player, System, attached, heard, sockets_of


@pytest.fixture(scope="module")
def shared_system(shared_home: Path) -> Iterator[System]:
    system = System(shared_home)
    yield system
    system.stop()
    system.close()


@pytest.fixture
def actor_system(shared_system: System) -> Iterator[ActorSystem]:
    with attached(shared_system) as actor_system:
        yield actor_system


@pytest.fixture
def player(actor_system: ActorSystem) -> ActorAddress:
    return actor_system.createActor(Player)


def test_an_actor_answers(actor_system: ActorSystem, player: ActorAddress) -> None:
    assert actor_system.ask(player, ("echo", {"a": [1, None, "ü"]}), WAIT_S) == {"a": [1, None, "ü"]}


def test_large_messages_travel(actor_system: ActorSystem, player: ActorAddress) -> None:
    large = os.urandom(8 * 1024 * 1024)
    assert actor_system.ask(player, ("echo", large), WAIT_S) == large
    assert actor_system.ask(player, ("echo", "after it"), WAIT_S) == "after it"


def test_messages_arrive_once_and_in_order(actor_system: ActorSystem, player: ActorAddress) -> None:
    for number in range(3000):
        actor_system.tell(player, ("hear", number))
    assert heard(actor_system, player, 3000) == list(range(3000))


def test_messages_between_actors_keep_their_order_whatever_their_size(
    actor_system: ActorSystem, player: ActorAddress
) -> None:
    sender = actor_system.createActor(Player)
    for number in range(60):
        padding = b"x" * (number % 3 * 300_000)
        actor_system.tell(sender, ("forward", player, ("hear", (number, len(padding), padding))))
    assert [number for number, length, padding in heard(actor_system, player, 60) if length == len(padding)] == list(
        range(60)
    )


def test_each_thread_gets_the_answers_to_its_own_questions(actor_system: ActorSystem, player: ActorAddress) -> None:
    wrong: list[Any] = []

    def ask_many(name: int) -> None:
        for number in range(40):
            with actor_system.private() as private:
                answer = private.ask(player, ("echo", (name, number)), WAIT_S)
            if answer != (name, number):
                wrong.append(answer)

    threads = [threading.Thread(target=ask_many, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_threads_may_send_while_another_waits(actor_system: ActorSystem, player: ActorAddress) -> None:
    waiter = threading.Thread(target=lambda: actor_system.listen(5))
    waiter.start()
    for number in range(200):
        actor_system._systemBase._tx_to_actor(player, ("hear", number))
    with actor_system.private() as private:
        assert heard(private, player, 200) == list(range(200))
    actor_system._systemBase._tx_to_actor(player, ("echo", "wake up"))
    waiter.join(WAIT_S)
    assert not waiter.is_alive()


def test_another_process_attaches(shared_system: System, actor_system: ActorSystem, player: ActorAddress) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from thespian.actors import ActorSystem\n"
        "from antistrophe.transport.system_base import UnixSystemBase\n"
        "from antistrophe.transport.address import address_of\n"
        "base = UnixSystemBase(Path(sys.argv[1]), attach_only=True)\n"
        "actors = ActorSystem(base, transientUnique=True)\n"
        "print(actors.ask(address_of(sys.argv[2]), ('echo', 'from afar'), 10))\n"
        "base.close()\n"
    )
    path = path_of(actor_system.ask(player, ("who",), WAIT_S))
    assert path is not None
    arguments = [sys.executable, "-W", "error", "-c", code, str(shared_system.folder), path]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=WAIT_S, check=False, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("from afar\n", "")


def test_wakeups_come_in_the_order_in_which_they_are_due(actor_system: ActorSystem, player: ActorAddress) -> None:
    asked = time.monotonic()
    actor_system.tell(player, ("wake", 0.9, 0.3, 0.6, 0.3))  # far apart: it may stand still while it sets them
    woken = heard(actor_system, player, 4)
    assert [payload for _, payload, _ in woken] == [0.3, 0.3, 0.6, 0.9]
    assert all(at - asked >= payload for _, payload, at in woken)


def test_overdue_wakeups_come_in_order_too(actor_system: ActorSystem, player: ActorAddress) -> None:
    actor_system.tell(player, ("wake", 0.7, 0.1, 0.4))
    actor_system.tell(player, ("sleep", 0.8))
    assert [payload for _, payload, _ in heard(actor_system, player, 3)] == [0.1, 0.4, 0.7]


def test_wakeups_come_in_a_flood_of_messages_and_messages_in_a_flood_of_wakeups(
    actor_system: ActorSystem, player: ActorAddress
) -> None:
    actor_system.tell(player, ("wake", *([0.0] * 200)))
    for number in range(500):
        actor_system.tell(player, ("hear", number))
    assert len(heard(actor_system, player, 700)) == 700


def test_a_watched_descriptor_is_reported_and_messages_go_on(
    actor_system: ActorSystem, player: ActorAddress, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    write_end = os.open(fifo, os.O_RDWR)
    try:
        actor_system.tell(player, ("watch", str(fifo)))
        assert actor_system.ask(player, ("echo", "in the meantime"), WAIT_S) == "in the meantime"
        os.write(write_end, b"news")
        assert heard(actor_system, player, 1) == [("ready", [b"news"])]
        assert actor_system.ask(player, ("close_watched",), WAIT_S) == "closed"
        assert actor_system.ask(player, ("echo", "still here"), WAIT_S) == "still here"
    finally:
        os.close(write_end)


def test_nothing_listens_on_a_port(shared_system: System, actor_system: ActorSystem, player: ActorAddress) -> None:
    actor_system.ask(player, ("child",), WAIT_S)
    ports = {
        int(line.split()[9])
        for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    }
    unix = {int(line.split()[6]) for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    members = termination.processes_of_home(shared_system.home)
    assert len(members) >= 5, "launcher, Admin, logger, player and its child"
    sockets = {inode for pid in [*members, os.getpid()] for inode in sockets_of(pid)}
    assert sockets & unix, "no socket was found: this test shows nothing"
    assert not sockets & ports


def test_each_listening_socket_belongs_to_one_process(shared_system: System, actor_system: ActorSystem) -> None:
    player = actor_system.createActor(Player)
    assert actor_system.ask(player, ("echo", 0), WAIT_S) == 0, "who was only just forked has the sockets of its parent"
    listening = {
        int(fields[6]): fields[7]
        for fields in (line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:])
        if len(fields) > 7 and fields[7].startswith(f"{shared_system.folder}/") and fields[3] == "00010000"
    }
    members = [*termination.processes_of_home(shared_system.home), os.getpid()]
    holders = {path: [pid for pid in members if inode in sockets_of(pid)] for inode, path in listening.items()}
    assert len(holders) >= 4
    assert {path: pids for path, pids in holders.items() if len(pids) != 1} == {}


def test_a_fork_of_an_actor_keeps_no_socket_and_writes_to_no_file(
    actor_system: ActorSystem, player: ActorAddress, tmp_path: Path
) -> None:
    assert actor_system.ask(player, ("fork", str(tmp_path)), WAIT_S) == "([], 0)"
    assert actor_system.ask(player, ("echo", "unharmed"), WAIT_S) == "unharmed"


def test_a_fork_of_an_application_keeps_no_socket_and_harms_none(
    actor_system: ActorSystem, player: ActorAddress, shared_system: System
) -> None:
    sockets = set(sockets_of(os.getpid()))
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            actor_system.tell(player, ("hear", "from the fork"))
        except Exception as error:
            os.write(
                write_end, repr(sorted(sockets.intersection(sockets_of(os.getpid())))).encode() + str(error).encode()
            )
        os._exit(0)
    os.waitpid(child, 0)
    answer = os.read(read_end, 10_000).decode()
    os.close(read_end)
    os.close(write_end)
    own = {int(line.split()[6]) for line in Path("/proc/net/unix").read_text().splitlines() if "/sockets/" in line}
    assert not set(eval(answer[: answer.index("]") + 1])) & own
    assert "forked" in answer
    assert actor_system.ask(player, ("echo", "unharmed"), WAIT_S) == "unharmed"


def test_garbage_on_a_socket_does_no_harm(actor_system: ActorSystem, player: ActorAddress) -> None:
    path = path_of(actor_system.ask(player, ("who",), WAIT_S))
    assert path is not None
    hello = preamble("/nobody")
    for garbage in (
        os.urandom(3000),
        b"GET / HTTP/1.0\r\n\r\n",
        b"A",
        PREAMBLE_MAGIC,
        hello + framed(b"no msgpack"),
        hello + framed(pickle.dumps(("hear", "something"))),
        hello + framed(b"\x80\x05cos\n_exit\n(I1\ntR."),
        hello + (MAX_FRAME_BYTES + 1).to_bytes(4, "big") + b"x" * 100,
        hello + (1000).to_bytes(4, "big") + b"half a frame",
    ):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(path)
            stranger.sendall(garbage)
    assert actor_system.ask(player, ("echo", "unharmed"), WAIT_S) == "unharmed"


def test_what_can_not_travel_is_the_sender_s_error(actor_system: ActorSystem, player: ActorAddress) -> None:
    with pytest.raises(NotSerializableError, match="function"):
        actor_system.tell(player, ("hear", lambda: None))
    assert actor_system.ask(player, ("echo", "unharmed"), WAIT_S) == "unharmed"


def test_what_is_too_large_is_the_sender_s_error() -> None:
    with pytest.raises(PayloadTooLargeError, match="over the limit"):
        framed(b"\0" * (MAX_FRAME_BYTES + 1))


def test_addresses_compare() -> None:
    address = UnixAddress("/run/x")
    assert {address: 1}[UnixAddress("/run/x")] == 1
    assert address != UnixAddress("/run/y")
    assert address != "/run/x"
    assert address_of("/run/x") == address_of("/run/x")
    assert str(address) == "x"


def test_an_end_can_be_closed_while_a_thread_waits_at_it(shared_system: System) -> None:
    actor_system = shared_system.attach()
    end = actor_system._systemBase
    waiter = threading.Thread(target=lambda: actor_system.listen(10 * WAIT_S))
    waiter.start()
    path = Path(path_of(end.transport.myAddress) or "")
    assert path.exists()
    end.close()
    waiter.join(WAIT_S)
    assert not waiter.is_alive()
    assert not path.exists()
    end.close()


def test_what_an_end_that_was_closed_had_is_left_alone_in_forks(shared_system: System, tmp_path: Path) -> None:
    ends = [shared_system.attach()._systemBase for _ in range(3)]
    for end in ends:
        end.close()
    files = [
        (tmp_path / str(number)).open("wb", buffering=0) for number in range(12)
    ]  # with the numbers of the sockets
    child = os.fork()
    if child == 0:
        try:
            for file in files:
                file.write(b"mine")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    for file in files:
        file.close()
    assert {file.read_bytes() for file in tmp_path.iterdir()} == {b"mine"}
