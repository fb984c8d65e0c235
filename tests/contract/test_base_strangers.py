"""Who may talk to an actor: processes of the same user, by the kernel's word, whatever the folder lets through."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from thespian.system.transport import SendStatus

from antistrophe.transport.address import path_of
from antistrophe.transport.codec import pack_message
from antistrophe.transport.connection import framed, preamble
from antistrophe.transport.drop_counters import MALFORMED, OTHER_USERS
from antistrophe.transport.transport import UnixTransport
from tests.contract.ends import ends_in, receive, send, settle
from tests.waiting import until

NOBODY = 65_534
HELLO = preamble("/nobody") + framed(pack_message("hello"))

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that everybody can enter, and so can its parents: what a user may have done to it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.fixture
def make(folder: Path) -> Iterator[Callable[[], UnixTransport]]:
    with ends_in(folder) as make:
        yield make


def as_nobody(act: Callable[[], bytes]) -> bytes:
    """What ``act`` answers in a child that runs as another user."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"failed"
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            answer = act()
        except BaseException as error:
            answer = repr(error).encode()
        finally:
            os.write(write_end, answer)
            os._exit(0)
    os.close(write_end)
    answer = os.read(read_end, 1000)
    os.close(read_end)
    os.waitpid(child, 0)
    return answer


@as_root
def test_a_process_of_another_user_is_not_heard(make: Callable[[], UnixTransport]) -> None:
    receiver, friend = make(), make()
    path = path_of(receiver.myAddress) or ""
    Path(path).chmod(0o777)

    def intrude() -> bytes:
        with socket.socket(socket.AF_UNIX) as intruder:
            intruder.connect(path)
            intruder.sendall(HELLO)
        return b"sent"

    assert as_nobody(intrude) == b"sent"
    send(friend, receiver, "from a friend")
    assert receive(receiver) == "from a friend"
    assert receiver.counts == {OTHER_USERS: 1}


@as_root
def test_a_process_of_another_user_is_told_nothing(make: Callable[[], UnixTransport], folder: Path) -> None:
    sender = make()
    trap = folder / "trap"
    listener = socket.socket(socket.AF_UNIX)

    def listen() -> bytes:
        listener.bind(str(trap))
        listener.listen()  # who listens is whose uid the other side sees
        return b"listens"

    with listener:
        assert as_nobody(listen) == b"listens"
        outcome = send(sender, str(trap), "secret")
        settle(sender)
        assert outcome == [SendStatus.Failed]
        assert sender.counts == {OTHER_USERS: 1}
        assert trap.exists(), "what belongs to others is left alone"
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(100) == b""


def test_strangers_are_known_by_their_uid(make: Callable[[], UnixTransport], monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, sender = make(), make()
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    outcome = send(sender, receiver, "secret")
    settle(sender)
    assert outcome == [SendStatus.Failed]
    monkeypatch.undo()
    assert sender.counts == {OTHER_USERS: 1}
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(path_of(receiver.myAddress) or "")
        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
        until(lambda: looked(receiver).counts[OTHER_USERS] == 2, "both refusals")


def test_malformed_frames_are_counted_and_those_behind_them_arrive(
    make: Callable[[], UnixTransport], caplog: pytest.LogCaptureFixture
) -> None:
    receiver = make()
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path_of(receiver.myAddress) or "")
        peer.sendall(preamble("/peer") + b"".join(framed(b"garbage %d" % number) for number in range(12)))
        peer.sendall(framed(pack_message("in order")))
        assert receive(receiver) == "in order"
    assert receiver.counts == {MALFORMED: 12}
    assert [record.getMessage().split()[0] for record in caplog.records] == ["1", "10"]


def looked(end: UnixTransport) -> Any:
    """The same end, after a look at its sockets."""
    end.run(lambda _: True, timedelta(0))
    return end
