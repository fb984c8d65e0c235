"""The sagas that are live: which waits, which sleeps, which has an actor, and who gets another one."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from antistrophe.messages import (
    Address,
    AskProcess,
    BeginSaga,
    Configuration,
    DrainSaga,
    ProcessGrant,
    ResumeSaga,
    SagaOrder,
    SagaSleeps,
    Waiter,
)
from antistrophe.policy import Admission, PoolKey, RestartIntensity

from .base import log
from .ledger import Ledger, OpenSaga
from .saga_actors import SagaActors, SagaProcess
from .step_processes import Owner, StepProcesses

UNLOADABLE_WAIT_S = 2.0
"""The first wait of a saga whose code can't be loaded; doubled up to UNLOADABLE_MAX_S."""

UNLOADABLE_MAX_S = 60.0

FAREWELL_S = 1.0
"""How long the last words of an actor that left in good order may take to arrive after the notice of its exit."""


@dataclass(slots=True)
class LiveSaga:
    """One saga that is neither final nor parked. ``begin``: what its actor was told where it is new; ``handed_on``:
    waiters of whom its actor was told later."""

    id: str
    request_id: str
    client_id: str
    restarts: RestartIntensity
    urgent: bool = False
    begin: BeginSaga | None = None
    grant: ProcessGrant | None = None
    actor: SagaProcess | None = None
    waiters: dict[str, Waiter] = field(default_factory=dict)
    handed_on: list[Waiter] = field(default_factory=list)
    orders: list[SagaOrder] = field(default_factory=list)
    sleeps_until: float | None = None
    refusals: int = 0


class SagaTable:
    """Every live saga, by id."""

    def __init__(
        self, owner: Owner, base: Configuration, actors: SagaActors, steps: StepProcesses, ledger: Ledger
    ) -> None:
        self._owner = owner
        self._settings = base.settings
        self.actors = actors
        self._steps = steps
        self._ledger = ledger
        self._admission = Admission(base.settings.max_running_sagas)
        self._sagas: dict[str, LiveSaga] = {}
        self._alarms: list[tuple[float, str]] = []
        self._leaving: list[tuple[float, SagaProcess]] = []
        self._draining = False

    # --- coming and going --------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        return self._admission.full or self._draining

    def get(self, saga_id: str) -> LiveSaga | None:
        return self._sagas.get(saga_id)

    def open(self, sagas: Iterable[OpenSaga]) -> None:
        """Take in the sagas that an earlier life of the system left."""
        for saga in sagas:
            live = self.add(saga.id, saga.request_id, client_id="")
            live.urgent = saga.compensating
            self._admission.enqueue(saga.id, urgent=saga.compensating)
        self.actors.top_up()
        self._spawn_due()

    def add(self, saga_id: str, request_id: str, client_id: str) -> LiveSaga:
        restarts = RestartIntensity(self._settings.max_restarts, self._settings.restart_window_s)
        live = LiveSaga(saga_id, request_id, client_id, restarts)
        self._sagas[saga_id] = live
        return live

    def begin(self, live: LiveSaga, message: BeginSaga) -> None:
        """Run a new saga now, with a step process where one is free."""
        live.begin = message
        self._admission.admit(live.id)
        steps = message.spec.steps
        if steps:
            refs = tuple(dict.fromkeys(step.class_ref for step in steps))
            key = PoolKey(live.client_id, message.spec.origin)
            # A process that is free at once is granted within this call, before there is an actor to tell.
            self._steps.pool.ask(live.id, key, refs, fresh=steps[0].fresh_process, urgent=False)
            self._steps.serve()
        self._spawn(live, new=True)

    def enqueue(self, live: LiveSaga) -> None:
        """Have an accepted saga wait for its turn."""
        self._admission.enqueue(live.id, urgent=live.urgent)

    def remove(self, saga_id: str) -> LiveSaga | None:
        """The saga is final or parked (or was never accepted)."""
        self._steps.forget(saga_id)
        self._admission.left(saga_id)
        live = self._sagas.pop(saga_id, None)
        self._spawn_due()
        return live

    def sleeps(self, message: SagaSleeps) -> None:
        """The saga's actor leaves until it is due again."""
        live = self._sagas.get(message.saga_id)
        if live is None:
            return
        self._steps.forget(live.id)
        live.actor, live.begin, live.grant = None, None, None
        live.waiters |= {waiter.correlation: waiter for waiter in message.waiters}
        until = message.until
        if until is None:
            live.refusals += 1
            until = self._owner.now() + min(UNLOADABLE_MAX_S, UNLOADABLE_WAIT_S * 2.0 ** min(live.refusals - 1, 8))
        else:
            live.refusals = 0
        self._admission.left(live.id)
        self._set_alarm(live, until)
        if live.orders:
            self.wake(live)
        self._spawn_due()

    def wake(self, live: LiveSaga) -> None:
        """Give a saga that sleeps or waits its actor now: somebody has an order for it."""
        if live.actor is None and not self._draining:
            live.sleeps_until = None
            self._admission.admit(live.id)
            self._spawn(live)

    def drain(self) -> None:
        """Start nothing more."""
        self._draining = True
        for actor in self.actors.at_work():
            self._owner.send(actor.address, DrainSaga())

    # --- actors ------------------------------------------------------------------------------------------------

    def _spawn_due(self) -> None:
        if self._draining:
            return
        for saga_id in self._admission.due():
            live = self._sagas.get(saga_id)
            if live is None:
                self._admission.left(saga_id)
            elif live.actor is None:
                live.sleeps_until = None
                self._spawn(live)

    def _spawn(self, live: LiveSaga, *, new: bool = False) -> None:
        live.actor = actor = self.actors.take(live.id)
        waiters, orders = tuple(live.waiters.values()), tuple(live.orders)
        begin = live.begin
        if begin is not None and (new or not self._ledger.knows(live.id)):
            self._owner.send(
                actor.address,
                BeginSaga(begin.request_id, begin.spec, live.grant, begin.acknowledge, waiters),
            )
        else:
            self._owner.send(actor.address, ResumeSaga(live.id, waiters, orders))
            live.orders.clear()
        live.grant = None
        # After the messages that are waiting: the fork of a spare must not delay a saga.
        self._owner.wake_in(0.0, "top up")

    def tell(self, saga_id: str, message: Any) -> None:
        """Hand something to the saga's actor; what comes before it has one is kept where that matters."""
        live = self._sagas.get(saga_id)
        if live is None:
            if isinstance(message, ProcessGrant):
                self._steps.forget(saga_id)
        elif live.actor is not None:
            self._owner.send(live.actor.address, message)
        elif isinstance(message, ProcessGrant):
            live.grant = message

    def ask_process(self, message: AskProcess) -> None:
        live = self._sagas.get(message.saga_id)
        if live is not None and live.actor is not None and not self._draining:
            key = PoolKey(live.client_id, message.origin)
            self._steps.pool.ask(live.id, key, message.class_refs, fresh=message.fresh, urgent=message.urgent)
            self._steps.serve()

    def on_exit(self, address: Address) -> None:
        """A saga actor is gone: as it should, or its saga needs another."""
        actor = self.actors.on_exit(address)
        if actor is not None:
            self._gone(actor)

    def _gone(self, actor: SagaProcess) -> None:
        if actor.process.exitcode == 0:
            self._leaving.append((self._owner.now() + FAREWELL_S, actor))
        else:
            self._replace(actor)

    def _replace(self, actor: SagaProcess) -> None:
        live = self._sagas.get(actor.saga_id) if actor.saga_id is not None else None
        if live is None or live.actor is not actor or self._draining:
            return
        log.error("the actor of saga %s has died (exit code %s)", live.id, actor.process.exitcode)
        live.actor = None
        delay_s = live.restarts.delay_s(self._owner.now())
        if delay_s == 0.0:
            self._spawn(live)
        else:
            self._admission.left(live.id)
            self._set_alarm(live, self._owner.now() + delay_s)

    def look(self) -> None:
        """Wake the sagas that are due, notice actors that died unnoticed, keep some ready."""
        now = self._owner.now()
        for actor in self.actors.dead():
            self._gone(actor)
        while self._leaving and self._leaving[0][0] <= now:
            self._replace(self._leaving.pop(0)[1])
        while self._alarms and self._alarms[0][0] <= now:
            due, saga_id = heapq.heappop(self._alarms)
            live = self._sagas.get(saga_id)
            if live is not None and live.sleeps_until == due and live.actor is None:
                self._admission.enqueue(saga_id, urgent=live.urgent)
        if not self._draining:
            self._spawn_due()
            self.actors.top_up()

    def _set_alarm(self, live: LiveSaga, until: float) -> None:
        live.sleeps_until = until
        heapq.heappush(self._alarms, (until, live.id))
        self._owner.wake_in(until - self._owner.now())
