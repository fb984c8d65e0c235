"""What a message, a wakeup and a child cost does not depend on how many there are: counted in lines, not in time."""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
from thespian.actors import ActorAddress
from thespian.system.addressManager import ActorAddressManager
from thespian.system.messages.multiproc import EndpointConnected
from thespian.system.transport import ReceiveEnvelope

from antistrophe.transport.actor_manager import ActorManager
from antistrophe.transport.address import address_of
from antistrophe.transport.forks import Forks
from antistrophe.transport.transport import UnixTransport
from tests.contract.ends import ends_in, receive, send

ME = address_of("/run/me")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[], UnixTransport]]:
    with ends_in(tmp_path) as make:
        yield make


def work(act: Callable[[], object]) -> int:
    """How many lines of Python are run, and how many functions called that are written in C."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    def profile(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "c_call"

    before = sys.gettrace()
    gc.disable()  # a collection that falls into it runs finalizers, and callbacks of whoever listens
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        act()
    finally:
        sys.setprofile(None)
        sys.settrace(before)
        gc.enable()
    return count


def least(act: Callable[[], object]) -> int:
    """Its work where nothing else is due: what waits is looked at once in a while, too."""
    return min(work(act) for _ in range(3))


def test_a_message_costs_the_same_among_two_peers_and_two_hundred(make: Callable[[], UnixTransport]) -> None:
    centre, friend = make(), make()

    def round_trip() -> None:
        send(centre, friend, "there")
        assert receive(friend) == "there"
        send(friend, centre, "and back")
        assert receive(centre) == "and back"

    round_trip()
    few = work(round_trip)
    others = [make() for _ in range(200)]
    for other in others:
        send(centre, other, "hello")
        send(other, centre, "hello")
    assert [receive(centre) for _ in others] == ["hello"] * 200
    assert work(round_trip) == few


def test_a_message_costs_the_same_whatever_waits_for_peers_that_do_not_read(make: Callable[[], UnixTransport]) -> None:
    sender, friend, deaf = make(), make(), make()
    send(sender, deaf, "x" * 1_000_000)
    send(sender, friend, "hello")
    assert receive(friend) == "hello"
    few = least(lambda: send(sender, friend, "there"))
    for number in range(500):
        send(sender, deaf, number)
    assert least(lambda: send(sender, friend, "there")) == few


def test_wakeups_cost_the_same_however_many_are_pending(make: Callable[[], UnixTransport]) -> None:
    end = make()

    def ring() -> None:
        end.addWakeup(timedelta(0), "now")
        assert receive(end).payload == "now"

    ring()
    few = work(ring)
    for number in range(5_000):
        end.addWakeup(600 + number, "later")
    assert work(ring) == few


# --- children ---------------------------------------------------------------------------------------------------------


class Process:
    """As much of a child's process as Thespian looks at."""

    pid = -1  # of nobody: so its death can't be watched, and has to be looked for

    def __init__(self) -> None:
        self.alive = True

    def is_alive(self) -> bool:
        return self.alive


class Brood:
    """A manager as Thespian makes it, with children that are played."""

    def __init__(self) -> None:
        self.told: list[ActorAddress] = []
        addresses: Any = ActorAddressManager(ME, ME)  # type: ignore[call-arg]
        self.manager: Any = SimpleNamespace(
            _addrManager=addresses,
            _children=[],
            _receiveQueue=[],
            actorInst=None,
            transport=SimpleNamespace(myAddress=ME),
            handleMessages=self._hear,
            _pendingActorReady=self._ready,
        )
        self.end = SimpleNamespace(forget_peer=lambda path: None)
        self.actor_manager = ActorManager(self.manager, self.end, lambda drain: None, "/run/nobody")
        self.born = 0

    def _hear(self, envelope: ReceiveEnvelope) -> bool:
        self.told.append(envelope.message.childAddress)
        return bool(self.manager._handleChildExited(envelope.message.childAddress))

    def _ready(self, number: int, address: ActorAddress) -> None:
        self.manager._addrManager.associateUseableAddress(ME, number, address)
        self.manager._children.append(address)

    def bear(self) -> Any:
        """Fork a child, and have it report."""
        local = self.manager._addrManager.createLocalAddress()
        child = SimpleNamespace(childAddr=local, childProc=Process(), childNum=local.addressDetails.addressInstanceNum)
        self.manager._child_procs.append(child)
        self.actor_manager.forked()
        envelope = ReceiveEnvelope(address_of(f"/run/{self.born}"), EndpointConnected(child.childNum))
        self.manager.h_EndpointConnected(envelope)
        self.born += 1
        return child

    def bury(self, child: Any) -> None:
        """The end of a child, twice told."""
        child.childProc.alive = False
        self.actor_manager._died(child.childNum)
        self.manager._handleChildExited(child.childRealAddr)


def test_a_child_costs_the_same_among_two_and_a_thousand_and_after_thousands_of_dead() -> None:
    brood = Brood()
    for _ in range(2):
        brood.bury(brood.bear())

    def life() -> None:
        brood.bury(brood.bear())

    for _ in range(200):
        life()
    few = work(life)
    living = [brood.bear() for _ in range(1_000)]
    assert work(life) == few
    for _ in range(3_000):
        life()
    assert work(life) == few
    assert len(brood.manager._children) == len(brood.actor_manager.processes) == len(living)
    assert brood.actor_manager._addresses.kept <= len(living) + 200
    assert len(brood.manager._awaitingAddressUpdate._intents) == 0


def test_every_death_is_told_once_with_the_address_that_reported() -> None:
    brood = Brood()
    children = [brood.bear() for _ in range(5)]
    for child in children[1:3]:
        child.childProc.alive = False
    assert brood.manager.childDied()
    assert brood.manager.childDied()
    assert brood.told == [child.childRealAddr for child in children[1:3]]
    assert list(brood.manager._children) == [children[number].childRealAddr for number in (0, 3, 4)]


def test_what_waits_for_a_child_that_dies_before_it_reports_has_failed() -> None:
    brood = Brood()
    local = brood.manager._addrManager.createLocalAddress()
    done: list[Any] = []
    brood.manager._awaitingAddressUpdate.add(local, SimpleNamespace(tx_done=done.append))
    child = SimpleNamespace(childAddr=local, childProc=Process(), childNum=0)
    brood.manager._child_procs.append(child)
    brood.actor_manager.forked()
    child.childProc.alive = False
    brood.manager.childDied()
    assert len(done) == 1
    assert brood.told == [local]


def test_a_fork_that_fails_leaves_nothing_open_and_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    brood = Brood()
    brood.manager._startChildActor = lambda *_args, **_options: Forks().Process(target=print).start()
    monkeypatch.setattr(os, "fork", no_room)
    before = os.listdir("/proc/self/fd")
    for _ in range(1_000):
        with pytest.raises(BlockingIOError):
            brood.manager.createActor(object, None, None, None)
    assert os.listdir("/proc/self/fd") == before
    assert brood.manager._receiveQueue == [], "what was never born does not die"
    assert brood.actor_manager._addresses.kept <= 200
