"""One end of the system base by itself: what it does at the edges that a running system reaches by chance only."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from thespian.actors import WakeupMessage
from thespian.system.messages.multiproc import ChildMayHaveDied
from thespian.system.transport import ReceiveEnvelope, SendStatus

from antistrophe.linux import process, termination
from antistrophe.transport import connection
from antistrophe.transport import sender as sending
from antistrophe.transport.actor_manager import ChildEnded
from antistrophe.transport.address import address_of, path_of
from antistrophe.transport.child_processes import Addresses
from antistrophe.transport.mailbox import Mailbox
from antistrophe.transport.poller import Poller
from antistrophe.transport.transport import UnixTransport
from tests.contract.base_system import SEARCH_PATH, WAIT_S
from tests.contract.ends import ends_in, receive, send, settle
from tests.waiting import until

LARGE = b"x" * 1_000_000  # more than the kernel takes at once


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[], UnixTransport]]:
    with ends_in(tmp_path) as make:
        yield make


def test_what_a_child_has_sent_is_taken_in_before_the_signal_of_its_death(
    make: Callable[[], UnixTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, child = make(), make()
    assert [send(child, parent, (number, b"x" * 100)) for number in range(100)] == [[SendStatus.Sent]] * 100
    child.close()
    looked: list[int] = []
    wait = Poller.wait

    def blind_at_first(self: Poller, timeout_s: float | None) -> list[tuple[int, int]]:
        looked.append(1)
        return wait(self, timeout_s) if len(looked) > 1 else []

    monkeypatch.setattr(Poller, "wait", blind_at_first)
    parent.interrupt_wait(check_children=True)
    received = [receive(parent) for _ in range(101)]
    assert [message[0] for message in received[:-1]] == list(range(100))
    assert isinstance(received[-1], ChildMayHaveDied)


def test_what_a_child_has_sent_is_taken_in_before_the_end_of_its_process(
    make: Callable[[], UnixTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, child = make(), make()
    for number in range(20):
        send(child, parent, number)
    process_of_child = subprocess.Popen(["true"])
    pidfd = os.pidfd_open(process_of_child.pid)
    process_of_child.wait()
    wait = Poller.wait
    looked: list[int] = []

    def sees_the_end_first(self: Poller, timeout_s: float | None) -> list[tuple[int, int]]:
        looked.append(1)
        return wait(self, timeout_s) if len(looked) > 1 else [(pidfd, 1)]

    try:
        parent._loop.watch_child(pidfd, ChildEnded(7))
        monkeypatch.setattr(Poller, "wait", sees_the_end_first)
        assert [receive(parent) for _ in range(21)] == [*range(20), ChildEnded(7)]
    finally:
        os.close(pidfd)


def test_what_waits_for_a_peer_that_does_not_read_is_told(make: Callable[[], UnixTransport]) -> None:
    sender, deaf = make(), make()
    outcomes = [send(sender, deaf, LARGE) for _ in range(3)]
    assert settle(sender) == 3
    assert outcomes == [[], [], []]
    while settle(sender, 0.01):
        deaf.run(lambda envelope: True, timedelta(seconds=0.01))
    assert outcomes == [[SendStatus.Sent]] * 3


def test_too_much_for_one_peer_is_dropped_and_others_are_served(
    make: Callable[[], UnixTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_QUEUED_MESSAGES", 5)
    sender, deaf, other = make(), make(), make()
    outcomes = [send(sender, deaf, LARGE) for _ in range(8)]
    assert send(sender, other, "in time") == [SendStatus.Sent]
    settle(sender)
    assert outcomes == [[]] * 5 + [[SendStatus.Failed]] * 3
    assert receive(other) == "in time"


def test_what_has_waited_too_long_fails_and_the_rest_arrives_whole(
    make: Callable[[], UnixTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_LOOK_AT_QUEUES_S", 0.01)
    sender, deaf = make(), make()
    impatient = send(sender, deaf, LARGE, maxPeriod=timedelta(seconds=0.05))
    patient = send(sender, deaf, "patience")
    until(lambda: settle(sender, 0.01) == 0, "all to be sent")
    assert (impatient, patient) == ([SendStatus.Failed], [SendStatus.Sent])
    assert receive(deaf) == "patience"


def readable(one: socket.socket) -> bool:
    return bool(select.select([one], [], [], 0.0)[0])


def accepted_from(sender: UnixTransport, listener: socket.socket) -> socket.socket:
    """The next connection of a sender, which makes it while it has the time to send."""
    until(lambda: settle(sender, 0.01) is not None and readable(listener), "a connection")
    return listener.accept()[0]


def test_a_message_is_sent_again_to_a_peer_that_closed_the_connection(
    make: Callable[[], UnixTransport], tmp_path: Path
) -> None:
    sender = make()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "fickle"))
        listener.listen()
        outcome = send(sender, str(tmp_path / "fickle"), LARGE)
        listener.accept()[0].close()
        with accepted_from(sender, listener) as accepted:
            assert outcome == []
            data = b""
            accepted.setblocking(False)
            while not outcome:
                settle(sender, 0.01)
                with contextlib.suppress(BlockingIOError):  # there was no time to send any of it
                    data += accepted.recv(1 << 20)
    assert outcome == [SendStatus.Sent]
    assert data.startswith(connection.PREAMBLE_MAGIC)


def test_a_peer_that_always_closes_the_connection_is_given_up(
    make: Callable[[], UnixTransport], tmp_path: Path
) -> None:
    sender = make()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "hostile"))
        listener.listen()
        outcome = send(sender, str(tmp_path / "hostile"), LARGE)
        tries = 0
        while not outcome:
            tries += 1
            assert tries <= 20
            listener.accept()[0].close()
            until(lambda: settle(sender, 0.01) == 0 or readable(listener), "it is given up, or tried again")
    assert outcome == [SendStatus.Failed]


def test_what_waits_for_a_peer_that_dies_fails(make: Callable[[], UnixTransport]) -> None:
    sender, peer = make(), make()
    outcomes = [send(sender, peer, LARGE) for _ in range(2)]
    peer.close()
    until(lambda: settle(sender) == 0, "nothing waits any more")
    assert outcomes == [[SendStatus.DeadTarget]] * 2
    assert send(sender, peer, "too late") == []
    settle(sender)


def test_the_connection_to_a_peer_that_dies_is_closed(make: Callable[[], UnixTransport]) -> None:
    sender, peer = make(), make()
    before = sender.protectedFileNumList()
    assert send(sender, peer, "hello") == [SendStatus.Sent]
    assert len(sender.protectedFileNumList()) == len(before) + 1
    peer.close()
    sender.run(None, timedelta(seconds=0.01))
    assert sender.protectedFileNumList() == before


def test_connections_that_are_idle_are_closed_when_there_are_many(
    make: Callable[[], UnixTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_MAX_OPEN_CONNECTIONS", 3)
    sender, peers = make(), [make() for _ in range(8)]
    before = len(sender.protectedFileNumList())
    for turn in range(3):
        for peer in peers:
            assert send(sender, peer, turn) == [SendStatus.Sent]
            assert len(sender.protectedFileNumList()) <= before + 3
    assert [[receive(peer) for _ in range(3)] for peer in peers] == [[0, 1, 2]] * 8


def test_a_wakeup_that_comes_due_while_only_sending_is_not_lost(make: Callable[[], UnixTransport]) -> None:
    sender, deaf = make(), make()
    settle(sender, 0)
    sender.addWakeup(timedelta(0), "ring")
    outcome = send(sender, deaf, LARGE)
    assert settle(sender) == 1
    assert outcome == []
    began_at = time.monotonic()
    message = receive(sender)
    assert time.monotonic() - began_at < WAIT_S / 2
    assert isinstance(message, WakeupMessage)
    assert message.payload == "ring"


def test_the_dead_are_forgotten_but_not_at_once() -> None:
    addresses = Addresses(address_of("/nobody"), [])
    for number in range(300):
        addresses.append(None)
        assert addresses[number] is None
        addresses[len(addresses) - 1] = address_of(f"/{number}")
        addresses.died(address_of(f"/{number}"))
        addresses.died(address_of(f"/{number}"))
    assert [addresses[number] for number in range(200)] == [address_of("/nobody")] * 200
    assert [addresses[number] for number in range(200, 300)] == [address_of(f"/{n}") for n in range(200, 300)]
    assert addresses.kept == 100


def test_a_process_that_is_forked_twice_waits_for_its_adoption_and_dies_with_the_starter(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from antistrophe.linux.process import become_subreaper\n"
        "from antistrophe.transport.address import address_of\n"
        "from antistrophe.transport.endpoint import UnixEndpoint\n"
        "become_subreaper()\n"
        "endpoint = UnixEndpoint(None, None, address_of(sys.argv[1]), None)\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0:\n"
        "        print(os.getpid(), flush=True)\n"
        "        endpoint.move_in()\n"
        "        print('moved in', flush=True)\n"
        "        time.sleep(600)\n"
        "    sys.stdin.readline()\n"
        "    os._exit(0)\n"
        "time.sleep(600)\n"
    )
    environment = termination.system_environment(tmp_path, {**os.environ, "PYTHONPATH": SEARCH_PATH})
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "admin")],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdin is not None
    assert starter.stdout is not None
    with starter:
        admin = process.identity_of(int(starter.stdout.readline()))
        assert admin is not None
        assert process.parent_of(admin.pid) != starter.pid
        starter.stdin.write("\n")
        starter.stdin.flush()
        assert starter.stdout.readline() == "moved in\n"
        assert process.parent_of(admin.pid) == starter.pid
        starter.send_signal(signal.SIGKILL)
    until(lambda: not process.is_alive(admin), "the death of the Admin")
    assert termination.processes_of_home(tmp_path) == []


def test_whether_more_is_waiting_is_known_without_waiting(make: Callable[[], UnixTransport]) -> None:
    sender, receiver = make(), make()
    seen: list[tuple[Any, bool]] = []

    def handle(envelope: ReceiveEnvelope) -> bool:
        seen.append((envelope.message, receiver.more_is_waiting({int})))
        return len(seen) < 4

    for message in (1, 2, "of another type", 3):
        send(sender, receiver, message)
    began_at = time.monotonic()
    receiver.run(handle, timedelta(seconds=WAIT_S))
    assert seen == [(1, True), (2, True), ("of another type", True), (3, False)]
    assert time.monotonic() - began_at < WAIT_S / 2
    assert not receiver.more_is_waiting({int})
    send(sender, receiver, 4)
    assert receiver.more_is_waiting({int})
    assert not receiver.more_is_waiting({str})
    receiver.close()
    assert not receiver.more_is_waiting({int})


def test_who_receives_hears_of_another_descriptor_too_and_only_while_it_asks_for_that(
    make: Callable[[], UnixTransport],
) -> None:
    sender, end = make(), make()
    box = Mailbox(path_of(sender.myAddress) or "", end)
    reads, writes = os.pipe()
    try:
        threading.Timer(0.05, os.write, (writes, b"x")).start()
        begun = time.monotonic()
        assert box.receive(60.0, reads) is None
        assert time.monotonic() - begun < 30.0
        send(sender, end, "a message")
        settle(sender)
        assert box.receive(60.0) == "a message"  # what can be read all the time does not get in its way
        assert box.receive(0.0) is None
    finally:
        box.close()
        os.close(reads)
        os.close(writes)
