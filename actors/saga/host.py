"""The host of saga actors: one process for many, each with its own mailbox, wakeups and notice of failure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import Any

from thespian.actors import WakeupMessage

from antistrophe.actors.base import Handler, RuntimeActor, log
from antistrophe.actors.saga.batch_commit import LONGEST_S, Batch
from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.actors.saga.saga import SagaActor
from antistrophe.errors import JournalError
from antistrophe.messages import (
    Address,
    BeginSaga,
    DrainSagas,
    HostConfiguration,
    LifecycleReport,
    ProcessDead,
    ProcessGrant,
    ProcessRefusal,
    ResumeSaga,
    SagaActorFailed,
    SagaOrder,
    StepAnswer,
    WaitForSaga,
)
from antistrophe.settings import Settings

_TO_A_SAGA = (ProcessGrant, ProcessRefusal, ProcessDead, StepAnswer, SagaOrder, WaitForSaga)


class SagaHost(RuntimeActor):
    """Hands each message to the actor of the saga that it is for. An actor that fails takes no other with it.

    Messages that are there at the same time share one journal commit, and what they cause is sent after it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.supervisor: Address = None
        self.registry: Address = None
        self.settings = Settings()
        self.home = ""
        self.draining = False
        self._ledger: JournalAccess | None = None
        self._early: list[tuple[str, Any]] = []
        self._actors: dict[str, SagaActor] = {}
        self._alarms: list[tuple[float, str]] = []
        self._wakes_at: float | None = None
        self._batch: Batch | None = None
        self._reported_at = 0.0

    def handlers(self) -> Mapping[type, Handler]:
        routed: dict[type, Handler] = dict.fromkeys(_TO_A_SAGA, self._on_message)
        mine: dict[type, Handler] = {
            HostConfiguration: self._on_configuration,
            BeginSaga: lambda message, _: self._take(message.spec.id, message),
            ResumeSaga: self._on_message,
            DrainSagas: self._on_drain,
            WakeupMessage: self._on_wakeup,
        }
        return routed | mine

    def receiveMessage(self, message: Any, sender: Address) -> None:  # noqa: N802 - Thespian's name
        """Called by Thespian."""
        super().receiveMessage(message, sender)
        if self._batch is not None and (self._batch.full(self.now()) or not self.more_is_waiting()):
            self._settle(self._batch)

    def _on_configuration(self, message: HostConfiguration, sender: Address) -> None:
        self.supervisor, self.registry = sender, message.registry
        if self._ledger is None:
            self.configure(message.base)
            self.settings, self.home = message.base.settings, message.base.home
            self._ledger = JournalAccess(message.base)
            early, self._early = self._early, []
            for saga_id, each in early:
                self._take(saga_id, each)

    def _on_message(self, message: Any, _sender: Address) -> None:
        self._take(message.saga_id, message)

    def _take(self, saga_id: str, message: Any) -> None:
        """Handle a message (None: it is time) as a part of the present batch."""
        if self._ledger is None:
            # The configuration speaks of the registry, and is held back until that one has reported; this was not.
            self._early.append((saga_id, message))
            return
        batch = self._batch
        if batch is None:
            batch = self._batch = Batch(self._ledger.group(), self.now() + LONGEST_S)
        batch.take(saga_id, self._actors.get(saga_id), message)
        self._deliver(saga_id, message)
        if batch.broken:
            self._handle_one_by_one(batch)

    def _deliver(self, saga_id: str, message: Any) -> None:
        actor = self._actors.get(saga_id)
        if actor is None and isinstance(message, BeginSaga | ResumeSaga):
            assert self._ledger is not None, "configured before it is given a saga"
            actor = self._actors[saga_id] = SagaActor(self, self._ledger, saga_id)
        if actor is None:
            return
        try:
            actor.receive(message) if message is not None else actor.wake()
        except Exception:
            # What it holds may be half of a change; the journal is not, and its next actor starts from there.
            log.exception("the actor of saga %s can't handle %s", saga_id, type(message).__name__)
            self.leave(saga_id)
            self.send(self.supervisor, SagaActorFailed(saga_id))

    # --- the journal commit that several messages share ---------------------------------------------------------

    def send(self, to: Address, message: Any) -> None:
        """Send a message, once what the present batch has journaled is durable."""
        if self._batch is None:
            super().send(to, message)
        else:
            self._batch.send(to, message)

    def once_durable(self, do: Callable[[], object]) -> None:
        """Do this then."""
        if self._batch is None:
            do()
        else:
            self._batch.once_durable(do)

    def _settle(self, batch: Batch) -> None:
        self._batch = None
        try:
            batch.commit(super().send)
        except JournalError:
            self._handle_one_by_one(batch)
        self._report()

    def _handle_one_by_one(self, batch: Batch) -> None:
        """The journal has refused a part of the batch: undo it all, then have each saga meet its own fate."""
        self._batch = None
        batch.roll_back()
        for saga_id, before in batch.before.items():
            if before is None:
                self._actors.pop(saga_id, None)
            else:
                self._actors[saga_id] = before
        for saga_id, message in batch.messages:
            self._deliver(saga_id, message)

    def _report(self) -> None:
        """Tell the registry that the journal has news, at most every ``report_s`` seconds: it looks as often itself."""
        now = self.now()
        if self._ledger is not None and now - self._reported_at >= self.settings.report_s:
            self._reported_at = now
            self.send(self.registry, LifecycleReport(self._ledger.position))

    def _on_drain(self, _message: DrainSagas, _sender: Address) -> None:
        self.draining = True

    # --- what a saga actor needs -------------------------------------------------------------------------------

    def leave(self, saga_id: str) -> None:
        self._actors.pop(saga_id, None)

    def wake_saga_at(self, moment: float, saga_id: str) -> None:
        heapq.heappush(self._alarms, (moment, saga_id))
        self._set_wakeup()

    def _set_wakeup(self) -> None:
        if self._alarms and (self._wakes_at is None or self._alarms[0][0] < self._wakes_at):
            self._wakes_at = self._alarms[0][0]
            self.wake_in(self._wakes_at - self.now())

    def _on_wakeup(self, _message: Any, _sender: Address) -> None:
        self._wakes_at = None
        now = self.now()
        while self._alarms and self._alarms[0][0] <= now:
            _, saga_id = heapq.heappop(self._alarms)
            if saga_id in self._actors:
                self._take(saga_id, None)
        self._set_wakeup()
