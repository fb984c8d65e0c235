"""A host that is stopped does not outlive its lease: real processes, and a taker that finds none of them alive."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from antistrophe.hosts.holder import LeaseHolder
from antistrophe.hosts.keeper import HostKeeper
from antistrophe.hosts.keeper_messages import AllDead, Claimed, Fence, Registered, Report, SetLoad
from antistrophe.hosts.lease import LeasePhase
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.linux.dead_man import DeadMansSwitch, boot_time
from antistrophe.linux.process import ProcessIdentity, die_with_parent, identity_of, is_alive, send_signal
from antistrophe.storage.postgres import PostgresDatabase, open_postgres
from tests.contract.hosts_kit import add_sagas, terms
from tests.contract.keeper_process import keep, open_channel
from tests.waiting import until

LEASE_S = 5.0
LOOK_S = 0.02


class RealHost:
    """A supervisor with a keeper and one attempt, each a process. The attempt does not end by itself."""

    def __init__(self, url: str) -> None:
        self._told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                _supervise(url, tell)
            finally:
                os._exit(1)
        os.close(tell)
        self.supervisor = _known(pid)
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(self._told, 200)
        self.keeper, self.attempt = (_known(int(word)) for word in line.split())

    @property
    def all(self) -> tuple[ProcessIdentity, ...]:
        return (self.supervisor, self.keeper, self.attempt)

    def close(self) -> None:
        os.close(self._told)
        for each in self.all:
            send_signal(each, signal.SIGKILL)
        os.waitpid(self.supervisor.pid, 0)


def _known(pid: int) -> ProcessIdentity:
    identity = identity_of(pid)
    assert identity is not None
    return identity


def _supervise(url: str, tell: int) -> None:
    """Hold a lease, with an attempt while it is valid. Tells the pids of keeper and attempt once both are there.

    A lease that was over before an attempt began, on a busy machine, is followed by another one.
    """
    me = os.getpid()
    channel, theirs = open_channel()
    keeper = os.fork()
    if keeper == 0:
        channel.close()
        keep(url, terms("frozen", lease_s=LEASE_S), theirs, me)
        os._exit(0)
    holder = LeaseHolder(DeadMansSwitch())
    attempt = 0
    while (reports := channel.receive(LOOK_S)) is not None:
        for report in reports:
            holder.hear(report, boot_time())
        phase = holder.phase(boot_time())
        if phase is LeasePhase.VALID and not attempt:
            attempt = _attempt(me)
            os.write(tell, b"%d %d\n" % (keeper, attempt))
        elif phase is not LeasePhase.VALID and attempt:
            os._exit(0)  # the attempt dies along
        elif phase in (LeasePhase.FENCED, LeasePhase.KILLING):
            holder.all_dead(boot_time())
            for order in (Fence(), AllDead()):
                channel.send(order)


def _attempt(supervisor: int) -> int:
    pid = os.fork()
    if pid == 0:
        die_with_parent(supervisor)
        while True:
            signal.pause()
    return pid


@pytest.mark.parametrize("stopped", ["all", "supervisor", "keeper"])
def test_when_a_taker_takes_nothing_of_a_stopped_host_is_alive(
    empty_postgres: str, database: PostgresDatabase, stopped: str
) -> None:
    host = RealHost(empty_postgres)
    with contextlib.closing(host):
        (lease,) = StoredHosts(database).look().leases
        add_sagas(database, lease.host, ("s", "executing"))
        for each in host.all if stopped == "all" else [getattr(host, stopped)]:
            send_signal(each, signal.SIGSTOP)
        reports: list[Report] = []
        # It goes by the lease of the other. Its own one is long: nobody brings it back where this machine stands still.
        taker = HostKeeper(terms("taker", lease_s=60.0), lambda: open_postgres(empty_postgres), reports.append)
        with contextlib.closing(taker):
            until(lambda: _claims(taker, reports), "the saga is claimed", within_s=30)
        assert [each for each in (host.attempt, host.supervisor) if is_alive(each)] == []


def _claims(taker: HostKeeper, reports: list[Report]) -> bool:
    taker.turn()
    if any(isinstance(each, Registered) for each in reports):
        taker.obey(SetLoad(0, 1, 0))
    return any(isinstance(each, Claimed) for each in reports)
