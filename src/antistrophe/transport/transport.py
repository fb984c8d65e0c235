"""Thespian's transport over Unix-domain sockets: how messages travel between the processes of one actor system.

A message counts as sent when the kernel has taken it. It is delivered at most once, in order for each sender and
receiver. A peer that does not read holds up nobody else. No port is opened, and nothing that comes in is unpickled.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from thespian.actors import ActorAddress
from thespian.system.addressManager import CannotPickleAddress
from thespian.system.timing import ExpirationTimer, timePeriodSeconds
from thespian.system.transport import (
    ExternalInterfaceTransportInit,
    SendStatus,
    Thespian__Run_Expired,
    Thespian__Run_HandlerResult,
    Thespian__Run_Terminated,
    TransmitIntent,
    TransmitOnly,
)

from antistrophe.transport.actor_manager import ActorManager, Handle, fast_handler
from antistrophe.transport.address import address_of, path_of
from antistrophe.transport.codec import pack_message, prepare
from antistrophe.transport.connection import framed, somebody_listens
from antistrophe.transport.endpoint import ADMIN_PATH, UnixEndpoint, keep_out_of_tmp, register_end
from antistrophe.transport.event_loop import EventLoop
from antistrophe.transport.outgoing_message import Notify, OutgoingMessage
from antistrophe.transport.receiver import Envelope
from antistrophe.transport.sockets import new_socket_path
from antistrophe.transport.timers import NEVER, Timers


class UnixTransport:
    """The end of one process in the actor system, or of one mailbox of an application.

    From the moment its transport exists, a child of the system dies with the process that made it.
    """

    def __init__(self, init: object, *details: Any) -> None:
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
        self._path = path_of(self.myAddress)
        self._loop = EventLoop(self.myAddress, self._adminAddr)
        self._timers = Timers()
        self._aborting: bool | None = None  # else whether to drain first
        self._nobody = str(folder / "nobody")
        self._fast_path: tuple[Any, Handle] | None = None
        self._actor_manager: ActorManager | None = None
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
        """Whether a process listens on this address."""
        return somebody_listens(path_of(address) or "")

    def setAddressManager(self, manager: Any) -> None: ...  # noqa: N802 - it comes with each call that needs it

    def enableRXPauseFlowControl(self, enable: bool = True) -> None: ...  # noqa: N802 - receiving never pauses

    def prepEndpoint(self, assigned: ActorAddress, capabilities: dict[str, Any]) -> UnixEndpoint:  # noqa: N802, ARG002
        """What a child of this process needs for its own transport."""
        return UnixEndpoint.for_child(assigned, self._adminAddr)

    def connectEndpoint(self, endpoint: UnixEndpoint) -> None:  # noqa: N802, ARG002
        """A child was forked: watch for its death. It connects by itself when it reports."""
        if self._actor_manager is not None:
            self._actor_manager.forked()

    def external_transport_clone(self) -> UnixTransport:
        """Another end for this process; messages to the two ends do not mix."""
        return UnixTransport(None, self._adminAddr)

    def childResetFileNumList(self) -> list[int]:  # noqa: N802
        """No descriptors: forks have closed them by then, and their numbers may belong to other files."""
        return []

    def protectedFileNumList(self) -> list[int]:  # noqa: N802
        """The descriptors that belong to this transport."""
        return self._loop.filenos

    def set_watch(self, filenos: Iterable[int]) -> None:
        """Watch these descriptors for the actor, in place of the last ones."""
        self._loop.set_watch(filenos)

    def lostRemote(self, address: ActorAddress) -> None: ...  # noqa: N802 - there are no other hosts to lose

    def abort_run(self, drain: bool = False) -> None:
        """End the current run; with ``drain`` only when everything is sent."""
        self._aborting = drain

    def interrupt_wait(self, signal_shutdown: bool = False, check_children: bool = False) -> None:
        """Wake the run, for this reason. Signal handlers call this, so it takes no lock."""
        # The actor manager watches most children by their pidfd; only the others need a look.
        look = check_children and (self._actor_manager is None or bool(self._actor_manager.processes.unwatched))
        self._loop.wake(signal_exit=signal_shutdown, check_children=look)

    def deadAddress(self, manager: Any, address: ActorAddress) -> None:  # noqa: N802
        """A child is dead: fail what waits for it, and remove its socket."""
        path = path_of(manager.exportAddr(address) or address)
        if path is not None:
            self._loop.forget_peer(path)

    def addWakeup(self, period: Any, payload: Any) -> None:  # noqa: N802
        """Have a WakeupMessage delivered after ``period``: seconds or a timedelta."""
        self._timers.set(time.monotonic(), period, payload)

    def close(self) -> None:
        """Leave the actor system, from any thread. Messages that wait to be sent have failed; a run ends."""
        self._loop.close()
        if self._actor_manager is not None:
            self._actor_manager.close()

    def abandon(self) -> None:
        """In a fork: close the copies of the parent's descriptors, and do nothing else."""
        self._loop.abandon()
        if self._actor_manager is not None:
            self._actor_manager.close()

    def __del__(self) -> None:
        if hasattr(self, "_loop"):
            self.close()

    def _updateStatusResponse(self, response: Any) -> None:  # noqa: N802
        now = time.monotonic()
        with self._loop.lock:
            for outgoing in self._loop.sender.waiting():
                response.addPendingMessage(self.myAddress, outgoing.target, str(outgoing.message))
            for envelope in self._loop.received:
                response.addReceivedMessage(envelope.sender, self.myAddress, str(envelope.message))
            response.addWakeups([(self.myAddress, ExpirationTimer(due - now)) for due in self._timers.pending()])

    def more_is_waiting(self, kinds: Container[type]) -> bool:
        """Whether a message of one of these types has arrived and is not handled yet. Looks once at the sockets and
        does not wait. Only the thread that runs this end may call it, in a handler."""
        return not self._loop.closed and self._aborting is None and self._loop.holds(kinds)

    def prepare(self, classes: Collection[type]) -> None:
        """Make what reads and writes these messages."""
        prepare(classes)

    def hand_over(self, message: Any) -> None:
        """Deliver a message to the actor of this end, from any thread."""
        self._loop.keep(message)
        self._loop.wake()

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or the process was forked."""
        return self._loop.closed

    @property
    def lasting_filenos(self) -> tuple[int, ...]:
        """The descriptors without which this end can't receive."""
        return self._loop.lasting_filenos

    @property
    def changes(self) -> int:
        """A number that grows whenever a descriptor of this end comes or goes."""
        return self._loop.changes

    @property
    def counts(self) -> Mapping[str, int]:
        """How much this end has dropped or refused, by kind."""
        return self._loop.drop_counters.counts

    # --- sending --------------------------------------------------------------------------------------------------

    def scheduleTransmit(self, manager: Any, intent: TransmitIntent, has_exclusive_flag: bool = False) -> None:  # noqa: N802, ARG002
        """Send a message for Thespian. Raises CannotPickleAddress where the target or an address in the message is that
        of a child that has not reported yet, NotSerializableError, and ActorSystemFailure after `close`."""
        if manager is not None:
            known = manager.exportAddr(intent.targetAddr)
            if known is None:
                raise CannotPickleAddress(intent.targetAddr)
            intent.changeTargetAddr(known)
        path = path_of(intent.targetAddr)
        if path == self._path:
            self._loop.keep(intent.message)
            intent.tx_done(SendStatus.Sent)
            return
        left_s = intent.expiration().view().remainingSeconds()
        quit_at = None if left_s is None else time.monotonic() + left_s
        frame = framed(pack_message(intent.message))
        settle: Notify = lambda status, _: intent.tx_done(status)  # noqa: E731
        self._loop.send(path, OutgoingMessage(frame, intent.targetAddr, intent.message, settle, quit_at))

    def post(self, target: ActorAddress, frame: bytes, message: Any, notify: Notify) -> None:
        """Send the frame of an application's message. ``notify`` is called with what became of it: at once, in a later
        run, or in `close`. Raises ActorSystemFailure after `close`."""
        self._loop.send(path_of(target), OutgoingMessage(frame, target, message, notify, None))

    # --- the run --------------------------------------------------------------------------------------------------

    def run(self, incomingHandler: Any, maximumDuration: Any = None) -> Any:  # noqa: N803 - Thespian's names
        """Receive and send, at most for that time (None: without a limit).

        Without a handler, return the first message. With TransmitOnly, return as soon as everything is sent: how many
        messages are not. Else call the handler with each message until it returns something false.
        """
        seconds = None if maximumDuration is None else timePeriodSeconds(maximumDuration)
        until = NEVER if seconds is None else time.monotonic() + seconds
        with self._loop.lock:
            self._aborting = None
            self._loop.waiter = threading.get_ident()
        try:
            if incomingHandler is TransmitOnly or isinstance(incomingHandler, TransmitOnly):
                return self._run_to_send(until)
            return self._run_to_receive(self._fast_handler(incomingHandler), until)
        finally:
            with self._loop.lock:
                self._loop.waiter = None
                if self._loop.closed:
                    self._loop.release()

    def _fast_handler(self, handler: Any) -> Handle | None:
        if handler is None:
            return None
        if self._fast_path is None or self._fast_path[0] != handler:
            handle, actor_manager = fast_handler(handler, self._loop, self.abort_run, self._nobody)
            self._fast_path, self._actor_manager = (handler, handle), actor_manager
        return self._fast_path[1]

    def _run_to_send(self, until: float) -> int:
        while True:
            self._loop.settle()
            pending = self._loop.sender.pending
            left_s = until - time.monotonic()
            if not pending or self._loop.closed or self._aborting is False or left_s <= 0:
                return pending
            self._loop.wait(left_s)

    def _run_to_receive(self, handle: Handle | None, until: float) -> Any:
        received, finished = self._loop.received, self._loop.sender.finished
        looked = False  # at the sockets; that is done at least once, even where no time is given
        while True:
            if finished:
                self._loop.settle()
            if self._is_over:
                return Thespian__Run_Terminated()
            result = self._handle_received(handle) if received else None
            now = time.monotonic()
            if result is None and self._timers.next_at <= now:
                result = self._deliver_wakeups(handle, now)
            if result is not None:
                return result
            if looked and now >= until:
                return Thespian__Run_Expired()
            waits = not received and not finished
            due = min(until, self._timers.next_at)
            self._loop.wait((None if due == NEVER else max(0.0, due - now)) if waits else 0.0)
            looked = True

    @property
    def _is_over(self) -> bool:
        return (
            self._loop.closed or self._aborting is False or (self._aborting is True and not self._loop.sender.pending)
        )

    def _handle_received(self, handle: Handle | None) -> Any:
        received = self._loop.received
        for _ in range(len(received)):
            envelope = received.popleft()
            if handle is None:
                return envelope
            if not handle(envelope):
                return Thespian__Run_HandlerResult(False)
            next_at = self._timers.next_at
            if self._aborting is not None or (next_at != NEVER and next_at <= time.monotonic()):
                break
        return None

    def _deliver_wakeups(self, handle: Handle | None, now: float) -> Any:
        """Deliver the wakeups that were due at ``now``, in that order; not those that a handler asks for meanwhile."""
        while (wakeup := self._timers.take_due(now)) is not None:
            envelope = Envelope(self.myAddress, wakeup)
            if handle is None:
                return envelope
            if not handle(envelope):
                return Thespian__Run_HandlerResult(False)
            if self._aborting is not None:
                break
        return None
