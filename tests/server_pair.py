"""Two servers of PostgreSQL, of which one follows the other and takes over when it dies."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from tests.postgres_cluster import USER, PostgresCluster
from tests.waiting import until

DATABASE = "shop"
_WAITING = "SELECT {}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
CANCEL_WAITS, END_WAITING = _WAITING.format("pg_cancel_backend"), _WAITING.format("pg_terminate_backend")
"""End each wait of a commit for the standby; or the sessions that wait."""


class ServerPair:
    """``primary`` and ``standby`` at present. A commit waits until the standby has it on disk, unless the pair is not
    ``synchronous``.

    ``url`` names both, whoever is which: a client comes to the first one that takes writes. ``lasting``: the processes
    that go on when a test ends (the fixture ``lasting_processes``).
    """

    def __init__(
        self, primary: PostgresCluster, standby: PostgresCluster, lasting: set[int], *, synchronous: bool
    ) -> None:
        self.primary, self.standby = primary, standby
        self._lasting = lasting
        for server in (primary, standby):
            self.start(server)
        folders = f"{primary.sockets},{standby.sockets}"
        self.url = f"postgresql:///{DATABASE}?host={folders}&user={USER}&target_session_attrs=read-write"
        primary.sql(f"CREATE DATABASE {DATABASE}")
        if synchronous:
            primary.wait_for_standby()

    def start(self, server: PostgresCluster) -> None:
        """Start a server of the pair, where it does not run."""
        server.start()
        assert server.pid is not None
        self._lasting.add(server.pid)

    @contextlib.contextmanager
    def without_standby(self) -> Iterator[None]:
        """The standby is killed, and comes back at the end.

        The primary knows that it is gone. If it came back before that, commits would wait for the old connection, and
        be told of only when the standby next says by itself how far it is (``wal_receiver_status_interval``).
        """
        self.standby.kill()
        until(lambda: not self.primary.sql("SELECT pid FROM pg_stat_replication"), "the standby is gone")
        try:
            yield
        finally:
            self.start(self.standby)
            self.primary.wait_for_standby()

    def fail_over(self) -> PostgresCluster:
        """Kill the primary, and have the standby take over. Returns the server that has lost."""
        lost, self.primary = self.primary, self.standby
        lost.kill()
        self.start(self.primary)  # where it had fallen behind, it takes over with what it has
        self.primary.promote()
        return lost

    def fall_behind(self, for_s: float) -> None:
        """The standby is gone, and somebody cancels each commit that waits for it: the primary has what nobody else
        has, and shows it."""
        self.standby.kill()
        end = time.monotonic() + for_s
        while time.monotonic() < end:
            self.primary.sql(CANCEL_WAITS)

    def rejoin(self, lost: PostgresCluster) -> None:
        """The server that has lost follows the one that has won, as an operator sees to it."""
        lost.kill()
        lost.follow(self.primary)
        self.start(lost)
        self.standby = lost
        self.primary.wait_for_standby()


@contextlib.contextmanager
def server_pair(lasting: set[int], *, synchronous: bool = True) -> Iterator[ServerPair]:
    """A pair, for as long as the ``with`` lasts."""
    with PostgresCluster() as one, PostgresCluster(of=one) as two:
        yield ServerPair(one, two, lasting, synchronous=synchronous)
