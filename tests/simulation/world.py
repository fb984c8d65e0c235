"""One simulated world: a saga from its start to its rest in virtual time, drawn from a seed, with faults of every kind.

No clock, no process, no thread: the real machine between simulated messages, step processes and operators.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from antistrophe.records import SagaStatus
from antistrophe.saga import outcome, state
from antistrophe.saga.entries import Entry, TurnedBack, TurnReason
from antistrophe.saga.inputs import CancelAsked, Input, ProcessGranted, ResolveAsked, RetryAsked
from tests.simulation.crash_points import ActorKilledError, SimulatedActor, is_reply
from tests.simulation.effects_ledger import EffectsLedger
from tests.simulation.faults import Chances, Fault
from tests.simulation.scenario import Scenario
from tests.simulation.simulated_supervisor import DELAY_S, StepHost, StillThere
from tests.simulation.user_code import UserCode

START = 1_700_000_000.0
"""When a world begins: seconds since the epoch, so that times are as coarse as real ones."""

MOST_EVENTS = 5_000
"""A world that has not come to rest after so many events never does."""

MOST_RETRIES = 3
"""How often an operator has the same saga tried again before everything is resolved."""


@dataclass(frozen=True, slots=True)
class Told:
    """An outcome as it was told, and how many entries there were then."""

    status: SagaStatus
    journal_length: int


@dataclass(slots=True)
class History:
    """What has happened in a world: its journal, the ledger that its calls wrote, the outcomes that were told.

    ``error``: what the machine raised, if it did; ``rested``: it came to rest within its bound; ``leaked``: the
    leases that an actor kept which left in order; ``faults``: how often each fault has really occurred.
    """

    scenario: Scenario
    journal: list[Entry]
    ledger: EffectsLedger
    told: list[Told] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    faults: Counter[Fault] = field(default_factory=Counter)
    error: Exception | None = None
    rested: bool = False
    events: int = 0

    def describe(self) -> str:
        """The whole history as text, times relative to the world's beginning."""
        lines = [f"seed {self.scenario.seed}, faults {dict(self.faults)}"]
        lines += [f"  step {index}: {step}" for index, step in enumerate(self.scenario.spec.steps)]
        lines += [f"  {index:3} {entry.at - START:9.3f} {entry}" for index, entry in enumerate(self.journal)]
        lines += [f"  call {call}" for call in self.ledger.calls]
        return "\n".join([*lines, f"  told {self.told}", f"  error {self.error!r}, rested {self.rested}"])


class World:
    """A world that can be run once. With a ``journal``, it goes on from there, after a reboot."""

    def __init__(self, scenario: Scenario, journal: Sequence[Entry] = ()) -> None:
        self.scenario = scenario
        self.rng = random.Random(f"world/{scenario.seed}")
        self.chances = Chances(self.rng, scenario.faults, scenario.budget)
        self.now = max(START, journal[-1].at) if journal else START
        self.ledger = EffectsLedger()
        self.history = History(scenario, list(journal), self.ledger, faults=self.chances.counts)
        self.host = StepHost(self, UserCode(scenario, self.rng, self.chances, self.ledger))
        self.actor: SimulatedActor | None = None
        self._queue: list[tuple[float, int, int | None, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._epoch = 0
        self._up = True
        self._last_delivered = -1
        self._clean = True
        self._retries = 0

    @property
    def journal(self) -> list[Entry]:
        """Everything that has been appended."""
        return self.history.journal

    # --- time --------------------------------------------------------------------------------------------------

    def after(self, delay_s: float, act: Callable[[], None], *, outside: bool = False) -> None:
        """Have something happen later; unless it comes from ``outside``, only if the system lives until then."""
        epoch = None if outside else self._epoch
        heapq.heappush(self._queue, (self.now + max(0.0, delay_s), next(self._numbers), epoch, act))

    def run(self) -> History:
        """Run until nothing is left to happen."""
        scenario, history = self.scenario, self.history
        self.after(0.0, self._start_actor)
        if scenario.cancel_after_s is not None:
            self.after(
                scenario.cancel_after_s, lambda: self._order(CancelAsked("changed my mind", "user")), outside=True
            )
        for after_s in scenario.stray_orders:
            self.after(after_s, self._stray_order, outside=True)
        try:
            while self._queue and history.events < MOST_EVENTS:
                self._next_event()
        except Exception as error:  # whatever the machine raises is a finding
            history.error = error
        history.rested = not self._queue and history.error is None
        for entry in history.journal:
            if isinstance(entry, TurnedBack) and entry.cause.reason is TurnReason.DEADLINE:
                self.chances.note(Fault.DEADLINE)
        return history

    def _next_event(self) -> None:
        at, _, epoch, act = heapq.heappop(self._queue)
        self.now = max(self.now, at)
        if epoch is not None and epoch != self._epoch:
            return
        self.history.events += 1
        if self.actor is not None and self.chances.strikes(Fault.CLOCK_LEAP):
            self.now += self.rng.uniform(0.5, 60.0)
        try:
            act()
        except ActorKilledError:
            self._actor_died()
        if self._up and self._unfinished():
            self._maybe_go_down()

    # --- messages to the saga ----------------------------------------------------------------------------------

    def to_saga(self, said: Input | StillThere, *, crosses: bool = True) -> None:
        """Send the saga a message; ``crosses``: another life of its actor than the one it was meant for may get it."""
        meant_for = None if crosses else self.actor
        copies = 2 if is_reply(said) and self.chances.strikes(Fault.MESSAGE_DOUBLED) else 1
        for _ in range(copies):
            late = self.chances.strikes(Fault.MESSAGE_LATE)
            delay_s = self.rng.uniform(1.0, 30.0) if late else DELAY_S * self.rng.random()
            number = next(self._numbers)
            self.after(delay_s, lambda number=number: self._deliver(number, said, meant_for))  # type: ignore[misc]

    def _deliver(self, number: int, said: Input | StillThere, meant_for: SimulatedActor | None) -> None:
        if self.actor is None or (meant_for is not None and meant_for is not self.actor):
            return
        if number < self._last_delivered:
            self.chances.note(Fault.MESSAGE_REORDERED)
        self._last_delivered = max(number, self._last_delivered)
        if isinstance(said, ProcessGranted):
            self.host.delivered(said.lease)
        self.actor.receive(said)

    # --- the actor's lives -------------------------------------------------------------------------------------

    def _start_actor(self, orders: tuple[Input, ...] = ()) -> None:
        if not self._up or self.actor is not None:
            return
        self.actor = actor = SimulatedActor(self)
        if self.journal:
            actor.resume(orders)
        else:
            actor.begin()

    def actor_left(self, again_in_s: float | None) -> None:
        """The actor has left in order, and is to be started again after so many seconds (None: not by itself)."""
        self.actor = None
        leaked = self.host.reclaim()
        if self._clean:
            self.history.leaked += leaked
        self._clean = True
        if again_in_s is not None:
            self.after(again_in_s, self._start_actor)

    def _actor_died(self) -> None:
        self.actor = None
        self._clean = False
        self.after(self.rng.uniform(0.01, 3.0), self._start_actor)

    def outcome_told(self, saga: state.Saga) -> None:
        """Somebody hears how the saga ended, or that it is parked."""
        self.history.told.append(Told(outcome.status_of(saga), len(self.journal)))
        if saga.parked and self.scenario.attended:
            self.after(self.rng.uniform(1.0, 100.0), self._attend, outside=True)

    # --- the whole system --------------------------------------------------------------------------------------

    def _unfinished(self) -> bool:
        return bool(self.journal) and self.actor is not None

    def _maybe_go_down(self) -> None:
        if self.chances.strikes(Fault.SYSTEM_CRASH):
            self._go_down()
        elif self.actor is not None and not self.actor.draining and self.chances.strikes(Fault.SYSTEM_DRAINED):
            self.actor.draining = True
            self.after(self.rng.uniform(0.0, 5.0), self._go_down)

    def _go_down(self) -> None:
        self._epoch += 1
        self._up, self.actor, self._clean = False, None, True
        self.host.go_down(reboot=self.chances.strikes(Fault.REBOOT))
        self.after(self.rng.uniform(0.1, 60.0), self._come_up)

    def _come_up(self) -> None:
        self._up = True
        self._start_actor()

    # --- orders ------------------------------------------------------------------------------------------------

    def _order(self, said: Input) -> None:
        """Give the saga an order; where its actor is away, it is started with it."""
        if not self._up:
            self.after(1.0, lambda: self._order(said), outside=True)
            return
        length = len(self.journal)
        if self.actor is not None:
            self.actor.receive(said)
        else:
            self._start_actor((said,))
        self._note_order(said, changed=len(self.journal) > length)

    def _note_order(self, said: Input, *, changed: bool) -> None:
        faults = {CancelAsked: Fault.CANCEL, RetryAsked: Fault.OPERATOR_RETRIES, ResolveAsked: Fault.OPERATOR_RESOLVES}
        self.chances.note(faults[type(said)] if changed else Fault.ORDER_OUT_OF_PLACE)

    def _stray_order(self) -> None:
        last = len(self.scenario.spec.steps)
        self._order(
            self.rng.choice(
                (RetryAsked("stray"), CancelAsked(None, "stray"), ResolveAsked(self.rng.randint(-1, last), "", "stray"))
            )
        )

    def _attend(self) -> None:
        """The operator deals with a parked saga."""
        saga = state.replay(self.journal)
        failed = [index for index, step in enumerate(saga.steps) if step.given_up is not None]
        if not saga.parked or not failed:
            return
        if self._retries < MOST_RETRIES and self.rng.random() < 0.5:
            self._retries += 1
            self._order(RetryAsked("operator"))
        else:
            self._order(ResolveAsked(self.rng.choice(failed), "settled by hand", "operator"))


def run(scenario: Scenario) -> History:
    """The history of that scenario's world."""
    return World(scenario).run()
