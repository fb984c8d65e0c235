"""The event loop of one process of the actor system: waits for sockets, deaths of children and signals."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Container, Iterable
from typing import Any

from thespian.actors import (
    ActorAddress,
    ActorExitRequest,
    ActorSystemFailure,
    ChildActorExited,
    DeadEnvelope,
    WatchMessage,
)
from thespian.system.addressManager import CannotPickleAddress
from thespian.system.messages.multiproc import ChildMayHaveDied
from thespian.system.transport import SendStatus

from antistrophe.errors import NotSerializableError, PayloadTooLargeError
from antistrophe.linux.descriptor import file_behind
from antistrophe.messages import REPEATED
from antistrophe.transport.actor_manager import ChildEnded
from antistrophe.transport.address import path_of
from antistrophe.transport.codec import pack_message
from antistrophe.transport.connection import IncomingConnection, OutgoingConnection, framed
from antistrophe.transport.drop_counters import REFUSED, DropCounters
from antistrophe.transport.outgoing_message import OutgoingMessage
from antistrophe.transport.poller import READABLE, Poller
from antistrophe.transport.receiver import Envelope, Receiver
from antistrophe.transport.sender import Sender
from antistrophe.transport.sockets import remove_socket

# After a child's death its last messages are read first. Other peers may keep sending, so that many reads are enough.
_MAX_READS_AFTER_A_DEATH = 64

_WAKE = object()
_WATCH = object()


class EventLoop:
    """Listens on the socket of ``own``; dead letters go to ``admin``. One thread waits for events, any thread may send;
    ``lock`` keeps them apart."""

    def __init__(self, own: ActorAddress, admin: ActorAddress) -> None:
        self.closed = True
        self.lock = threading.RLock()
        self._own, self._admin = own, admin
        self._path = path_of(own) or ""
        self.drop_counters = DropCounters()
        self._poller = Poller()
        with contextlib.ExitStack() as undo:  # a process that has few descriptors left loses none here
            undo.callback(self._poller.close)
            self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            undo.callback(os.close, self._wake_fd)
            self._wake_file = file_behind(self._wake_fd)
            self._poller.watch(self._wake_fd, READABLE, _WAKE)
            self.sender = Sender(self._poller, self._path, self.drop_counters)
            self.receiver = Receiver(self._poller, self._path, self.drop_counters)
            undo.pop_all()
        self.received = self.receiver.received
        self._watches: frozenset[int] = frozenset()
        self._check_children = self._exit_signalled = False
        self.waiter: int | None = None
        self.closed = False

    @property
    def filenos(self) -> list[int]:
        """The descriptors that are watched."""
        return self._poller.filenos

    @property
    def changes(self) -> int:
        """A number that grows whenever a descriptor comes or goes."""
        return self._poller.changes

    @property
    def lasting_filenos(self) -> tuple[int, int, int]:
        """The descriptors that stay open as long as the loop: without one of them it is deaf."""
        return self._poller.fileno, self._wake_fd, self.receiver.fileno

    def keep(self, message: Any) -> None:
        """Deliver a message to this process itself. It does not travel, so it may hold values that can't travel."""
        self.received.append(Envelope(self._own, message))

    def holds(self, kinds: Container[type]) -> bool:
        """Whether a message of one of these types is in ``received``, or can be read without waiting."""
        if not self.receiver.holds(kinds) and not self.closed:
            self.wait(0.0)
        return self.receiver.holds(kinds)

    # --- sending --------------------------------------------------------------------------------------------------

    def send(self, path: str | None, outgoing: OutgoingMessage) -> None:
        """Send a message, or queue it, or refuse it where the queue is full. A message that is sent is settled now, any
        other by `settle`. Raises ActorSystemFailure after `close` and in a fork."""
        if self.closed or path is None:
            raise ActorSystemFailure("this end of the actor system is closed (or its process was forked)")
        with self.lock:
            if self.closed:  # by another thread, just now: a connection that is made would never be closed
                raise ActorSystemFailure("this end of the actor system is closed")
            status = self.sender.write(path, outgoing.frame)
            if status is None and self.sender.is_full(path):
                self.drop_counters.add(REFUSED, f"a {type(outgoing.message).__name__} to {path}")
                status = SendStatus.Failed
            if status is None:
                self.sender.queue(path, outgoing)
            elif status is not SendStatus.Sent:
                # Thespian expects to hear this from within the run: the caller does not listen yet.
                self.sender.finished.append((outgoing, status))
        if status is SendStatus.Sent:
            outgoing.settle(status)
        elif self.waiter not in (None, threading.get_ident()):
            self.wake()

    def dispatch(self, path: str, frame: bytes, target: ActorAddress, message: Any) -> None:
        """Send the frame of an actor's message. The message waits as long as its receiver lives. Only a message that is
        sent again until it is answered is refused where the queue is full."""
        with self.lock:
            if self.closed:
                raise ActorSystemFailure("this end of the actor system is closed")
            status = self.sender.write(path, frame)
            if status is SendStatus.Sent:
                return
            outgoing = OutgoingMessage(frame, target, message, self._undelivered, None)
            if status is not None:
                outgoing.settle(status)
            elif type(message) in REPEATED and self.sender.is_full(path):
                self.drop_counters.add(REFUSED, f"a {type(message).__name__} to {path}")
            else:
                self.sender.queue(path, outgoing)

    def settle(self) -> None:
        """Report what became of the messages that had to wait, or failed."""
        finished = self.sender.finished
        with contextlib.suppress(IndexError):  # another thread may have taken the last one
            while finished:
                outgoing, status = finished.popleft()
                outgoing.settle(status)

    def forget_peer(self, path: str) -> None:
        """That peer is dead: fail what waits for it."""
        with self.lock:
            self.sender.forget(path)

    def _undelivered(self, status: SendStatus.BASE, outgoing: OutgoingMessage) -> None:
        """Send a dead letter to the Admin, which keeps the address of the actor that handles dead letters."""
        admin = path_of(self._admin)
        unwanted = isinstance(outgoing.message, DeadEnvelope | ChildActorExited)
        if status is SendStatus.DeadTarget and not unwanted and path_of(outgoing.target) != admin and not self.closed:
            message = DeadEnvelope(outgoing.target, outgoing.message)
            with contextlib.suppress(NotSerializableError, PayloadTooLargeError, CannotPickleAddress):
                self.dispatch(admin or "", framed(pack_message(message)), self._admin, message)

    # --- waiting --------------------------------------------------------------------------------------------------

    def wake(self, *, signal_exit: bool = False, check_children: bool = False) -> None:
        """End the wait, for this reason. Signal handlers call this, so it takes no lock."""
        self._exit_signalled |= signal_exit
        self._check_children |= check_children
        # A fork keeps an actor's signal handlers, and user code may close all descriptors: the number may belong to
        # another file by now.
        if not self.closed and file_behind(self._wake_fd) == self._wake_file:
            with contextlib.suppress(OSError, ValueError):  # another thread may close it now, and have no number left
                os.eventfd_write(self._wake_fd, 1)

    def set_watch(self, filenos: Iterable[int]) -> None:
        """Watch these descriptors for the actor, in place of the last ones. A closed one is not watched."""
        wanted = frozenset(filenos)
        if wanted != self._watches:
            for fileno in self._watches - wanted:
                self._poller.forget(fileno)
            for fileno in wanted - self._watches:
                with contextlib.suppress(OSError):
                    self._poller.watch(fileno, READABLE, _WATCH)
            self._watches = wanted

    def watch_child(self, pidfd: int, ended: ChildEnded) -> None:
        """Deliver ``ended`` when the process of this pidfd has ended, after all messages that it had sent."""
        self._poller.watch(pidfd, READABLE, ended)

    def wait(self, timeout_s: float | None) -> None:
        """Wait for events, and handle them."""
        sender, receiver = self.sender, self.receiver
        if sender.held_up or receiver.accept_at:
            for rest_s in (sender.rest_s(), receiver.rest_s()):
                if rest_s is not None and (timeout_s is None or rest_s < timeout_s):
                    timeout_s = rest_s
        events = self._poller.wait(timeout_s)
        with self.lock:
            if self.closed:
                return
            ready: list[int] = []
            for fileno, happened in events:
                if self._take_in(fileno, happened):
                    ready.append(fileno)
            if sender.held_up:
                sender.tend()
            if receiver.accept_at:
                receiver.tend()
            if self._check_children or self._exit_signalled:
                self._take_in_signals()
        if ready:
            self.keep(WatchMessage(ready))

    def _take_in(self, fileno: int, happened: int) -> bool:
        """Handle one event; True where the actor watches its descriptor."""
        owner = self._poller.owner(fileno)
        if isinstance(owner, IncomingConnection):
            self.receiver.read(owner)
        elif isinstance(owner, OutgoingConnection):
            self.sender.ready(owner, happened)
        elif owner is self.receiver:
            self.receiver.accept()
        elif isinstance(owner, ChildEnded):
            self._poller.forget(fileno)
            self._hear_last_words()
            self.keep(owner)
        elif owner is _WAKE:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake_fd)
        else:
            return owner is _WATCH
        return False

    def _take_in_signals(self) -> None:
        if self._check_children:
            self._check_children = False
            self._hear_last_words()
            self.keep(ChildMayHaveDied())
        if self._exit_signalled:
            self._exit_signalled = False
            self.keep(ActorExitRequest())

    def _hear_last_words(self) -> None:
        """Read the messages that a child had sent before its death is delivered."""
        for _ in range(_MAX_READS_AFTER_A_DEATH):
            events = [(n, e) for n, e in self._poller.wait(0.0) if self._brings_messages(n)]
            for fileno, happened in events:
                self._take_in(fileno, happened)
            if not events:
                break

    def _brings_messages(self, fileno: int) -> bool:
        owner = self._poller.owner(fileno)
        return isinstance(owner, IncomingConnection) or owner is self.receiver

    # --- the end --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave the actor system, from any thread. Messages that wait to be sent have failed."""
        if self.closed:  # in a fork a thread may hold the lock that is not there any more
            return
        with self.lock:
            if self.closed:
                return
            self.wake()
            self.closed = True
            self.sender.close()
            self.receiver.close()
            remove_socket(self._path)
            if self.waiter in (None, threading.get_ident()):
                self.release()
        self.settle()

    def abandon(self) -> None:
        """In a fork: close the copies of the parent's descriptors, and do nothing else."""
        if not self.closed:
            self.closed = True
            self.sender.drop_descriptors()
            self.receiver.close()
            self.release()

    def release(self) -> None:
        """Close the descriptors that a wait needs. The thread that waits does this, so that none is closed under it."""
        if self._wake_fd >= 0:
            self._poller.close()
            os.close(self._wake_fd)
            self._wake_fd = -1
