"""One private end in a running actor system: sends to its supervisor, and receives what is sent back."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

from thespian.actors import ActorExitRequest, ActorSystemFailure
from thespian.system.transport import ReceiveEnvelope, TransmitIntent

from antistrophe.errors import SystemUnavailableError
from antistrophe.system.address import address_of
from antistrophe.system.transport import UnixTransport


class Mailbox:
    """For one thread at a time. Messages may be lost, so there is no error for one that can't be delivered.

    ``supervisor`` is the path of its socket. ``transport``: use this end, instead of one made here. Raises
    SystemUnavailableError where there is no place for a socket.
    """

    def __init__(self, supervisor: str, transport: UnixTransport | None = None) -> None:
        self._supervisor = address_of(supervisor)
        try:
            self._transport = transport or UnixTransport(None, self._supervisor)
        except ActorSystemFailure as error:
            raise SystemUnavailableError(str(error)) from error

    def send(self, message: Any) -> None:
        """Send to the supervisor. Does not wait for it to read."""
        with contextlib.suppress(ActorSystemFailure, OSError):
            self._transport.scheduleTransmit(None, TransmitIntent(self._supervisor, message))

    def receive(self, timeout_s: float) -> Any:
        """The next message; None when ``timeout_s`` have passed, or `wake` was called."""
        result = self._transport.run(None, timedelta(seconds=timeout_s))
        if not isinstance(result, ReceiveEnvelope) or isinstance(result.message, ActorExitRequest):
            return None
        return result.message

    def wake(self) -> None:
        """End a `receive` that another thread is in, or the next one."""
        # The reason is one that the transport does not forget when no run is under way just then; what it delivers for
        # it is no message of ours.
        self._transport.interrupt_wait(signal_shutdown=True)

    def close(self) -> None:
        """Leave the actor system: what is still sent here fails at its sender."""
        self._transport.close()
