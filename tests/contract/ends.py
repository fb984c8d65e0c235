"""Ends of an actor system by themselves, without a system: what a test sends with and receives at."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from thespian.system.transport import ReceiveEnvelope, SendStatus, TransmitIntent, TransmitOnly

from antistrophe.transport.address import address_of
from antistrophe.transport.transport import UnixTransport
from tests.contract.base_system import WAIT_S


@contextlib.contextmanager
def ends_in(folder: Path) -> Iterator[Callable[[], UnixTransport]]:
    """Makes ends in this folder; all are closed in the end."""
    ends: list[UnixTransport] = []

    def make() -> UnixTransport:
        ends.append(UnixTransport(None, address_of(str(folder / "admin"))))
        return ends[-1]

    try:
        yield make
    finally:
        for end in ends:
            end.close()


def send(end: UnixTransport, to: UnixTransport | str, message: Any, **options: Any) -> list[SendStatus.BASE]:
    """Send, and collect what became of it."""
    address = address_of(to) if isinstance(to, str) else to.myAddress
    outcome: list[SendStatus.BASE] = []
    note = lambda status, _intent: outcome.append(status)  # noqa: E731
    end.scheduleTransmit(None, TransmitIntent(address, message, onSuccess=note, onError=note, **options))
    return outcome


def receive(end: UnixTransport) -> Any:
    """The next message."""
    envelope = end.run(None, timedelta(seconds=WAIT_S))
    assert isinstance(envelope, ReceiveEnvelope), "nothing came"
    return envelope.message


def settle(end: UnixTransport, seconds: float = 0.05) -> Any:
    """Send only, for so long at the most; answers with how much waits."""
    return end.run(TransmitOnly, timedelta(seconds=seconds))
