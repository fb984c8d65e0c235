"""An application's end in a running actor system: it sends requests to the supervisor, and receives the answers."""

from __future__ import annotations

import resource
import threading
from datetime import timedelta
from typing import Any

from thespian.actors import ActorExitRequest, ActorSystemFailure, WatchMessage
from thespian.system.transport import ReceiveEnvelope, SendStatus

from antistrophe.errors import OverloadedError, SystemUnavailableError
from antistrophe.transport.address import address_of
from antistrophe.transport.codec import pack_message
from antistrophe.transport.connection import framed
from antistrophe.transport.outgoing_message import OutgoingMessage
from antistrophe.transport.transport import UnixTransport

MAX_UNREAD_REQUESTS = 1_000
MAX_UNREAD_BYTES = 64 * 1024 * 1024


class Backlog:
    """Counts the requests that this process has sent and the system has not read, over all mailboxes. Any thread may
    use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = 0
        self.size = 0

    def add(self, size: int) -> None:
        """Count a request. Raises OverloadedError where too much waits already; a single request is always taken."""
        with self._lock:
            if self.requests and (self.requests >= MAX_UNREAD_REQUESTS or self.size + size > MAX_UNREAD_BYTES):
                raise OverloadedError(
                    f"the actor system does not read: {self.requests} requests ({self.size} bytes) of this process are"
                    " waiting for it to read them; try again later"
                )
            self.requests += 1
            self.size += size

    def remove(self, size: int) -> None:
        """A request of this size was read, or will never be."""
        with self._lock:
            self.requests -= 1
            self.size -= size


_backlog = Backlog()


class Mailbox:
    """One thread at a time may receive, any may send. A message may be lost, so one that can't be delivered raises no
    error::

        mailbox = Mailbox(ready.supervisor)
        mailbox.send(GetSaga("c", "order-17"))
        answer = mailbox.receive(timeout_s=1.0)

    ``supervisor`` is the path of the supervisor's socket; ``transport`` is used in place of one made here. Raises
    SystemUnavailableError where no socket can be made, and OverloadedError where this process has no descriptor left.
    """

    def __init__(self, supervisor: str, transport: UnixTransport | None = None, backlog: Backlog = _backlog) -> None:
        self._supervisor = address_of(supervisor)
        self._backlog = backlog
        self._unread: dict[int, Any] = {}  # by id(), which holds as long as the message is here
        try:
            self._transport = transport or UnixTransport(None, self._supervisor)
        except ActorSystemFailure as error:
            raise SystemUnavailableError(str(error)) from error
        except OSError as error:
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            raise OverloadedError(
                f"this process has no room for a connection to the actor system: {error.strerror} (it may have"
                f" {soft} files open; `ulimit -n`, LimitNOFILE)"
            ) from error

    def send(self, message: Any) -> None:
        """Send to the supervisor without waiting for it to read. A message that it has not begun to read is not sent
        again.

        Raises OverloadedError where too much waits for it already, NotSerializableError for what can't travel, and
        PayloadTooLargeError. The system drops a message with a field of another type than declared, and nobody answers:
        the caller has checked what users gave.
        """
        if id(message) in self._unread:
            return
        frame = framed(pack_message(message))
        self._backlog.add(len(frame))
        self._unread[id(message)] = message
        try:
            self._transport.post(self._supervisor, frame, message, self._settled)
        except (ActorSystemFailure, OSError):
            self._backlog.remove(len(frame))
            self._unread.pop(id(message), None)

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or the process was forked."""
        return self._transport.closed

    def receive(self, timeout_s: float | None, beside: int | None = None) -> Any:
        """The next message; None when ``timeout_s`` have passed (None: no limit), when the descriptor ``beside`` can be
        read, and when `wake` or `close` was called."""
        self._transport.set_watch(() if beside is None else (beside,))
        result = self._transport.run(None, None if timeout_s is None else timedelta(seconds=timeout_s))
        if not isinstance(result, ReceiveEnvelope) or isinstance(result.message, ActorExitRequest | WatchMessage):
            return None
        return result.message

    def wake(self) -> None:
        """End a `receive` that another thread is in, or the next one."""
        # The transport keeps this reason until the next run, if none is under way; `receive` ignores the message that
        # it delivers for it.
        self._transport.interrupt_wait(signal_shutdown=True)

    def close(self) -> None:
        """Leave the actor system: messages that are still sent here fail at their sender."""
        self._transport.close()

    def _settled(self, _status: SendStatus.BASE, outgoing: OutgoingMessage) -> None:
        """The kernel has taken the message, or it has failed."""
        self._backlog.remove(len(outgoing.frame))
        self._unread.pop(id(outgoing.message), None)
