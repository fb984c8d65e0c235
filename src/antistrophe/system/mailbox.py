"""One private end in a running actor system: sends to its supervisor, and receives what is sent back."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

from thespian.actors import ActorSystemFailure
from thespian.system.transport import ReceiveEnvelope, TransmitIntent

from antistrophe.system.address import address_of
from antistrophe.system.transport import UnixTransport


class Mailbox:
    """For one thread at a time. Messages may be lost, so there is no error for one that can't be delivered.

    ``supervisor`` is the path of its socket. ``transport``: use this end, instead of one made here.
    """

    def __init__(self, supervisor: str, transport: UnixTransport | None = None) -> None:
        self._supervisor = address_of(supervisor)
        self._transport = transport or UnixTransport(None, self._supervisor)

    def send(self, message: Any) -> None:
        """Send to the supervisor. Does not wait for it to read."""
        with contextlib.suppress(ActorSystemFailure, OSError):
            self._transport.scheduleTransmit(None, TransmitIntent(self._supervisor, message))

    def receive(self, timeout_s: float) -> Any:
        """The next message; None when ``timeout_s`` have passed, or `wake` was called meanwhile."""
        result = self._transport.run(None, timedelta(seconds=timeout_s))
        return result.message if isinstance(result, ReceiveEnvelope) else None

    def wake(self) -> None:
        """End a `receive` that another thread is in (if it is in one by now)."""
        self._transport.abort_run()
        self._transport.interrupt_wait()

    def close(self) -> None:
        """Leave the actor system: what is still sent here fails at its sender."""
        self._transport.close()
