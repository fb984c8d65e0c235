"""A client's one connection to the supervisor: it carries all requests, and hands each answer to whoever waits."""

from __future__ import annotations

import logging
import threading
from queue import Empty, SimpleQueue
from typing import Any

from antistrophe.errors import OverloadedError
from antistrophe.launcher.system import System
from antistrophe.transport.mailbox import Mailbox

log = logging.getLogger("antistrophe")

_END_S = 2.0


class Inbox:
    """What has arrived for one request. It holds no descriptor, so as many requests may wait as there are threads."""

    __slots__ = ("_arrived",)

    def __init__(self) -> None:
        self._arrived: SimpleQueue[Any] = SimpleQueue()

    def put(self, message: Any) -> None:
        """Have the thread that waits take this message."""
        self._arrived.put(message)

    def wake(self) -> None:
        """End a `receive` that another thread is in, or the next one."""
        self._arrived.put(None)

    def receive(self, timeout_s: float) -> Any:
        """The next message; None when ``timeout_s`` have passed, or `wake` was called."""
        try:
            return self._arrived.get(timeout=timeout_s)
        except Empty:
            return None


class Connection:
    """The connection to one incarnation of the system. Any number of threads may send, and each waits at the inbox of
    its own request; one thread, which is the connection's, receives for all of them.

    Raises SystemUnavailableError where no socket can be made, OverloadedError where this process has no room for the
    connection.
    """

    def __init__(self, system: System) -> None:
        self.system = system
        self._inboxes: dict[str, Inbox] = {}
        self._mailbox = Mailbox(system.supervisor)
        self._thread = threading.Thread(target=self._run, name="antistrophe-answers", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._mailbox.close()
            raise OverloadedError(f"this process can't start the thread that receives answers: {error}") from error

    @property
    def closed(self) -> bool:
        """Whether nothing can be heard here any more."""
        return self._mailbox.closed

    @property
    def waiting(self) -> int:
        """How many requests wait for an answer."""
        return len(self._inboxes)

    def inbox(self, correlation: str) -> Inbox:
        """The inbox for what answers this correlation, until `forget`."""
        return self._inboxes.setdefault(correlation, Inbox())

    def forget(self, correlation: str) -> None:
        """Nobody waits for an answer to this correlation any more. One that comes later is dropped."""
        self._inboxes.pop(correlation, None)

    def send(self, message: Any) -> None:
        """Send a request; see ``Mailbox.send``."""
        self._mailbox.send(message)

    def wake(self) -> None:
        """Have every thread that waits look at the state of the system."""
        for inbox in list(self._inboxes.values()):
            inbox.wake()

    def close(self) -> None:
        """End the connection, and wake all who wait for it."""
        self._mailbox.close()
        self.wake()

    def join(self) -> None:
        """Wait until the thread of a closed connection has ended."""
        self._thread.join(_END_S)

    def _run(self) -> None:
        """Receive until the connection is closed. A connection that fails is closed: those who wait make another."""
        try:
            while not self._mailbox.closed:
                message = self._mailbox.receive(None)
                inbox = self._inboxes.get(getattr(message, "correlation", ""))
                if inbox is not None:
                    inbox.put(message)
        except Exception:
            if not self._mailbox.closed:  # the garbage collector may close it in the midst of this thread's work
                log.exception("the connection to the actor system failed")
        finally:
            self.close()
