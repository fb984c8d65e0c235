"""A client's one connection to the supervisor: it carries all requests, and hands each answer to whoever waits.

No thread of its own receives. Of the threads that wait, one reads for all: it puts each answer into the inbox of its
request, until its own has come; then it has the next thread that waits read. So a caller that is alone waits at the
socket itself, and nothing has to wake it a second time.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from antistrophe.client.deadline import Deadline
from antistrophe.launcher.system import System
from antistrophe.transport.mailbox import Mailbox

log = logging.getLogger("antistrophe")

_END_S = 2.0
_OVERDUE_S = 10.0
"""A thread that reads so long after the end of its wait has left in the midst of it."""

_YOUR_TURN = object()


class Inbox:
    """What has arrived for one request. It holds no descriptor, so as many requests may wait as there are threads.
    ``waits``: its thread waits for another one that reads."""

    __slots__ = ("_arrived", "waits")

    def __init__(self) -> None:
        self._arrived: SimpleQueue[Any] = SimpleQueue()
        self.waits = False

    @property
    def empty(self) -> bool:
        return self._arrived.empty()

    def put(self, message: Any) -> None:
        """Have the thread that waits take this message; None: have it look at the state of the system."""
        self._arrived.put(message)

    def take(self, timeout_s: float) -> Any:
        """What was put in next; None when ``timeout_s`` have passed."""
        try:
            return self._arrived.get(timeout=timeout_s)
        except Empty:
            return None


class Connection:
    """The connection to one incarnation of the system. Any number of threads may send, and each waits at the inbox of
    its own request.

    A thread that is interrupted while it waits leaves the reading to another one. Where it is interrupted in the midst
    of a message, the connection is closed: those who wait make another. Raises SystemUnavailableError where no socket
    can be made, OverloadedError where this process has no room for the connection.
    """

    def __init__(self, system: System) -> None:
        self.system = system
        self._inboxes: dict[str, Inbox] = {}
        self._mailbox = Mailbox(system.supervisor)
        self._lock = threading.RLock()  # a signal's handler may make calls, too
        self._receiving = threading.Lock()
        self._reader: Inbox | None = None
        self._next: Inbox | None = None
        self._reads_until = 0.0
        self._reading_thread: int | None = None

    @property
    def closed(self) -> bool:
        """Whether nothing can be heard here any more."""
        return self._mailbox.closed

    @property
    def waiting(self) -> int:
        """How many requests wait for an answer."""
        return len(self._inboxes)

    @property
    def read_here(self) -> bool:
        """Whether this very thread is in the midst of reading: a signal's handler, or the garbage collector, has
        interrupted it, and must not wait for it."""
        return self._reading_thread == threading.get_ident()

    def inbox(self, correlation: str, deadline: Deadline) -> Inbox:
        """The inbox for what answers this correlation, until `forget`. The deadline can end its waits."""
        inbox = self._inboxes.setdefault(correlation, Inbox())
        deadline.wakes(partial(self._wake, inbox))
        return inbox

    def forget(self, correlation: str) -> None:
        """Nobody waits for an answer to this correlation any more. One that comes later is dropped."""
        with self._lock:
            inbox = self._inboxes.pop(correlation, None)
            torn = inbox is not None and self._reader is inbox and not self._mailbox.at_rest
            if self._reader is inbox:
                self._reader = None
            if self._reader is None and self._next in (None, inbox):
                self._pass_on()
        if torn:
            self.close()

    def send(self, message: Any) -> None:
        """Send a request; see ``Mailbox.send``."""
        self._mailbox.send(message)

    def receive(self, inbox: Inbox, timeout_s: float) -> Any:
        """The next message for that inbox; None when ``timeout_s`` have passed, when it was woken, and when the
        connection is closed."""
        until = time.monotonic() + timeout_s
        while not (self.closed and inbox.empty):
            if self._takes_turn(inbox, until):
                return self._read(inbox, until)
            message = inbox.take(max(0.0, until - time.monotonic()))
            inbox.waits = False
            if message is not _YOUR_TURN:
                return message
        return None

    def wake(self) -> None:
        """Have every thread that waits look at the state of the system."""
        for inbox in list(self._inboxes.values()):
            self._wake(inbox)

    def close(self) -> None:
        """End the connection, and wake all who wait for it."""
        self._mailbox.close()
        self.wake()

    def join(self) -> None:
        """Wait until no thread reads from a closed connection any more."""
        if not self.read_here and self._receiving.acquire(timeout=_END_S):
            self._receiving.release()

    def _wake(self, inbox: Inbox) -> None:
        # First the inbox: whoever becomes the reader in between looks there once more.
        inbox.put(None)
        if self._reader is inbox and not self.closed:
            self._mailbox.wake()

    # --- whose turn it is to read ---------------------------------------------------------------------------------

    def _takes_turn(self, inbox: Inbox, until: float) -> bool:
        """Whether this thread is to read. If not, its inbox has something, or will have."""
        with self._lock:
            if self._reader is None and inbox.empty:
                self._reader, self._reads_until, self._next = inbox, until, None
                return True
            inbox.waits = True
            overdue = self._reader is not None and time.monotonic() > self._reads_until + _OVERDUE_S
        if overdue:
            self.close()
        return False

    def _pass_on(self) -> None:
        """Have one of the threads that wait read; called while nobody reads."""
        self._next = next((inbox for inbox in list(self._inboxes.values()) if inbox.waits), None)
        if self._next is not None:
            self._next.waits = False
            self._next.put(_YOUR_TURN)

    def _read(self, inbox: Inbox, until: float) -> Any:
        """Read for all who wait, until there is a message for this inbox, or it is woken, or the time is up. Where
        this is left by an interrupt, its inbox stays the reader's, and `forget` sees to it."""
        found = None
        try:
            with self._receiving:
                self._reading_thread = threading.get_ident()
                try:
                    found = self._read_for_all(inbox, until)
                finally:
                    self._reading_thread = None
        except Exception:
            if not self.closed:  # the garbage collector may close it in the midst of this thread's work
                log.exception("the connection to the actor system failed")
            self.close()
        with self._lock:
            self._reader = None
            self._pass_on()
        return found

    def _read_for_all(self, inbox: Inbox, until: float) -> Any:
        while inbox.empty and not self.closed and (left_s := until - time.monotonic()) > 0:
            message = self._mailbox.receive(left_s)
            if message is None:
                break  # the mailbox is closed, or was woken: another thread may have asked for it
            target = self._inboxes.get(getattr(message, "correlation", ""))
            if target is inbox:
                return message
            if target is not None:
                target.put(message)
        return inbox.take(0.0)
