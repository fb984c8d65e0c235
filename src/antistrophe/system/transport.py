"""How messages travel between the processes of one actor system: Thespian's transport over Unix-domain sockets.

Each process listens on a socket of its own and keeps one connection to each process that it sends to. A message is
sent when the kernel has it; it is delivered at most once, in order per sender and receiver. Peers that do not read
hold up nobody but themselves. Nothing here opens a port.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import threading
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any

from thespian.actors import ActorAddress, ActorExitRequest, ActorSystemFailure, WatchMessage
from thespian.system.messages.multiproc import ChildMayHaveDied, EndpointConnected
from thespian.system.transport import (
    ExternalInterfaceTransportInit,
    SendStatus,
    Thespian__Run_Expired,
    Thespian__Run_HandlerResult,
    Thespian__Run_Terminated,
    TransmitIntent,
    TransmitOnly,
)
from thespian.system.transport.asyncTransportBase import asyncTransportBase
from thespian.system.transport.wakeupTransportBase import wakeupTransportBase
from thespian.system.utilis import thesplog

from antistrophe.system.address import address_of, path_of
from antistrophe.system.channel import Incoming, Outgoing, framed, somebody_listens
from antistrophe.system.children import ChildNumbers, repair
from antistrophe.system.endpoint import ADMIN_PATH, UnixEndpoint, keep_out_of_tmp, register_end
from antistrophe.system.inbox import Envelope, Inbox
from antistrophe.system.outbox import Outbox
from antistrophe.system.poller import INVALID, READABLE, Poller
from antistrophe.system.sockets import new_socket_path, remove_socket

# After a child's death, what it had sent is read first; other peers may keep sending, so there is an end to that.
_MAX_READS_AFTER_A_DEATH = 64

_WAKE = object()
_WATCH = object()


class UnixTransport(asyncTransportBase, wakeupTransportBase):
    """The end of one process (or of one private context of an application) in the actor system.

    A child of the system dies with the process that made it, from the moment its transport exists.
    """

    def __init__(self, init: object, *details: Any) -> None:
        self._closed = True
        self._lock = threading.RLock()
        super().__init__()
        own: ActorAddress | None = None
        if isinstance(init, UnixEndpoint):
            init.move_in()
            self._adminAddr, own = init.admin, init.assigned
        else:
            keep_out_of_tmp()
            starts = isinstance(init, ExternalInterfaceTransportInit)
            self._adminAddr = self.getAdminAddr(details[0]) if starts else details[0]
        folder = Path(path_of(self._adminAddr) or "").parent
        self.myAddress: ActorAddress = own or address_of(new_socket_path(folder))
        self._path = path_of(self.myAddress) or ""
        self._poller = Poller()
        self._outbox = Outbox(self._poller, self._path)
        self._inbox = Inbox(self._poller, self._path)
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poller.watch(self._wake_fd, READABLE, _WAKE)
        self._watches: frozenset[int] = frozenset()
        self._aborting: bool | None = None  # else whether to drain first
        self._check_children = self._exit_signalled = False
        self._runner: int | None = None
        self._children = ChildNumbers(address_of(str(folder / "nobody")))
        self._closed = False
        register_end(self)

    # --- what Thespian asks of a transport ------------------------------------------------------------------------

    @staticmethod
    def getAdminAddr(capabilities: dict[str, Any]) -> ActorAddress:  # noqa: N802
        """The address of the Admin that these capabilities name."""
        return address_of(capabilities[ADMIN_PATH])

    @staticmethod
    def getAddressFromString(spec: str) -> ActorAddress:  # noqa: N802
        """The address that listens on the path ``spec``."""
        return address_of(spec)

    @staticmethod
    def getConventionAddress(capabilities: dict[str, Any]) -> None: ...  # noqa: N802 - a system of ours is on one host

    @staticmethod
    def probeAdmin(address: ActorAddress) -> bool:  # noqa: N802
        """Whether somebody listens there."""
        return somebody_listens(path_of(address) or "")

    def prepEndpoint(self, assigned: ActorAddress, capabilities: dict[str, Any]) -> UnixEndpoint:  # noqa: N802, ARG002
        """What a child of this process needs to know to make its own transport."""
        return UnixEndpoint.for_child(assigned, self._adminAddr)

    def connectEndpoint(self, endpoint: UnixEndpoint) -> None:  # noqa: N802
        """Nothing is left to do: the child connects when it reports."""

    def external_transport_clone(self) -> UnixTransport:
        """Another end for this process, whose messages do not mix with those of this one."""
        return UnixTransport(None, self._adminAddr)

    def childResetFileNumList(self) -> list[int]:  # noqa: N802
        """None: forks have closed all of it by the time this is used, and the numbers may be something else's."""
        return []

    def protectedFileNumList(self) -> list[int]:  # noqa: N802
        """The descriptors that belong to this transport."""
        return self._poller.filenos

    def lostRemote(self, address: ActorAddress) -> None: ...  # noqa: N802 - there are no other hosts to lose

    def abort_run(self, drain: bool = False) -> None:
        """End the present run; with ``drain``, once all is sent."""
        self._aborting = drain

    def interrupt_wait(self, signal_shutdown: bool = False, check_children: bool = False) -> None:
        """Wake the run, with the reason. Signal handlers call this: it takes no lock."""
        self._exit_signalled |= signal_shutdown
        self._check_children |= check_children
        # A fork of an actor keeps its signal handlers; there the number may be a file of somebody else's by now.
        if not self._closed:
            with contextlib.suppress(OSError):
                os.eventfd_write(self._wake_fd, 1)

    def set_watch(self, filenos: Iterable[int]) -> None:
        """Watch these descriptors beside our own, instead of those before."""
        wanted = frozenset(filenos)
        if wanted != self._watches:
            for fileno in self._watches - wanted:
                self._poller.forget(fileno)
            for fileno in wanted - self._watches:
                self._poller.watch(fileno, READABLE, _WATCH)
            self._watches = wanted

    def deadAddress(self, manager: Any, address: ActorAddress) -> None:  # noqa: N802
        """A child is dead: what waits for it has failed, its socket goes, and so does what Thespian kept of it."""
        path = path_of(manager.exportAddr(address) or address)
        if path is None:
            return
        with self._lock:
            self._outbox.forget(path)
        self._children.died(path, manager)

    def close(self) -> None:
        """Leave the actor system, from any thread. What waits to be sent has failed; a run ends."""
        with self._lock:
            if self._closed:
                return
            self.interrupt_wait()
            self._closed = True
            self._outbox.close()
            self._inbox.close()
            os.close(self._wake_fd)
            remove_socket(self._path)
        self._settle()

    def abandon(self) -> None:
        """In a fork: let go of the descriptors that are the parent's, and of nothing else."""
        if not self._closed:
            self._closed = True
            self._outbox.drop_descriptors()
            self._inbox.close()
            os.close(self._wake_fd)

    def __del__(self) -> None:
        self.close()

    def _updateStatusResponse(self, response: Any) -> None:  # noqa: N802
        with self._lock:
            for intent in self._outbox.waiting():
                response.addPendingMessage(self.myAddress, intent.targetAddr, str(intent.message))
            for envelope in self._inbox.received:
                response.addReceivedMessage(envelope.sender, self.myAddress, str(envelope.message))
        wakeupTransportBase._updateStatusResponse(self, response)

    def more_is_waiting(self, kinds: Container[type]) -> bool:
        """Whether a message of one of these types has arrived that is not handed over yet; looks once at the sockets
        and does not wait. For the thread that runs this end, in a handler."""
        if self._closed or self._aborting is not None:
            return False
        if not self._inbox.holds(kinds):
            self._pass(0.0)
        return self._inbox.holds(kinds)

    # --- sending --------------------------------------------------------------------------------------------------

    def serializer(self, intent: TransmitIntent) -> bytes:
        """The frame of a message. One to oneself does not travel, and may hold what can't be pickled."""
        if path_of(intent.targetAddr) == self._path:
            return b"-"
        return framed(pickle.dumps(intent.message, pickle.HIGHEST_PROTOCOL))

    def _schedulePreparedIntent(self, intent: TransmitIntent, has_exclusive_flag: bool = False) -> None:  # noqa: N802, ARG002
        path = path_of(intent.targetAddr)
        if self._closed or path is None:
            raise ActorSystemFailure("this end of the actor system is closed (or its process was forked)")
        status: SendStatus.BASE | None = SendStatus.Sent
        if path == self._path:
            self._inbox.received.append(Envelope(self.myAddress, intent.message))
        else:
            with self._lock:
                status = self._outbox.send(path, intent)
        if status is SendStatus.Sent:
            intent.tx_done(status)
        elif status is not None:
            # Told from within the run, as Thespian expects: the caller has not begun to listen for it yet.
            self._outbox.finished.append((intent, status))
        if self._runner not in (None, threading.get_ident()):
            self.interrupt_wait()

    # --- the run --------------------------------------------------------------------------------------------------

    def _runWithExpiry(self, handler: Any) -> Any:  # noqa: N802 - Thespian's name; `run` calls it
        only_send = handler is TransmitOnly or isinstance(handler, TransmitOnly)
        self._aborting = None
        self._runner = threading.get_ident()
        try:
            return self._run_to_send() if only_send else self._run_to_receive(handler)
        finally:
            self._runner = None

    def _run_to_send(self) -> Any:
        while True:
            self._settle()
            pending = self._outbox.pending
            if not pending or self._closed or self._aborting is False:
                return pending
            if self.run_time.view().expired():
                due = self._pendingWakeups and self.run_time is self._pendingWakeups[0][0]
                return Thespian__Run_Expired() if due else pending
            self._pass(self.run_time.view().remainingSeconds())

    def _run_to_receive(self, handler: Any) -> Any:
        repair(handler)
        looked = False  # at the sockets: at least once, even when wakeups keep coming due
        while True:
            self._settle()
            if self._is_over:
                return Thespian__Run_Terminated()
            result = self._handle_received(handler)
            if result is not None:
                return result
            if self._is_over or self._outbox.finished:
                continue
            due = bool(self._activeWakeups) or self.run_time.view().expired()
            if looked and due:
                return Thespian__Run_Expired()
            self._pass(0.0 if due or self._inbox.received else self.run_time.view().remainingSeconds())
            looked = True

    @property
    def _is_over(self) -> bool:
        return self._closed or self._aborting is False or (self._aborting is True and not self._outbox.pending)

    def _handle_received(self, handler: Any) -> Any:
        received = self._inbox.received
        for _ in range(len(received)):
            envelope = received.popleft()
            if handler is None:
                return envelope
            if isinstance(envelope.message, EndpointConnected) and envelope.message.childInstance is not None:
                self._children.connected(path_of(envelope.sender) or "", envelope.message.childInstance)
            result = Thespian__Run_HandlerResult(handler(envelope))
            if not result:
                return result
            if self._aborting is not None or self.run_time.view().expired():
                break
        return None

    def _deliver_wakeups(self, handler: Any) -> Any:
        # In the order in which they came due: Thespian's own takes the latest first. A run to send leaves them alone.
        while self._activeWakeups and handler is not TransmitOnly:
            wakeup = self._activeWakeups.pop(0)
            result = wakeup if handler is None else Thespian__Run_HandlerResult(handler(wakeup))
            if not result:
                return result
        return None

    def _settle(self) -> None:
        finished = self._outbox.finished
        with contextlib.suppress(IndexError):  # another thread may have taken the last one
            while finished:
                intent, status = finished.popleft()
                intent.tx_done(status)

    def _pass(self, timeout_s: float | None) -> None:
        """Wait for something to happen, and take it in."""
        rest_s = self._outbox.rest_s()
        if rest_s is not None and (timeout_s is None or rest_s < timeout_s):
            timeout_s = rest_s
        events = self._poller.wait(timeout_s)
        with self._lock:
            if self._closed:
                return
            ready = [fileno for fileno, happened in events if self._take_in(fileno, happened)]
            self._outbox.tend()
            self._take_in_signals()
        if ready:
            self._inbox.received.append(Envelope(self.myAddress, WatchMessage(ready)))

    def _take_in(self, fileno: int, happened: int) -> bool:
        """Handle one event; True when it is of a descriptor that the actor watches."""
        owner = self._poller.owner(fileno)
        if isinstance(owner, Incoming):
            self._inbox.read(owner)
        elif isinstance(owner, Outgoing):
            self._outbox.ready(owner, happened)
        elif owner is self._inbox:
            self._inbox.accept()
        elif owner is _WAKE:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake_fd)
        elif owner is _WATCH and happened & INVALID:
            thesplog("the watched descriptor %s was closed", fileno, level=logging.WARNING)
            self.set_watch(self._watches - {fileno})
        else:
            return owner is _WATCH
        return False

    def _take_in_signals(self) -> None:
        if self._check_children:
            self._check_children = False
            # A child's last words come before the news of its death.
            for _ in range(_MAX_READS_AFTER_A_DEATH):
                events = [(n, e) for n, e in self._poller.wait(0.0) if self._brings_messages(n)]
                for fileno, happened in events:
                    self._take_in(fileno, happened)
                if not events:
                    break
            self._inbox.received.append(Envelope(self.myAddress, ChildMayHaveDied()))
        if self._exit_signalled:
            self._exit_signalled = False
            self._inbox.received.append(Envelope(self.myAddress, ActorExitRequest()))

    def _brings_messages(self, fileno: int) -> bool:
        owner = self._poller.owner(fileno)
        return isinstance(owner, Incoming) or owner is self._inbox
