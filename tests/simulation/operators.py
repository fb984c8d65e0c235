"""Those outside a simulated world's system: the client that waits for the saga, and operators with their orders."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

from antistrophe.messages import Accepted, Done, Rejected, ResolveStep, SagaOrder, SagaOutcome, Waiter
from antistrophe.records import SagaStatus
from antistrophe.saga.inputs import CancelAsked, RelocateAsked, RetryAsked
from antistrophe.saga.state import owed, replay
from tests.simulation.faults import Fault

if TYPE_CHECKING:
    from tests.simulation.world import World

MOST_RETRIES = 3
"""How often an operator has the same saga tried again before everything is resolved."""

AGAIN_S = 1.5
"""How soon an order is sent again that nobody answered."""


class Operators:
    """Sends each order until it is answered, and deals with a saga that is parked."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = itertools.count(1)
        self._open: dict[str, SagaOrder] = {}
        self._retries = 0
        self.positions: list[int] = []
        self._early = random.Random(f"early orders/{world.scenario.seed}")

    def begin(self) -> None:
        """Plan the orders of the scenario."""
        world, scenario = self._world, self._world.scenario
        if scenario.cancel_after_s is not None:
            cancel = CancelAsked("changed my mind", "user")
            world.after(scenario.cancel_after_s, lambda: self._order(cancel), outside=True)
        for after_s in scenario.stray_orders:
            world.after(after_s, self._stray_order, outside=True)
        for after_s in scenario.early_orders:
            world.after(after_s, self._early_order, outside=True)

    def hear(self, message: Any) -> None:
        """An answer of the system."""
        world = self._world
        if isinstance(message, Accepted | Done | SagaOutcome):
            self.positions.append(message.position)
            # What an actor has read on a server that is gone may have been at a later position: it tells no more of it.
            if message.position > len(world.journal) and not world.chances.counts[Fault.FAIL_OVER]:
                world.history.ahead.append(message.position)
        match message:
            case SagaOutcome():
                world.outcome_told(message.outcome.status, message.position)
            case Done() if self._open.pop(message.correlation, None) is not None and not message.effect:
                world.chances.note(Fault.ORDER_OUT_OF_PLACE)
            case Rejected():
                order = self._open.pop(message.correlation, None)
                if order is not None and message.error in {"JournalError", "CommitUnknownError"}:
                    world.after(AGAIN_S, lambda: self._order(order.order), outside=True)
                elif order is not None:
                    world.chances.note(Fault.ORDER_OUT_OF_PLACE)

    def told(self, status: SagaStatus) -> None:
        """The client has heard how the saga stands."""
        if status is SagaStatus.FAILED and self._world.scenario.attended:
            self._world.after(self._world.rng.uniform(1.0, 100.0), self._attend, outside=True)

    def _order(self, order: CancelAsked | RetryAsked | ResolveStep | RelocateAsked) -> None:
        number = f"order-{next(self._numbers)}"
        self._open[number] = SagaOrder(self._world.scenario.spec.id, order, Waiter("client", number))
        self._send(number)

    def _send(self, number: str) -> None:
        order = self._open.get(number)
        if order is None:
            return
        if self._world.up:
            self._world.supervisor.order(order)
        self._world.after(AGAIN_S, lambda: self._send(number), outside=True)

    def _stray_order(self) -> None:
        names = [step.name for step in self._world.scenario.spec.steps]
        resolve = ResolveStep(self._world.rng.choice([*names, "no step"]), "settled", "stray")
        self._order(self._world.rng.choice((RetryAsked("stray"), CancelAsked(None, "stray"), resolve)))

    def _early_order(self) -> None:
        """Somebody resolves what may be owed, whatever it waits for, and at times not in its turn."""
        journal = self._world.journal
        steps = [step.name for step in self._world.scenario.spec.steps]
        names = [steps[index] for index in owed(replay(journal))] if journal else []
        if names:
            self._order(ResolveStep(self._early.choice([names[0], *names]), "settled early", "operator"))

    def _attend(self) -> None:
        """The operator deals with a parked saga."""
        saga = replay(self._world.journal)
        failed = [step.name for step, state in zip(saga.spec.steps, saga.steps, strict=True) if state.given_up]
        if not saga.parked or not failed:
            return
        if self._retries < MOST_RETRIES and self._world.rng.random() < 0.5:
            self._retries += 1
            self._order(RetryAsked("operator"))
        else:
            self._order(ResolveStep(self._world.rng.choice(failed), "settled by hand", "operator"))
