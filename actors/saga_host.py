"""The host of saga actors: one process for many, each with its own mailbox, wakeups and notice of failure."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any

from thespian.actors import WakeupMessage

from antistrophe.messages import (
    Address,
    BeginSaga,
    DrainSagas,
    HostConfiguration,
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

from .base import Handler, RuntimeActor, log
from .ledger import Ledger
from .saga import SagaActor

_TO_A_SAGA = (ProcessGrant, ProcessRefusal, ProcessDead, StepAnswer, SagaOrder, WaitForSaga)


class SagaHost(RuntimeActor):
    """Hands each message to the actor of the saga that it is for. An actor that fails takes no other with it."""

    def __init__(self) -> None:
        super().__init__()
        self.supervisor: Address = None
        self.registry: Address = None
        self.settings = Settings()
        self.home = ""
        self.draining = False
        self._ledger: Ledger | None = None
        self._actors: dict[str, SagaActor] = {}
        self._alarms: list[tuple[float, str]] = []
        self._wakes_at: float | None = None

    def handlers(self) -> Mapping[type, Handler]:
        routed: dict[type, Handler] = dict.fromkeys(_TO_A_SAGA, self._on_message)
        return routed | {
            HostConfiguration: self._on_configuration,
            BeginSaga: lambda message, _: self._create(message.spec.id, message),
            ResumeSaga: lambda message, _: self._create(message.saga_id, message),
            DrainSagas: self._on_drain,
            WakeupMessage: self._on_wakeup,
        }

    def _on_configuration(self, message: HostConfiguration, sender: Address) -> None:
        self.supervisor, self.registry = sender, message.registry
        if self._ledger is None:
            self.configure(message.base)
            self.settings, self.home = message.base.settings, message.base.home
            self._ledger = Ledger(message.base)

    def _create(self, saga_id: str, message: BeginSaga | ResumeSaga) -> None:
        assert self._ledger is not None, "configured before it is given a saga"
        actor = self._actors.get(saga_id)
        if actor is None:
            actor = self._actors[saga_id] = SagaActor(self, self._ledger, saga_id)
        self._deliver(saga_id, actor, message)

    def _on_message(self, message: Any, _sender: Address) -> None:
        actor = self._actors.get(message.saga_id)
        if actor is not None:
            self._deliver(message.saga_id, actor, message)

    def _deliver(self, saga_id: str, actor: SagaActor, message: Any) -> None:
        try:
            actor.receive(message) if message is not None else actor.wake()
        except Exception:
            # What it holds may be half of a change; the journal is not, and its next actor starts from there.
            log.exception("the actor of saga %s can't handle %s", saga_id, type(message).__name__)
            self.leave(saga_id)
            self.send(self.supervisor, SagaActorFailed(saga_id))

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
            actor = self._actors.get(saga_id)
            if actor is not None:
                self._deliver(saga_id, actor, None)
        self._set_wakeup()
