"""The fast path of a message between the transport and an actor, and the bookkeeping of the actor's children.

For each message, Thespian's manager of an actor formats it for a log that is off, wraps it, searches lists for it and
throttles it. It also misses deaths and forgets no child. So what it does for each message and each child is done here,
by replacing attributes of that one manager; Thespian does the rest.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Protocol

from thespian.actors import (
    ActorAddress,
    ActorSystemMessage,
    ChildActorExited,
    PoisonMessage,
    ThespianWatch,
    WakeupMessage,
)
from thespian.system.addressManager import CannotPickleAddress
from thespian.system.multiprocCommon import MultiProcManager, MultiProcReplicator
from thespian.system.ratelimit import RateThrottle
from thespian.system.transport import ReceiveEnvelope, SendStatus

from antistrophe.fast_dataclass import dataclass
from antistrophe.transport.address import UnixAddress, address_of, path_of
from antistrophe.transport.child_processes import Addresses, Postponed, Processes, Reported, death_watch
from antistrophe.transport.codec import MESSAGES, pack_message
from antistrophe.transport.connection import framed
from antistrophe.transport.forks import Forks

log = logging.getLogger("antistrophe.transport")

Handle = Callable[[ReceiveEnvelope], Any]


class ActorEventLoop(Protocol):
    """What the manager needs of the event loop."""

    def keep(self, message: Any) -> None: ...
    def dispatch(self, path: str, frame: bytes, target: ActorAddress, message: Any) -> None: ...
    def set_watch(self, filenos: Any) -> None: ...
    def watch_child(self, pidfd: int, ended: ChildEnded) -> None: ...
    def forget_peer(self, path: str) -> None: ...


def fast_handler(
    handler: Any, loop: ActorEventLoop, abort: Callable[..., None], nobody: str
) -> tuple[Handle, ActorManager | None]:
    """The function to call for each message in place of ``handler``; ``handler`` itself where it belongs to no actor.

    Two faults of the Admin's manager are mended. After it has reported one death it would forget all dead children, and
    never report those that died since it last looked. And it would sleep when it sends much, to spare a network.
    """
    manager = getattr(handler, "__self__", None)
    if isinstance(manager, MultiProcReplicator):
        manager._childExited = _remove_no_child
        manager._governer = RateThrottle(sys.maxsize)
    if not isinstance(manager, MultiProcManager):
        return handler, None
    actor_manager = ActorManager(manager, loop, abort, nobody)
    return actor_manager.handle, actor_manager


def _remove_no_child(_address: ActorAddress) -> None:
    """Replaces Thespian's method, which forgets all dead children."""


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """The event loop tells, among the messages, that the process of a child has ended."""

    number: int


_TO_THE_ACTOR = frozenset((*MESSAGES.values(), WakeupMessage))
"""Messages that go to the actor without Thespian's manager, as everything does that is not Thespian's own."""


class ActorManager:
    """Does for one actor what Thespian's manager would do for each message and each child."""

    def __init__(self, manager: Any, loop: ActorEventLoop, abort: Callable[..., None], nobody: str) -> None:
        self._manager = manager
        self._state = vars(manager)
        self._actor = manager.actorInst
        self._loop = loop
        self._abort = abort
        self._own = manager.transport.myAddress
        self._own_path = path_of(self._own)
        self._watching = False
        self.processes = Processes()
        self._pidfds: dict[int, int] = {}
        self._addresses = Addresses(address_of(nobody), manager._addrManager._managed)
        self._reported = Reported(manager._children)
        manager._child_procs = self.processes
        manager._addrManager._managed = self._addresses
        manager._children = self._reported
        manager._awaitingAddressUpdate = Postponed()
        manager.mpcontext = Forks()
        manager.createActor = self.create_child
        manager.actor_send = self.send
        manager.childDied = self.look_for_deaths
        manager.h_EndpointConnected = self._on_report
        manager._handleChildExited = self._on_exit

    # --- messages ----------------------------------------------------------------------------------------------

    def handle(self, envelope: ReceiveEnvelope) -> Any:
        """Hand a message to the actor; falsy where it was the last one."""
        message, manager = envelope.message, self._manager
        if type(message) not in _TO_THE_ACTOR:
            if type(message) is ChildEnded:
                return self._died(message.number)
            if isinstance(message, ActorSystemMessage | logging.LogRecord):
                return manager.handleMessages(envelope)
        if "_exiting" not in self._state:  # Thespian sets it when the actor begins to exit
            result = None
            try:
                result = self._actor.receiveMessage(message, envelope.sender)
            except Exception:
                log.exception("%s can't handle a message", type(self._actor).__name__)
                self._poisoned(message, envelope.sender)
            if result is not None or self._watching:
                self._watching = isinstance(result, ThespianWatch)
                self._loop.set_watch(result.filenos if isinstance(result, ThespianWatch) else ())
        while manager._receiveQueue:
            if not manager._handleOneMessage(manager._receiveQueue.pop(0)):
                return False
        return True

    def _poisoned(self, message: Any, sender: ActorAddress) -> None:
        """Tell the sender that the actor raised. Thespian would call the actor again, which would act twice."""
        if not isinstance(message, PoisonMessage | WakeupMessage):
            self.send(sender, PoisonMessage(message, traceback.format_exc()))

    def send(self, target: ActorAddress, message: Any) -> None:
        """Send a message, in place of ``Actor.send``. Raises NotSerializableError."""
        details = target.addressDetails
        if type(details) is not UnixAddress:
            known = self._manager._addrManager.exportAddr(target)
            if known is None:
                self._postpone(target, message)
                return
            details = known.addressDetails
        if details.path == self._own_path:
            self._loop.keep(message)
            return
        try:
            frame = framed(pack_message(message))
        except CannotPickleAddress:
            self._postpone(target, message)
        else:
            self._loop.dispatch(details.path, frame, target, message)

    def _postpone(self, target: ActorAddress, message: Any) -> None:
        """Have Thespian keep the message until the child has reported that is its target, or whose address it holds."""
        type(self._manager).actor_send(self._manager, target, message)

    # --- children ----------------------------------------------------------------------------------------------

    def create_child(
        self, actor_class: type, requirements: Any, global_name: str | None, _source_hash: str | None = None
    ) -> ActorAddress:
        """Fork a child, in place of ``Actor.createActor``. Raises OSError where no child can be forked: Thespian would
        report the exit of a child before it looks at the sockets again, so who tries again would hear nothing else."""
        manager = self._manager
        address: ActorAddress = manager._addrManager.createLocalAddress()
        try:
            manager._startChildActor(
                address, actor_class, global_name, self._own, notifyAddr=self._own, childRequirements=requirements
            )
        except OSError:
            self._addresses.died(address)
            raise
        return address

    def forked(self) -> None:
        """A child was forked just now: watch for its death, or look for it where it can't be watched."""
        child = self.processes.latest()
        pidfd = death_watch(child)
        if pidfd is not None:
            try:
                self._loop.watch_child(pidfd, ChildEnded(child.childNum))
            except OSError:
                os.close(pidfd)
            else:
                self._pidfds[child.childNum] = pidfd
                return
        self.processes.unwatched.add(child.childNum)

    def look_for_deaths(self) -> bool:
        """Look whether a child has died that can't be watched."""
        for number in list(self.processes.unwatched):
            self._died(number)
        return True

    def _died(self, number: int) -> Any:
        """Tell the actor that a child has ended. All messages of the child are handled before."""
        child = self.processes.get(number)
        if child is None or child.childProc.is_alive():
            return True
        self.processes.take(number)
        pidfd = self._pidfds.pop(number, None)
        if pidfd is not None:
            os.close(pidfd)
        address = getattr(child, "childRealAddr", child.childAddr)
        return self._manager.handleMessages(ReceiveEnvelope(self._own, ChildActorExited(address)))

    def close(self) -> None:
        """Close the descriptors of this process."""
        for pidfd in self._pidfds.values():
            os.close(pidfd)
        self._pidfds.clear()

    def _on_report(self, envelope: ReceiveEnvelope) -> bool:
        number = envelope.message.childInstance
        child = self.processes.get(number)
        if child is not None:
            child.childRealAddr = envelope.sender
            self._manager._pendingActorReady(number, envelope.sender)
        return True

    def _on_exit(self, address: ActorAddress) -> bool:
        manager = self._manager
        known = manager._addrManager.exportAddr(address) or address
        path = path_of(known)
        if path is not None:
            self._loop.forget_peer(path)
            self._reported.remove(path)
        else:
            for intent in manager._awaitingAddressUpdate.remove_intents_for_address(address):
                intent.tx_done(SendStatus.Failed)
        self._addresses.died(known)
        if not hasattr(manager, "_exiting") or self._reported:
            return True
        if not hasattr(manager, "_exitedAlready"):
            manager._exitedAlready = True
            manager._sayGoodbye()
            self._abort(drain=True)
        return False
