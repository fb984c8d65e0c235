"""Receivers that do not read: who is told, what waits, what is refused, and that nothing else is touched by it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from antistrophe import OverloadedError, SagaDefinition, SagaOrchestrator, SagaStep, Settings
from antistrophe.linux.process import ProcessIdentity, identity_of, send_signal
from antistrophe.messages import DrainSagas, LifecycleReport, ListProcesses, SagaEnded
from antistrophe.records import SagaStatus
from antistrophe.transport import connection, mailbox
from antistrophe.transport.address import path_of
from antistrophe.transport.codec import pack_message
from antistrophe.transport.connection import framed
from antistrophe.transport.drop_counters import REFUSED
from antistrophe.transport.mailbox import Backlog, Mailbox
from antistrophe.transport.transport import UnixTransport
from tests.contract.ends import ends_in, receive, send, settle
from tests.waiting import until

LARGE = "x" * 1_000_000  # more than the kernel takes at once


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[], UnixTransport]]:
    with ends_in(tmp_path) as make:
        yield make


def dispatch(end: UnixTransport, to: UnixTransport, message: Any) -> None:
    """Send as an actor does."""
    end._loop.dispatch(path_of(to.myAddress) or "", framed(pack_message(message)), to.myAddress, message)


def test_between_actors_what_is_not_repeated_waits_and_what_is_repeated_is_refused(
    make: Callable[[], UnixTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_QUEUED_MESSAGES", 3)
    sender, deaf, other = make(), make(), make()
    dispatch(sender, deaf, LARGE)
    for number in range(10):
        dispatch(sender, deaf, LifecycleReport(number))
    for number in range(10):
        dispatch(sender, deaf, SagaEnded(str(number), SagaStatus.COMPLETED))
    dispatch(sender, other, "in time")
    assert receive(other) == "in time"
    assert sender.counts == {REFUSED: 8}
    threading.Thread(target=lambda: settle(sender, 20.0)).start()
    heard = [receive(deaf) for _ in range(13)]
    assert heard[0] == LARGE
    assert [message.position for message in heard[1:3]] == [0, 1]
    assert [message.saga_id for message in heard[3:]] == [str(number) for number in range(10)]


def test_a_single_message_goes_whatever_its_size(
    make: Callable[[], UnixTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_QUEUED_BYTES", 10)
    sender, receiver = make(), make()
    outcome = send(sender, receiver, LARGE)
    threading.Thread(target=lambda: settle(sender, 20.0)).start()
    assert receive(receiver) == LARGE
    until(lambda: bool(outcome), "an outcome")


def test_an_application_is_told_that_the_system_does_not_read(make: Callable[[], UnixTransport]) -> None:
    deaf, backlog = make(), Backlog()
    path = path_of(deaf.myAddress) or ""
    boxes = [Mailbox(path, make(), backlog) for _ in range(70)]
    for box in boxes[:67]:
        box.send(LARGE)
    assert backlog.requests == 67
    with pytest.raises(OverloadedError, match="does not read: 67 requests"):
        boxes[67].send(LARGE)
    assert backlog.requests == 67
    for box in boxes:
        box.close()
    assert (backlog.requests, backlog.size) == (0, 0)


def test_many_small_requests_are_too_many_as_well(
    make: Callable[[], UnixTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "MAX_UNREAD_REQUESTS", 2)
    deaf, backlog = make(), Backlog()
    box = Mailbox(path_of(deaf.myAddress) or "", make(), backlog)
    box.send(LARGE)
    box.send(ListProcesses("a"))
    with pytest.raises(OverloadedError):
        box.send(ListProcesses("b"))
    box.close()


def test_what_has_not_been_read_is_not_sent_again(make: Callable[[], UnixTransport]) -> None:
    deaf, end, backlog = make(), make(), Backlog()
    box = Mailbox(path_of(deaf.myAddress) or "", end, backlog)
    message = ListProcesses(LARGE)
    for _ in range(5):
        box.send(message)
        assert box.receive(0.0) is None
    assert backlog.requests == 1
    heard = threading.Event()

    def listen() -> None:
        while not heard.is_set():
            box.receive(0.1)

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        assert receive(deaf) == message
    finally:
        heard.set()
        listener.join()
    assert box.receive(0.0) is None
    assert backlog.requests == 0
    box.send(message)
    box.close()


def test_a_request_to_the_dead_leaves_no_backlog(make: Callable[[], UnixTransport]) -> None:
    gone, backlog = make(), Backlog()
    box = Mailbox(path_of(gone.myAddress) or "", make(), backlog)
    gone.close()
    box.send(DrainSagas())
    assert box.receive(0.0) is None
    assert backlog.requests == 0
    box.close()
    box.send(DrainSagas())
    assert backlog.requests == 0


@dataclass(frozen=True)
class Carry(SagaStep):
    """A step with an input that the kernel does not take at once."""

    load: bytes

    def execute(self) -> None:
        return None

    def compensate(self) -> None:
        return None


def test_callers_of_a_system_that_stands_still_are_told_and_those_who_wait_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "MAX_UNREAD_BYTES", 1_000_000)
    sagas = [SagaDefinition(name).add_step(Carry(b"x" * 900_000)) for name in ("first", "second")]
    done: list[Any] = []
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as orchestrator:
        supervisor = supervisor_of(orchestrator)
        send_signal(supervisor, signal.SIGSTOP)
        patient = threading.Thread(target=lambda: done.append(orchestrator.execute(sagas[0])))
        try:
            patient.start()
            until(lambda: mailbox._backlog.requests == 1, "a request that waits")
            with pytest.raises(OverloadedError, match="does not read"):
                orchestrator.start(sagas[1])
        finally:
            send_signal(supervisor, signal.SIGCONT)
        patient.join(20.0)
        assert done == [[]]
        assert orchestrator.execute(sagas[1]) == []
    assert mailbox._backlog.requests == 0


def supervisor_of(orchestrator: SagaOrchestrator) -> ProcessIdentity:
    pid = next(process.pid for process in orchestrator.processes() if process.role == "supervisor")
    identity = identity_of(pid)
    assert identity is not None
    return identity
