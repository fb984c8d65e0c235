"""A keeper in a process of its own, and the channel between it and a supervisor that is played by a test.

The channel is a pair of sockets that keeps messages whole (SOCK_SEQPACKET). Each message is msgpack, of a kind from a
closed set.
"""

from __future__ import annotations

import math
import select
import socket
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from antistrophe.hosts.keeper import HostKeeper, KeeperTerms
from antistrophe.hosts.keeper_messages import Order, Report
from antistrophe.hosts.stored_hosts import open_for_host
from antistrophe.linux.dead_man import boot_time
from antistrophe.linux.process import die_with_parent

_LARGEST_BYTES = 1 << 20

Sent = TypeVar("Sent")
Heard = TypeVar("Heard")


class Channel(Generic[Sent, Heard]):
    """One end of the channel."""

    def __init__(self, own: socket.socket, hears: object) -> None:
        self._socket = own
        self._decoder = msgspec.msgpack.Decoder(hears)
        self._encoder = msgspec.msgpack.Encoder()

    def fileno(self) -> int:
        """The descriptor that is readable when there is something to hear."""
        return self._socket.fileno()

    def send(self, message: Sent) -> None:
        """Send a message. It waits while the other end does not listen. Raises OSError where that is gone."""
        self._socket.sendall(self._encoder.encode(message))

    def receive(self, within_s: float) -> Sequence[Heard] | None:
        """What has come, after at most so many seconds (infinity: however long it takes); None where the other end is
        gone."""
        waits_ms = None if within_s == math.inf else max(0.0, within_s) * 1000
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        heard: list[Heard] = []
        while poll.poll(0 if heard else waits_ms):
            try:
                data = self._socket.recv(_LARGEST_BYTES)
            except ConnectionError:
                data = b""
            if not data:
                return heard or None
            heard.append(self._decoder.decode(data))
        return heard

    def close(self) -> None:
        """Close this end: the other one learns it."""
        self._socket.close()


def open_channel() -> tuple[Channel[Order, Report], Channel[Report, Order]]:
    """The two ends: the supervisor's, and the keeper's."""
    supervisors, keepers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(supervisors, Report), Channel(keepers, Order)


def keep(url: str, terms: KeeperTerms, channel: Channel[Report, Order], supervisor_pid: int) -> None:
    """Keep a lease until the supervisor has it handed over, or is gone: what the process of the keeper does. The
    supervisor forks it from its main thread, and is watched by the kernel: other forks may keep its channel open.
    """
    die_with_parent(supervisor_pid)
    keeper = HostKeeper(terms, lambda: open_for_host(url, terms.lease_s), channel.send)
    try:
        while not keeper.done:
            orders = channel.receive(keeper.turn() - boot_time())
            if orders is None:
                return
            for order in orders:
                keeper.obey(order)
    except (BrokenPipeError, ConnectionError):  # the supervisor is gone
        return
    finally:
        keeper.close()
