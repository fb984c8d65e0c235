"""The process of a keeper, its network, and the channel to its supervisor."""

from __future__ import annotations

import os
import signal

import msgspec
import pytest

from antistrophe.hosts.keeper_messages import (
    AllDead,
    Confirmed,
    Fence,
    Fenced,
    HandOver,
    Refused,
    Registered,
    Report,
    SetLoad,
    Trouble,
)
from antistrophe.hosts.lease import LapsedLease
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.linux.dead_man import boot_time
from antistrophe.storage.postgres import PostgresDatabase
from tests.contract.hosts_kit import terms
from tests.contract.keeper_process import keep, open_channel
from tests.tcp_proxy import TcpProxy


class Kept:
    """The process of a keeper, and its supervisor's end of the channel."""

    def __init__(self, url: str, lease_s: float) -> None:
        self.ours, theirs = open_channel()
        self.reports: list[Report] = []
        me = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.ours.close()
                keep(url, terms(lease_s=lease_s), theirs, me)
                os._exit(0)
            finally:
                os._exit(1)
        theirs.close()

    def wait_for(self, kind: type[Report], within_s: float = 30.0) -> Report:
        """The next report of this kind. Where the host is fenced before, it comes back: a busy machine may do that."""
        deadline = boot_time() + within_s
        while boot_time() < deadline:
            while self.reports:
                each = self.reports.pop(0)
                if isinstance(each, kind):
                    return each
                if isinstance(each, Fenced):
                    self.ours.send(AllDead())
            heard = self.ours.receive(0.1)
            assert heard is not None, "the keeper is gone"
            self.reports += heard
        raise AssertionError(f"no {kind.__name__} came")

    def end(self) -> int:
        """Leave it, and return its exit code."""
        self.ours.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.parametrize("trouble", ["cut", "hold"])
def test_its_process_outlives_a_network_that_is_cut_or_half_open(
    empty_postgres: str, database: PostgresDatabase, trouble: str
) -> None:
    """The lease is short, so a busy machine may fence the host once more; that it comes back is what counts."""
    with TcpProxy(empty_postgres) as proxy:
        kept = Kept(proxy.url, lease_s=2.0)
        try:
            kept.wait_for(Registered)
            kept.wait_for(Confirmed)
            getattr(proxy, trouble)()
            kept.wait_for(Fenced)
            proxy.come_back(lose_held=True)
            kept.ours.send(AllDead())
            kept.wait_for(Registered)
            kept.wait_for(Confirmed)
        finally:
            code = kept.end()
    assert code == 0
    ended = sorted(each.ended or "" for each in StoredHosts(database).records())
    assert ended == ["", *["handed over"] * (len(ended) - 1)]
    assert len(ended) > 1


def test_a_keeper_ends_with_its_supervisor_and_leaves_the_lease_to_lapse(
    empty_postgres: str, database: PostgresDatabase
) -> None:
    kept = Kept(empty_postgres, lease_s=5.0)
    kept.wait_for(Registered)
    assert kept.end() == 0
    assert [each.ended for each in StoredHosts(database).records()] == [None]


def test_a_keeper_that_is_stopped_renews_no_more(empty_postgres: str, database: PostgresDatabase) -> None:
    kept = Kept(empty_postgres, lease_s=60.0)
    try:
        host = kept.wait_for(Registered)
        os.kill(kept.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, kept.pid, os.WSTOPPED)
        look = StoredHosts(database).look()
        assert isinstance(host, Registered)
        assert StoredHosts(database).end_lapsed(LapsedLease(host.host, look.leases[0].counter, look.server), "b")
        os.kill(kept.pid, signal.SIGCONT)
        kept.ours.send(SetLoad(0, 1, 0))  # the others learn at once that it has room, with a renewal
        kept.wait_for(Refused)
    finally:
        os.kill(kept.pid, signal.SIGCONT)
        kept.end()


def test_the_channel_keeps_messages_whole_and_tells_that_the_other_end_is_gone() -> None:
    ours, theirs = open_channel()
    ours.send(SetLoad(1, 2, 3))
    ours.send(HandOver())
    assert theirs.receive(5.0) == [SetLoad(1, 2, 3), HandOver()]
    assert theirs.receive(0.0) == []
    ours.send(Fence())
    ours.close()
    assert theirs.receive(5.0) == [Fence()]
    assert theirs.receive(5.0) is None
    with pytest.raises(BrokenPipeError):
        theirs.send(Trouble(None))
    theirs.close()


def test_what_is_no_message_is_refused() -> None:
    ours, theirs = open_channel()
    ours._socket.sendall(b"\x93garbage")
    with pytest.raises(msgspec.MsgspecError):
        theirs.receive(5.0)
    ours.close()
    theirs.close()
